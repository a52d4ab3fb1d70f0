import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export { startToxiproxy } from './toxiproxyServer.ts';

export interface RunningToxiproxy {
  /** Of its HTTP API. */
  readonly url: string;
  /** `own` is ours, in a process of its own: it goes on while the event loop of a test is blocked. */
  readonly kind: 'toxiproxy' | 'docker' | 'own';
  close(): Promise<void>;
}

/** The toxiproxy at TOXIPROXY_URL; a container with `PERDURE_TEST_SERVICES=docker`; else one of our own. */
export async function toxiproxy(): Promise<RunningToxiproxy> {
  const url = process.env.TOXIPROXY_URL;
  if (url) return { url: url.replace(/\/$/, ''), kind: 'toxiproxy', close: async () => {} };
  return process.env.PERDURE_TEST_SERVICES === 'docker' ? startContainer() : startOwn();
}

async function startOwn(): Promise<RunningToxiproxy> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(import.meta.resolve('./toxiproxyProcess.ts'))],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit');
  const url = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => String(line)),
    exited.then(([code]) => Promise.reject(new Error(`toxiproxy ended with ${code}`))),
  ]);
  return {
    url,
    kind: 'own',
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}

/** On the host's network, as it has to reach servers on any port, and to be reached on any. */
async function startContainer(): Promise<RunningToxiproxy> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer('ghcr.io/shopify/toxiproxy:2.12.0')
    .withNetworkMode('host')
    .withWaitStrategy(Wait.forLogMessage(/Starting Toxiproxy HTTP server/))
    .start();
  return {
    url: 'http://127.0.0.1:8474',
    kind: 'docker',
    async close() {
      await container.stop();
    },
  };
}
