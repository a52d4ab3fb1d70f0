import { readdirSync, readFileSync } from 'node:fs';

/** CPU time of the processes and all their children so far, in seconds (Linux: /proc, 100 ticks a second). */
export function cpuSeconds(...roots: number[]): number {
  const wanted = new Set(roots);
  let ticks = 0;
  const rows = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => Number(name))
    .sort((a, b) => a - b)
    .map(readStat);
  for (const row of rows) {
    if (!row || !(wanted.has(row.pid) || wanted.has(row.parent))) continue;
    wanted.add(row.pid);
    // Children that have ended are in their parent's account; only the roots' count here, or they would count twice.
    ticks += row.own + (roots.includes(row.pid) ? row.ended : 0);
  }
  return ticks / 100;
}

function readStat(pid: number) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const field = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number) as number[];
    const at = (i: number) => field[i] ?? 0;
    // Counted from the state field, which is the third of proc(5).
    return { pid, parent: at(1), own: at(11) + at(12), ended: at(13) + at(14) };
  } catch {
    return undefined;
  }
}
