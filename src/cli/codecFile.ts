import { resolve } from 'node:path';
import type { Command } from 'commander';
import { PerdureError } from '../errors.ts';
import type { TextCodec } from '../textCodec.ts';
import { importFile } from './actorFile.ts';

/** The flag of every command that writes or reads an actor's data. */
export function codecOption(command: Command): Command {
  return command.option(
    '--codec <file>',
    'exports the codec of stored texts; default PERDURE_CODEC',
  );
}

/** @throws PerdureError `bad_options` when the file does not load or exports no codec */
export async function loadCodec(flags: { codec?: string }): Promise<TextCodec | undefined> {
  const file = flags.codec ?? process.env.PERDURE_CODEC;
  if (!file) return undefined;
  const exported = await importFile(file);
  const codec = [exported.codec, exported.default].find(isCodec);
  if (codec) return codec;
  throw new PerdureError(
    'bad_options',
    `${file} exports no codec: an object with a function unwrap, and wrap unless it only reads, as codec or as the default.`,
  );
}

/** Processes that are started by this one use the same. */
export function passCodecOn(flags: { codec?: string }): void {
  if (flags.codec) process.env.PERDURE_CODEC = resolve(flags.codec);
}

function isCodec(value: unknown): value is TextCodec {
  const { wrap, unwrap } = (value ?? {}) as Partial<TextCodec>;
  return typeof unwrap === 'function' && (wrap === undefined || typeof wrap === 'function');
}
