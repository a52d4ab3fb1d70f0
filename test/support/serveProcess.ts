import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { freePort } from '../../src/dev/process.ts';
import type { Readiness } from '../../src/inspect/health.ts';
import type { Place } from './cluster.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** `perdure serve FILE --http PORT`, as an operator has it. */
export interface ServeProcess {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
  /** What it has logged. */
  readonly stderr: () => string;
  /** What `/readyz` says; undefined while nobody answers. */
  readyz(): Promise<Readiness | undefined>;
  /** Status of `/livez`. */
  livez(): Promise<number | undefined>;
}

export async function spawnServe(
  options: Place & { file: string; name: string; env: Record<string, string> },
): Promise<ServeProcess> {
  const port = await freePort();
  const { file, name, env } = options;
  const child = spawn(
    process.execPath,
    [join(ROOT, 'src/cli/main.ts'), 'serve', file, '--name', name, '--http', `${port}`],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        PERDURE_NATS_URL: options.natsUrl,
        PERDURE_DATABASE_URL: options.databaseUrl,
        PERDURE_NAMESPACE: options.namespace,
        ...env,
      },
    },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const get = (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2_000) });
  return {
    process: child,
    exited: new Promise((done) => child.once('exit', done)),
    stderr: () => stderr,
    readyz: async () => {
      const answer = await get('/readyz').catch(() => undefined);
      return (await answer?.json()) as Readiness | undefined;
    },
    livez: async () => (await get('/livez').catch(() => undefined))?.status,
  };
}
