import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Debian packages a peer needs, unpacked below a directory of ours: nothing is installed, nobody has to be root. */
export interface Unpacked {
  /** Stands for `/`. */
  readonly root: string;
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * Fetches the packages, and those they need that this machine has not, with apt from the machine's own archive, verified
 * by its signature as any package is. Later calls find them in the user's cache.
 *
 * @throws Error with words for people when this machine has no apt or the archive has no such package
 */
export async function unpacked(names: readonly string[]): Promise<Unpacked> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'perdure', 'bench');
  const root = join(cache, names.join('+'));
  if (!existsSync(root)) await fetchInto(root, cache, names);
  const versions = JSON.parse(readFileSync(join(root, 'versions.json'), 'utf8'));
  return { root, versions };
}

async function fetchInto(root: string, cache: string, names: readonly string[]): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'fetch-'));
  try {
    mkdirSync(join(dir, 'lists', 'partial'), { recursive: true });
    mkdirSync(join(dir, 'cache', 'archives', 'partial'), { recursive: true });
    // The machine's own lists stay as they are.
    const apt = [
      `Dir::State::lists=${join(dir, 'lists')}`,
      `Dir::Cache=${join(dir, 'cache')}`,
      'APT::Install-Recommends=0',
      'Acquire::Languages=none',
      'Acquire::Retries=2',
    ].flatMap((option) => ['-o', option]);
    const limits = { cwd: dir, timeout: 180_000, env: { ...process.env, LC_ALL: 'C' } };
    await run('apt-get', [...apt, '--error-on=any', '-q', 'update'], limits);
    const { stdout } = await run('apt-get', [...apt, '-s', 'install', ...names], limits);
    const missing = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string);
    const wanted = [...new Set([...missing, ...names])];
    await run('apt-get', [...apt, '-q', 'download', ...wanted], limits);
    const versions: Record<string, string> = {};
    for (const deb of readdirSync(dir).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', deb, 'root'], limits);
      const [name = '', version = ''] = decodeURIComponent(deb).split('_');
      if (names.includes(name)) versions[`Debian's ${name}`] = version;
    }
    writeFileSync(join(dir, 'root', 'versions.json'), JSON.stringify(versions));
    renameSync(join(dir, 'root'), root);
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    const why = stderr.split('\n').findLast((line) => line.startsWith('E: '));
    throw new Error(`no ${names.join(', ')} from Debian's archive: ${why ?? message}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
