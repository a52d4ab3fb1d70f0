import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PerdureError } from '../errors.ts';
import { isSame, type ProcessMark } from './process.ts';

/** Where `perdure dev` keeps everything unless told otherwise. */
export const DATA_DIR = '.perdure';

/** What a running `perdure dev` says about itself in `<data>/dev.json`. */
export interface DevFile {
  natsUrl: string;
  databaseUrl: string;
  inspectUrl: string;
  /** nats-server's monitoring, for `perdure doctor`. */
  monitorUrl: string;
  namespace: string;
  pids: { dev: number; postgres: number; nats: number; nodes: number[] };
  /** The URLs hold as long as this process runs. */
  alive: ProcessMark;
  nodes: ProcessMark[];
}

const path = (dir: string) => join(dir, 'dev.json');

/** What the `perdure dev` that runs in `dir` says; undefined when none runs. */
export function readDevFile(dir: string = DATA_DIR): DevFile | undefined {
  const file = readStaleDevFile(dir);
  return file !== undefined && isSame(file.alive) ? file : undefined;
}

/** What is left of the last `perdure dev` in `dir`, whether it runs or not. */
export function readStaleDevFile(dir: string): DevFile | undefined {
  try {
    return JSON.parse(readFileSync(path(dir), 'utf8')) as DevFile;
  } catch {
    return undefined;
  }
}

/** Replaces the file in one go. It holds the database's password, hence the mode. */
export function writeDevFile(dir: string, file: DevFile): void {
  writeFileSync(`${path(dir)}.new`, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path(dir)}.new`, path(dir));
}

export function removeDevFile(dir: string): void {
  rmSync(path(dir), { force: true });
}

/** What to connect to. */
export interface Urls {
  natsUrl: string;
  databaseUrl: string;
  /** Undefined means the default namespace. */
  namespace: string | undefined;
}

/**
 * Flags first, then PERDURE_NATS_URL, PERDURE_DATABASE_URL and PERDURE_NAMESPACE, then the `perdure dev` that
 * runs in `data`. The two URLs of a dev run are used together or not at all: half of one cluster and half of
 * another would be worse than an error.
 *
 * @throws PerdureError `bad_options` when a URL is nowhere to be found
 */
export function resolveUrls(flags: Partial<Urls> & { data?: string | undefined } = {}): Urls {
  const natsUrl = flags.natsUrl ?? nonEmpty(process.env.PERDURE_NATS_URL);
  const databaseUrl = flags.databaseUrl ?? nonEmpty(process.env.PERDURE_DATABASE_URL);
  const namespace = flags.namespace ?? nonEmpty(process.env.PERDURE_NAMESPACE);
  if (natsUrl !== undefined && databaseUrl !== undefined)
    return { natsUrl, databaseUrl, namespace };
  if (natsUrl === undefined && databaseUrl === undefined) {
    const dev = readDevFile(flags.data);
    if (dev !== undefined)
      return {
        natsUrl: dev.natsUrl,
        databaseUrl: dev.databaseUrl,
        namespace: namespace ?? dev.namespace,
      };
  }
  const missing = [
    natsUrl === undefined ? 'PERDURE_NATS_URL (or --nats)' : '',
    databaseUrl === undefined ? 'PERDURE_DATABASE_URL (or --database)' : '',
  ].filter((name) => name !== '');
  throw new PerdureError(
    'bad_options',
    `Nothing says where to connect: set ${missing.join(' and ')}${
      missing.length === 2
        ? `, or run perdure dev here (none runs in ${flags.data ?? DATA_DIR})`
        : ''
    }.`,
  );
}

const nonEmpty = (value: string | undefined) => (value === '' ? undefined : value);
