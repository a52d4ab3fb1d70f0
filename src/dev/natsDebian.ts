import { execFile } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Newest first. Debian 12's own nats-server is too old; a Go program needs little of the system it runs on. */
const SUITES = ['forky', 'sid', 'trixie'];

/**
 * Fetches nats-server on Debian with apt into `cache/<version>/`, verified by the archive's signature as any
 * package is, yet without root and without touching the machine's package lists. Undefined when this is not
 * Debian or no suite has one that runs here.
 */
export async function fetchFromDebian(
  cache: string,
  versionOf: (command: string) => Promise<string | undefined>,
  log: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<string | undefined> {
  const source = debianSource();
  if (source === undefined) return undefined;
  for (const suite of SUITES) {
    const dir = mkdtempSync(join(cache, 'fetch-'));
    try {
      log(`fetching nats-server from Debian ${suite}`);
      const file = await download(dir, source(suite));
      const version = await versionOf(file);
      if (version === undefined) continue;
      const home = join(cache, version);
      mkdirSync(home, { recursive: true });
      // A rename, so that no other process ever runs half a file.
      const partial = join(home, `nats-server.${process.pid}`);
      copyFileSync(file, partial);
      renameSync(partial, join(home, 'nats-server'));
      log(`nats-server ${version} is in ${home}`);
      return join(home, 'nats-server');
    } catch (error) {
      const { stderr = '', message } = error as Error & { stderr?: string };
      log(`no nats-server from Debian ${suite}: ${lastError(stderr) || message}`);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
  return undefined;
}

const lastError = (stderr: string) =>
  stderr
    .split('\n')
    .filter((line) => line.startsWith('E: '))
    .at(-1);

/** Downloads and unpacks the package with an apt state of its own in `dir`. */
async function download(dir: string, source: Source): Promise<string> {
  const list = join(dir, source.name);
  writeFileSync(list, source.text);
  mkdirSync(join(dir, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(dir, 'cache', 'archives', 'partial'), { recursive: true });
  const options = [
    `Dir::Etc::sourcelist=${list}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${join(dir, 'lists')}`,
    `Dir::Cache=${join(dir, 'cache')}`,
    'APT::Get::List-Cleanup=0',
    'Acquire::Languages=none',
    'Acquire::Retries=2',
  ].flatMap((option) => ['-o', option]);
  const limits = { cwd: dir, timeout: 120_000, env: { ...process.env, LC_ALL: 'C' } };
  // Without this update exits with 0 when it could not reach the archive.
  await run('apt-get', [...options, '--error-on=any', '-q', 'update'], limits);
  await run('apt-get', [...options, '-q', 'download', 'nats-server'], limits);
  const deb = readdirSync(dir).find((name) => name.endsWith('.deb'));
  if (deb === undefined) throw new Error('apt-get downloaded nothing');
  await run('dpkg', ['-x', deb, 'unpacked'], limits);
  return join(dir, 'unpacked', 'usr', 'sbin', 'nats-server');
}

interface Source {
  /** apt knows the format of a sources file by the end of its name. */
  name: string;
  text: string;
}

/** The machine's own Debian archive, for another suite; undefined when it has none. */
function debianSource(): ((suite: string) => Source) | undefined {
  if (!/^ID="?debian"?$/m.test(read('/etc/os-release'))) return undefined;
  const parts = '/etc/apt/sources.list.d';
  for (const text of files(parts, '.sources'))
    for (const paragraph of text.split(/\n\s*\n/)) {
      const source = fromParagraph(paragraph);
      if (source !== undefined) return source;
    }
  for (const text of [read('/etc/apt/sources.list'), ...files(parts, '.list')])
    for (const line of text.split('\n')) {
      const source = fromLine(line);
      if (source !== undefined) return source;
    }
  return undefined;
}

/** A paragraph of a .sources file; a field may go on over indented lines (an inline key does). */
function fromParagraph(paragraph: string): ((suite: string) => Source) | undefined {
  const lines = paragraph.split('\n').filter((line) => !line.startsWith('#'));
  const fields = lines.join('\n').split(/\n(?=\S)/);
  const value = (name: string) =>
    fields.find((field) => field.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1);
  if (!/\bdeb\b/.test(value('types') ?? '') || /^\s*no\s*$/i.test(value('enabled') ?? ''))
    return undefined;
  const uris = value('uris')?.trim();
  if (uris === undefined || !isMainArchive(uris, value('suites') ?? '')) return undefined;
  const key = value('signed-by');
  return (suite) => ({
    name: 'perdure.sources',
    text: `Types: deb\nURIs: ${uris}\nSuites: ${suite}\nComponents: main\n${
      key === undefined ? '' : `Signed-By:${key}\n`
    }`,
  });
}

/** A line of a .list file: deb [options] uri suite components. */
function fromLine(line: string): ((suite: string) => Source) | undefined {
  const match = /^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+/.exec(line);
  if (match === null) return undefined;
  const [, options = '', uri = '', suites = ''] = match;
  if (!isMainArchive(uri, suites)) return undefined;
  return (suite) => ({ name: 'perdure.list', text: `deb ${options}${uri} ${suite} main\n` });
}

/** Not the security archive, not somebody else's. */
const isMainArchive = (uris: string, suites: string) =>
  /debian\/?\s*$/.test(uris) && !suites.includes('-security');

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function files(dir: string, end: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(end))
      .sort()
      .map((name) => read(join(dir, name)));
  } catch {
    return [];
  }
}
