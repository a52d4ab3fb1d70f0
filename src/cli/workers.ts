import { TIMER_MAX_MS } from '../clock.ts';
import { killDaemons } from '../dev/daemon.ts';
import { type NodeProcess, startNode } from '../dev/nodeProcess.ts';
import { type Supervised, supervise } from '../dev/supervise.ts';
import { PerdureError } from '../errors.ts';
import { connectionOf } from './connection.ts';
import { untilAborted } from './interrupt.ts';
import { type NodeReady, PORT_MAX, readyLine, type ServeFlags } from './serve.ts';
import { stopRequest } from './stopRequest.ts';
import { printJson } from './table.ts';

const log = (line: string) => process.stderr.write(`perdure serve: ${line}\n`);

/**
 * Runs `count` nodes with FILE, each in a process of its own, until we are asked to end; then all drain together. Ends
 * this process: with 0 when all have drained, with 1 when one had to be killed.
 *
 * @throws PerdureError why a worker cannot start at all, once the others have ended
 */
export async function serveWorkers(file: string, flags: ServeFlags, count: number): Promise<void> {
  if (flags.http !== undefined && flags.http + count - 1 > PORT_MAX)
    throw new PerdureError(
      'bad_options',
      `--http ${flags.http} leaves no ports for ${count} workers: the last one would get ${flags.http + count - 1}.`,
    );
  const env = environment(flags);
  const asked = stopRequest(() => {
    killDaemons();
    process.exit(1);
  });
  // The processes we start do not hold this one; this does.
  const hold = setInterval(() => {}, TIMER_MAX_MS);
  const workers: Supervised<NodeProcess>[] = [];
  let killed = false;
  const onEnd = (name: string, pid: number, words: string, wasReady: boolean) => {
    if (!asked.aborted) return;
    log(`${name} (pid ${pid}) ended: ${words}`);
    // Asked before it could listen, it had nothing to drain.
    if (words !== 'exit code 0' && wasReady) killed = true;
  };
  try {
    for (let n = 1; n <= count; n++) {
      const name = `worker ${n}`;
      const start = () => startWorker(name, file, env, flags, n, onEnd);
      workers.push(await supervise({ name, start, log, restarted: () => {} }));
    }
    await Promise.race([Promise.all(workers.map(firstStart)), untilAborted(asked)]);
    await untilAborted(asked);
  } finally {
    if (asked.aborted) log(`draining ${count === 1 ? 'the worker' : `${count} workers`}`);
    await Promise.all(workers.map((worker) => worker.stop()));
    clearInterval(hold);
  }
  // A channel to whoever started us must not hold us.
  process.exit(killed ? 1 : 0);
}

/** Found once, here: what a `perdure dev` says may be gone when a worker is started again. */
function environment(flags: ServeFlags): Record<string, string> {
  const { natsUrl, databaseUrl, namespace } = connectionOf(flags);
  return {
    PERDURE_NATS_URL: natsUrl,
    PERDURE_DATABASE_URL: databaseUrl,
    PERDURE_NAMESPACE: namespace,
  };
}

async function startWorker(
  name: string,
  file: string,
  env: Record<string, string>,
  flags: ServeFlags,
  n: number,
  onEnd: (name: string, pid: number, words: string, wasReady: boolean) => void,
): Promise<NodeProcess> {
  const node = await startNode({ file, env, args: workerArguments(flags, n), ownStdout: true });
  let isReady = false;
  void node.ready.then(
    (told) => {
      isReady = true;
      announce(n, told, flags);
    },
    () => {},
  );
  void node.exited.then((words) => onEnd(name, node.pid, words, isReady));
  return node;
}

function workerArguments(flags: ServeFlags, n: number): string[] {
  const { name, http, httpHost, replicas, blockedMaxMs } = flags;
  return [
    ...['--blocked-max-ms', String(blockedMaxMs)],
    ...(name === undefined ? [] : ['--name', `${name}-${n}`]),
    ...(http === undefined ? [] : ['--http', String(http === 0 ? 0 : http + n - 1)]),
    ...(httpHost === undefined ? [] : ['--http-host', httpHost]),
    ...(replicas === undefined ? [] : ['--replicas', String(replicas)]),
  ];
}

function announce(n: number, told: NodeReady, { name, json }: ServeFlags): void {
  const named = name === undefined ? {} : { name: `${name}-${n}` };
  if (json) printJson({ worker: n, ...named, ...told });
  else process.stdout.write(`worker ${n}: ${readyLine(told)}\n`);
}

/** One that says why it cannot start, or just ends, would do so again; one that was killed would not. */
async function firstStart(worker: Supervised<NodeProcess>): Promise<void> {
  const { ready, exited } = worker.current;
  try {
    await ready;
  } catch (thrown) {
    if (!(await exited).startsWith('signal ')) throw thrown;
  }
}
