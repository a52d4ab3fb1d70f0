import { readdirSync, readFileSync } from 'node:fs';

interface Stat {
  pid: number;
  parent: number;
  /** Ticks of its own, and of its children that have ended. */
  own: number;
  ended: number;
  rssBytes: number;
}

const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** CPU time of the processes and all below them so far, in seconds (Linux: /proc). */
export function cpuSeconds(...roots: number[]): number {
  // Children that have ended are in their parent's account.
  const ticks = family(roots).reduce((sum, stat) => sum + stat.own + stat.ended, 0);
  return ticks / TICKS_PER_SECOND;
}

/** Memory of the processes and all below them, each shared page divided among those that share it, in bytes. */
export function pssBytes(...roots: number[]): number {
  return family(roots).reduce((sum, { pid, rssBytes: rss }) => {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      return sum + Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024;
    } catch {
      return sum + rss;
    }
  }, 0);
}

/** Resident memory of the processes and all below them, bytes: cheap to ask for, and what a container is charged. */
export function rssBytes(...roots: number[]): number {
  return family(roots).reduce((sum, stat) => sum + stat.rssBytes, 0);
}

/** The processes and all below them, parents first. */
export function familyOf(...roots: number[]): number[] {
  return family(roots).map((stat) => stat.pid);
}

function family(roots: readonly number[]): Stat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat !== undefined);
  const children = new Map<number, Stat[]>();
  for (const stat of all) children.set(stat.parent, [...(children.get(stat.parent) ?? []), stat]);
  const found = all.filter((stat) => roots.includes(stat.pid));
  // The list grows while it is walked.
  for (const stat of found) found.push(...(children.get(stat.pid) ?? []));
  return found;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const at = (i: number) => fields[i] ?? 0;
    // Counted from the state field, which is the third of proc(5).
    return {
      pid,
      parent: at(1),
      own: at(11) + at(12),
      ended: at(13) + at(14),
      rssBytes: at(21) * PAGE_BYTES,
    };
  } catch {
    return undefined;
  }
}
