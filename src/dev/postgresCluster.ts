import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PerdureError } from '../errors.ts';
import { type PostgresBinaries, type RunAs, runAs } from './postgresBinaries.ts';

/** Where the data of the Postgres in `dir` is. */
export const dataDir = (dir: string) => join(dir, 'data');

/** Makes the cluster once: in a directory of another name first, so that a half-made one is never used. */
export async function ensureCluster(
  dir: string,
  binaries: PostgresBinaries,
  log?: (line: string) => void,
): Promise<{ as: RunAs; password: string }> {
  const data = dataDir(dir);
  const passwordFile = join(dir, 'password');
  if (existsSync(join(data, 'PG_VERSION'))) {
    const as = runAs(binaries, data);
    return { as, password: readFileSync(passwordFile, 'utf8').trim() };
  }
  log?.(`making a Postgres cluster in ${dir}`);
  const fresh = `${data}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  const as = runAs(binaries, fresh);
  const password = randomBytes(18).toString('hex');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (as.uid !== undefined && as.gid !== undefined) chownSync(passwordFile, as.uid, as.gid);
  const [command, ...args] = [
    ...as.prefix,
    binaries.initdb,
    ...['-D', fresh, '-U', 'perdure', `--pwfile=${passwordFile}`],
    ...['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions'],
  ] as [string, ...string[]];
  await run(command, args, as);
  renameSync(fresh, data);
  return { as, password };
}

/** Runs a program to its end. */
function run(command: string, args: string[], as: RunAs): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...spawnAs(as),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk;
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (error) =>
      reject(new PerdureError('service_missing', `${command}: ${error.message}`, { cause: error })),
    );
    child.once('close', (code) =>
      code === 0
        ? resolve()
        : reject(new PerdureError('service_missing', `initdb failed (${code}):\n${output.trim()}`)),
    );
  });
}

/** What spawn needs to run a Postgres program: nothing of ours that would confuse it. */
export function spawnAs(as: RunAs) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name)),
  );
  return {
    // The other user may not be able to read the directory we are in.
    cwd: '/',
    env: { ...env, LC_ALL: 'C' },
    ...(as.uid === undefined ? {} : { uid: as.uid }),
    ...(as.gid === undefined ? {} : { gid: as.gid }),
  };
}
