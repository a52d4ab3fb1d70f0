import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startNats } from '../../src/dev/natsServer.ts';
import { startPostgres } from '../../src/dev/postgres.ts';
import { startDockerServices } from './docker.ts';
import { quicken } from './quickly.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    databaseUrl: string;
    natsUrl: string;
  }
}

/** One Postgres and one nats-server for the whole run; tests keep apart by database and namespace. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  quicken();
  const services =
    process.env.PERDURE_TEST_SERVICES === 'docker'
      ? await startDockerServices()
      : await startLocalServices();
  project.provide('databaseUrl', services.databaseUrl);
  project.provide('natsUrl', services.natsUrl);
  return services.stop;
}

async function startLocalServices() {
  const dir = mkdtempSync(join(tmpdir(), 'perdure-test-'));
  // Postgres may run as another user, who must be able to enter.
  chmodSync(dir, 0o755);
  const log = (line: string) => console.error(`services: ${line}`);
  const remove = () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  const started = await Promise.allSettled([
    startPostgres({ dir: join(dir, 'postgres'), log }),
    startNats({ dir: join(dir, 'nats'), log }),
  ]);
  const [postgres, nats] = started;
  const stop = async () => {
    // Nothing here is worth a clean shutdown.
    await Promise.all(
      started.map((server) => server.status === 'fulfilled' && server.value.stop('SIGKILL')),
    );
    remove();
  };
  if (postgres.status === 'rejected' || nats.status === 'rejected') {
    await stop();
    throw postgres.status === 'rejected' ? postgres.reason : (nats as PromiseRejectedResult).reason;
  }
  return { databaseUrl: postgres.value.url, natsUrl: nats.value.url, stop };
}
