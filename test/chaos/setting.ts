import { execFileSync } from 'node:child_process';
import { cpus, platform, release, totalmem } from 'node:os';
import { connect } from '@nats-io/transport-node';
import { Client } from 'pg';
import { LIMITS } from '../../src/config.ts';
import { VERSION } from '../../src/version.ts';
import type { Servers } from './servers.ts';

/** What numbers depend on: the machine, the versions, the settings. */
export type Setting = Record<string, string | number>;

export async function settingOf({ nats, postgres }: Servers): Promise<Setting> {
  const nc = await connect({ servers: nats.map(({ url }) => url.replace('nats://', '')) });
  const natsVersion = nc.info?.version ?? 'unknown';
  await nc.close();
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  const { rows } = await client.query<{ v: string }>(
    `SELECT current_setting('server_version') AS v`,
  );
  await client.end();
  const [cpu] = cpus();
  return {
    at: new Date().toISOString(),
    perdure: `${VERSION} ${commit()}`,
    'Node.js': process.version,
    'nats-server': `${natsVersion}, sync_interval always`,
    Postgres: `${rows[0]?.v}, fsync on, synchronous_commit on`,
    system: `${platform()} ${release()}`,
    machine: `${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB; everything on it`,
    'lease, ms': LIMITS.leaseMs,
    'lease renewed every, ms': LIMITS.leaseRenewMs,
  };
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, {
        cwd: import.meta.dirname,
        encoding: 'utf8',
        stdio: 'pipe',
      }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ' and changes'}`;
  } catch {
    return '';
  }
}
