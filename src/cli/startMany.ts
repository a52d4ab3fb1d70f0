import { open } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import type { PerdureClient, PublishOptions } from '../client.ts';
import { sleep, systemClock } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import { type Job, readJobLine } from './jobLine.ts';

/** Jobs asked for and not answered yet, at most. */
const IN_FLIGHT_MAX = 256;
/** A server that is away for this long ends the run, ms. */
const AWAY_MAX_MS = 30_000;
const PAUSE_MS = 500;

/** What became of the lines. */
export interface Tally {
  accepted: number;
  duplicates: number;
  failed: number;
}

export interface StartManyOptions {
  client: PerdureClient;
  /** A path, or `-` for standard input. */
  from: string;
  /** For lines without one. */
  type: string | undefined;
  publish: PublishOptions;
  /** Once aborted no further line is begun. */
  signal: AbortSignal;
  /** Told of every line that did not become a job, as soon as it is known. */
  onFailed(line: number, error: { code: string; message: string }): void;
  onProgress(tally: Tally): void;
}

/**
 * Starts one actor for each line. A line that cannot be done does not stop the others; servers that stay away do.
 * @throws PerdureError `bad_options` when the file cannot be read, what the servers' absence says otherwise
 */
export async function startMany(options: StartManyOptions): Promise<Tally> {
  const { client, type, signal, onFailed, onProgress } = options;
  const tally: Tally = { accepted: 0, duplicates: 0, failed: 0 };
  const running = new Set<Promise<void>>();
  let gone: unknown;

  const begin = async (number: number, line: string) => {
    try {
      const job = readJobLine(line, type);
      const duplicate = await startPatiently(client, job, options.publish, signal);
      tally[duplicate ? 'duplicates' : 'accepted']++;
    } catch (thrown) {
      // Nobody has to mend a line that was only cut short.
      if (thrown instanceof PerdureError && thrown.retryable) {
        gone ??= thrown;
        return;
      }
      tally.failed++;
      const error = asError(thrown);
      const code = error instanceof PerdureError ? error.code : 'unexpected';
      onFailed(number, { code, message: error.message });
    }
    onProgress(tally);
  };

  const lines = await openLines(options.from);
  const close = () => lines.close();
  signal.addEventListener('abort', close, { once: true });
  let number = 0;
  for await (const line of lines) {
    number++;
    if (signal.aborted || gone !== undefined) break;
    const text = number === 1 ? line.replace(/^\uFEFF/, '') : line;
    if (text.trim() === '') continue;
    const work = begin(number, text).finally(() => running.delete(work));
    running.add(work);
    if (running.size >= IN_FLIGHT_MAX) await Promise.race(running);
  }
  signal.removeEventListener('abort', close);
  await Promise.all(running);
  if (gone !== undefined && !signal.aborted) throw gone;
  return tally;
}

/** Asks until it is answered; the same message id makes that harmless. Says whether it was a duplicate. */
async function startPatiently(
  client: PerdureClient,
  { type, id, input, messageId }: Job,
  publish: PublishOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const since = systemClock.monotonic();
  for (;;) {
    try {
      const receipt = await client.start(type, { ...publish, id, input, messageId });
      return receipt.duplicate;
    } catch (thrown) {
      const again =
        thrown instanceof PerdureError &&
        thrown.retryable &&
        !signal.aborted &&
        systemClock.monotonic() - since < AWAY_MAX_MS;
      if (!again) throw thrown;
    }
    await sleep(systemClock, PAUSE_MS, signal);
  }
}

async function openLines(from: string): Promise<Interface> {
  if (from === '-') return createInterface({ input: process.stdin });
  try {
    return (await open(from)).readLines();
  } catch (error) {
    throw new PerdureError('bad_options', `--from ${from}: ${asError(error).message}.`);
  }
}
