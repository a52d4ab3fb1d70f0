import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PerdureError } from '../errors.ts';
import { type Daemon, startDaemon, stopStale, tail } from './daemon.ts';
import { dockerCommand, findNatsServer, type NatsCommand } from './natsBinary.ts';
import {
  commandLine,
  freePort,
  isAlive,
  lastPort,
  pause,
  portTaken,
  rememberPort,
} from './process.ts';

export { findNatsServer } from './natsBinary.ts';

export interface NatsOptions {
  /** Holds everything of this server: its streams, its configuration and its log. Created when missing. */
  dir: string;
  /** Default: the one of the last start in `dir` when it is free, else any free one. */
  port?: number | undefined;
  /** Leaves the server running when this process ends without `stop`. */
  keep?: boolean | undefined;
  /** Told what takes time. */
  log?: (line: string) => void;
  /** Added to the end of the configuration, in nats-server's own language. */
  configText?: string;
  /** Servers of one cluster need different names. Default `perdure_dev`. */
  serverName?: string;
}

/** A running nats-server of our own with JetStream, listening on 127.0.0.1 only. */
export interface RunningNats {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** The server's own monitor (/healthz, /jsz, …). */
  readonly monitorUrl: string;
  /** Resolves when the server is gone, asked or not, with words for the log. */
  readonly exited: Promise<string>;
  /** SIGTERM (the default) closes clients and files, SIGKILL crashes it. */
  stop(signal?: 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 10_000;

/**
 * Starts nats-server on the streams in `dir`; a server that a killed parent left there is stopped before.
 *
 * @throws PerdureError `service_missing` when there is no nats-server to be had or it cannot start here;
 *   `bad_options` when another program has the port
 */
export async function startNats(options: NatsOptions): Promise<RunningNats> {
  const dir = resolve(options.dir);
  mkdirSync(dir, { recursive: true });
  const command = await natsCommand(dir, options.log);
  await stopLeftOver(dir, options.log);
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (let attempt = 0; ; ) {
    const port =
      options.port ?? (await freePort(attempt++ === 0 ? lastPort(portFile(dir)) : undefined));
    const monitorPort = await freePort();
    const daemon = await launch(dir, command, { ...options, port, monitorPort });
    const trouble = await ready(daemon, `http://127.0.0.1:${monitorPort}`, deadline);
    if (trouble === undefined) {
      rememberPort(portFile(dir), port);
      return running(daemon, port, monitorPort);
    }
    await daemon.stop(['SIGKILL'], STOP_GRACE_MS);
    const words = tail(logFile(dir));
    const taken = /address already in use/i.test(words);
    if (options.port !== undefined && words.includes(`:${options.port}: bind`))
      throw portTaken('nats-server', options.port, '--port-nats');
    if (!taken || performance.now() > deadline)
      throw new PerdureError('service_missing', `nats-server did not start: ${trouble}\n${words}`);
  }
}

const portFile = (dir: string) => join(dir, 'port');
const logFile = (dir: string) => join(dir, 'nats-server.log');
const configFile = (dir: string) => join(dir, 'nats.conf');
const pidFile = (dir: string) => join(dir, 'nats-server.pid');

/** A program of this machine, or a container when there is none but Docker works. */
async function natsCommand(dir: string, log?: (line: string) => void): Promise<NatsCommand> {
  try {
    return { command: await findNatsServer(log), args: () => [], listen: '127.0.0.1' };
  } catch (error) {
    const docker = dockerCommand(dir);
    if (docker === undefined) throw error;
    log?.('running nats-server from Docker');
    return docker;
  }
}

/** Only a nats-server running on exactly our configuration file is touched. */
async function stopLeftOver(dir: string, log?: (line: string) => void): Promise<void> {
  let pid: number;
  try {
    pid = Number(readFileSync(pidFile(dir), 'utf8'));
  } catch {
    return;
  }
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  if (!commandLine(pid).includes(configFile(dir))) return;
  log?.(`stopping the nats-server an earlier run left behind (pid ${pid})`);
  await stopStale(pid, ['SIGTERM', 'SIGKILL']);
}

async function launch(
  dir: string,
  nats: NatsCommand,
  options: NatsOptions & { port: number; monitorPort: number },
): Promise<Daemon> {
  const { port, monitorPort, configText = '', serverName = 'perdure_dev', keep = false } = options;
  writeFileSync(
    configFile(dir),
    `server_name: ${serverName}
listen: ${nats.listen}:${port}
http: ${nats.listen}:${monitorPort}
jetstream {
  store_dir: ${JSON.stringify(join(dir, 'jetstream'))}
  # An acknowledged publish is on disk.
  sync_interval: always
}
${configText}
`,
  );
  if (existsSync(logFile(dir))) truncateSync(logFile(dir));
  const daemon = await startDaemon({
    command: nats.command,
    args: [...nats.args(port, monitorPort), '-c', configFile(dir)],
    logFile: logFile(dir),
    // Orphaned nodes get a moment to drain.
    orphaned: keep
      ? []
      : [
          { afterSeconds: 5, signal: 'TERM' },
          { afterSeconds: 10, signal: 'KILL' },
        ],
  });
  writeFileSync(pidFile(dir), `${daemon.pid}\n`);
  return daemon;
}

/** Waits until the server says it is healthy; says what is wrong when it never will be. */
async function ready(
  daemon: Daemon,
  monitorUrl: string,
  deadline: number,
): Promise<string | undefined> {
  let exit: string | undefined;
  void daemon.exited.then((words) => {
    exit = words;
  });
  let seen = 'no answer';
  for (;;) {
    const healthy = await fetch(`${monitorUrl}/healthz`, { signal: AbortSignal.timeout(2_000) })
      .then(async (response) => {
        seen = await response.text();
        return response.ok;
      })
      .catch(() => false);
    // Another server may sit on the port and answer: ours must be alive as well.
    if (exit !== undefined) return exit;
    if (healthy) return undefined;
    if (performance.now() > deadline) return `not healthy: ${seen}`;
    await pause(10);
  }
}

function running(daemon: Daemon, port: number, monitorPort: number): RunningNats {
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    pid: daemon.pid,
    monitorUrl: `http://127.0.0.1:${monitorPort}`,
    exited: daemon.exited,
    async stop(how = 'SIGTERM') {
      await daemon.stop([how, 'SIGKILL'], STOP_GRACE_MS);
    },
  };
}
