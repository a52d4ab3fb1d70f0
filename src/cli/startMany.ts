import { open } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import type { PerdureClient, PublishOptions } from '../client.ts';
import { sleep, systemClock } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import { type Job, readJobLine } from './jobLine.ts';

/** Jobs asked for and not answered yet, at most. */
const IN_FLIGHT_MAX = 256;
/** Once something was accepted, a server may be away for this long before the run ends, ms. */
const AWAY_MAX_MS = 30_000;
const PAUSE_MS = 500;

/** What became of the lines. */
export interface Tally {
  accepted: number;
  duplicates: number;
  failed: number;
}

export interface Loaded extends Tally {
  /** Why it ended before the last line: the servers stayed away. */
  stopped?: unknown;
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
 * @throws PerdureError `bad_options` when the file cannot be read
 */
export async function startMany(options: StartManyOptions): Promise<Loaded> {
  const { type, signal, onFailed, onProgress } = options;
  const tally: Loaded = { accepted: 0, duplicates: 0, failed: 0 };
  const running = new Set<Promise<void>>();

  const begin = async (number: number, line: string) => {
    try {
      const job = readJobLine(line, type);
      const patient = tally.accepted + tally.duplicates > 0;
      const duplicate = await startPatiently(options, job, patient ? AWAY_MAX_MS : 0);
      tally[duplicate ? 'duplicates' : 'accepted']++;
    } catch (thrown) {
      if (isAbsence(thrown, options.publish)) {
        // Nothing is wrong with the line: it is for the next run.
        tally.stopped ??= thrown;
        return lines.close();
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
    if (signal.aborted || tally.stopped !== undefined) break;
    const text = number === 1 ? line.replace(/^\uFEFF/, '') : line;
    if (text.trim() === '') continue;
    const work = begin(number, text).finally(() => running.delete(work));
    running.add(work);
    if (running.size >= IN_FLIGHT_MAX) await Promise.race(running);
  }
  signal.removeEventListener('abort', close);
  await Promise.all(running);
  return tally;
}

/** Asks until it is answered; the same message id makes that harmless. Says whether it was a duplicate. */
async function startPatiently(
  { client, publish, signal }: StartManyOptions,
  { type, id, input, messageId }: Job,
  patienceMs: number,
): Promise<boolean> {
  const since = systemClock.monotonic();
  for (;;) {
    try {
      const receipt = await client.start(type, { ...publish, id, input, messageId });
      return receipt.duplicate;
    } catch (thrown) {
      const again =
        isAbsence(thrown, publish) &&
        !signal.aborted &&
        systemClock.monotonic() - since < patienceMs;
      if (!again) throw thrown;
    }
    await sleep(systemClock, PAUSE_MS, signal);
  }
}

/** Servers are away; not so when it is in the log already and only nobody confirms it: that concerns the line alone. */
function isAbsence(thrown: unknown, { until }: PublishOptions): boolean {
  if (!(thrown instanceof PerdureError) || !thrown.retryable) return false;
  return until !== 'committed' || thrown.code !== 'timeout';
}

async function openLines(from: string): Promise<Interface> {
  if (from === '-') return createInterface({ input: process.stdin });
  try {
    return (await open(from)).readLines();
  } catch (error) {
    throw new PerdureError('bad_options', `--from ${from}: ${asError(error).message}.`);
  }
}
