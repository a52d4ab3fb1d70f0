import type { JournalLine } from '../../support/history.ts';
import { type Op, type Program, workResult } from '../load/program.ts';
import type { WorkInput } from '../load/work.ts';
import type { Complaints } from './complaints.ts';
import type { Windows } from './windows.ts';

type Run = Extract<JournalLine, { kind: 'invoke' }>;
type Work = Extract<Op, { op: 'work' }>;

export interface RunCounts {
  keys: number;
  runs: number;
  /** Runs again that were asked for: the attempt before had failed. */
  retries: number;
  /** Runs again that a fault explains. */
  explained: number;
}

/** Invokes run again only after a failure or where a fault hit, and every run of a key gives the same (10). */
export function judgeRuns(
  journal: readonly JournalLine[],
  programs: readonly Program[],
  faults: Windows,
  complaints: Complaints,
): RunCounts {
  const works = worksOf(programs);
  const starts = new Map<string, Run[]>();
  const results = new Map<string, unknown>();
  for (const line of journal) {
    if (line.kind !== 'invoke') continue;
    if (line.phase === 'start') {
      const known = starts.get(line.key);
      if (known) known.push(line);
      else starts.set(line.key, [line]);
    }
    if (line.phase === 'end') judgeResult(line);
  }

  function judgeResult({ key, result, input }: Run): void {
    const { value, salt } = input as WorkInput;
    if (results.has(key) && results.get(key) !== result)
      complaints.add(10, `${key} gave ${results.get(key)} and then ${result}`);
    if (result !== workResult(value, salt))
      complaints.add(10, `${key} gave ${result}, it should be ${workResult(value, salt)}`);
    results.set(key, result);
  }

  const counts: RunCounts = { keys: starts.size, runs: 0, retries: 0, explained: 0 };
  for (const [key, runs] of starts) {
    counts.runs += runs.length;
    runs.sort((a, b) => a.at - b.at);
    for (const [index, run] of runs.entries()) {
      const before = runs[index - 1];
      if (before) judgeAgain(key, before, run);
      else if (run.attempt !== 1) complaints.add(10, `${key} ran first as attempt ${run.attempt}`);
    }
  }
  return counts;

  function judgeAgain(key: string, before: Run, run: Run): void {
    const failed = (works.get(workOf(key))?.failures ?? 0) >= before.attempt;
    if (failed && run.attempt === before.attempt + 1) counts.retries++;
    // Aborted runs and those of dead processes left no end: what they have in common is that a fault was there.
    else if (faults.touch(before.at, run.at)) counts.explained++;
    else
      complaints.add(
        10,
        `${key} ran as attempt ${before.attempt} on ${told(before)} and ${run.at - before.at} ms later as attempt ${run.attempt} on ${told(run)}, and no fault was near`,
      );
  }
}

const told = ({ node, pid }: Run): string => `${node ?? 'a node'} (process ${pid})`;

/** `type/wN`, as `worksOf` has it. */
function workOf(key: string): string {
  const [type, , invokeId] = key.split('/');
  return `${type}/${invokeId}`;
}

/** Every op that works, by type and invoke id. */
export function worksOf(programs: readonly Program[]): Map<string, Work> {
  const works = new Map<string, Work>();
  for (const { name, ops } of programs) walk(name, ops);
  return works;

  function walk(name: string, ops: readonly Op[]): void {
    for (const op of ops) {
      if (op.op === 'work') works.set(`${name}/w${op.n}`, op);
      if (op.op === 'choose') walk(name, [...op.yes, ...op.no]);
      if (op.op === 'repeat') walk(name, op.body);
      if (op.op === 'together') for (const region of op.regions) walk(name, region);
    }
  }
}
