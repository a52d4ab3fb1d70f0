import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cpus, release, totalmem } from 'node:os';
import pg from 'pg';
import type { Server, Servers } from './servers.ts';

/** Where and of what a run was made: whoever reads its numbers needs it. */
export interface Setting {
  at: string;
  commit: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  versions: Record<string, string>;
}

export async function settingOf(servers: Servers): Promise<Setting> {
  const [postgres, nats] = [await servers.get('postgres'), await servers.get('nats')];
  return {
    at: new Date().toISOString(),
    commit: commit(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions: {
      node: process.version.slice(1),
      postgres: await postgresVersion(postgres),
      'nats-server': await natsVersion(nats),
      xstate: packageVersion('xstate'),
    },
  };
}

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', cwd: import.meta.dirname }).trim();
  try {
    const changed = git('status', '--porcelain', '--', '..') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? ', with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

function packageVersion(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function postgresVersion({ url }: Server): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version ?? 'unknown';
  } finally {
    await client.end();
  }
}

/** It says so itself, to everybody who connects. */
function natsVersion({ url }: Server): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.once('data', (data) => {
      socket.destroy();
      resolve(/"version":"([^"]+)"/.exec(data.toString())?.[1] ?? 'unknown');
    });
    socket.once('error', () => resolve('unknown'));
  });
}
