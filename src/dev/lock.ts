import { linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { invariant } from '../errors.ts';
import { isSame, mark, type ProcessMark } from './process.ts';

/** A lock held by this process until `release`, or until the process is gone. */
export interface FileLock {
  release(): void;
}

/**
 * Takes the lock `file`, or returns who holds it. A lock whose holder is dead is taken over. Two rules make
 * that safe: a lock appears by link(2), with its content, and only if there is none; and a dead one is
 * removed only by the process that holds `file.break`, after looking again.
 */
export function tryLock(file: string): FileLock | ProcessMark {
  const me = mark(process.pid);
  invariant(me !== undefined, 'This process is not there.');
  for (;;) {
    if (create(file, me)) return { release: () => remove(file) };
    const holder = read(file);
    if (holder === undefined) continue;
    if (isSame(holder)) return holder;
    const breaking = `${file}.break`;
    if (!create(breaking, me)) {
      const other = read(breaking);
      if (other !== undefined && !isSame(other)) remove(breaking);
      continue;
    }
    const still = read(file);
    if (still !== undefined && !isSame(still)) remove(file);
    remove(breaking);
  }
}

function create(file: string, me: ProcessMark): boolean {
  const mine = `${file}.${me.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(mine, `${JSON.stringify(me)}\n`, { mode: 0o600 });
  try {
    linkSync(mine, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    remove(mine);
  }
}

function read(file: string): ProcessMark | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessMark;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
