import type { Audited } from './audit.ts';
import type { Checked } from './check.ts';

export interface Report extends Checked {
  ok: boolean;
  /** Packages whose start JetStream acknowledged. */
  accepted: number;
  waiting: { atKill: number; atEnd: number };
  files: number;
  bytes: number;
  /** Requests the reviewer took: as many as packages need approval. Null when no node answered. */
  reviewed: number | null;
  killedPid: number;
  secondsToFirstTransition: number | null;
  /** `total` includes making and starting Postgres and NATS; `actors` is from the first start to the last end. */
  seconds: { total: number; actors: number; sequential: number };
  approvals: Pick<Audited, 'name' | 'version' | 'licence' | 'doubt' | 'approvedBy'>[];
}

/** The report for people. */
export function table(report: Report): string {
  const { seconds, approvals, problems } = report;
  const by = (approver: string) =>
    approvals.filter(({ approvedBy }) => approvedBy === approver).length;
  const rows = [
    ['packages', `accepted ${report.accepted}, finished ${report.finished}`],
    ['waiting', `${report.waiting.atKill} at the kill, ${report.waiting.atEnd} at the end`],
    ['approvals', `${by('reviewer')} by the reviewer, ${by('lead')} by the lead after a timer`],
    ['contents', `${report.files} files, ${(report.bytes / 2 ** 20).toFixed(0)} MiB hashed`],
    ['transitions', `${report.transitions}`],
    ['invokes', `${report.invokes}, run again ${report.invokesRerun}`],
    ['lost', `${report.lost}`],
    ['duplicated', `${report.duplicated}`],
    [
      'kill -9',
      `of node ${report.killedPid}; ${fixed(report.secondsToFirstTransition)} s to the first new transition`,
    ],
    [
      'seconds',
      `${fixed(seconds.total)} in all, ${fixed(seconds.actors)} for the actors (${fixed(seconds.sequential)} sequentially)`,
    ],
  ] as const;
  const doubts = approvals.map(
    ({ name, version, licence, doubt, approvedBy }) =>
      `  ${`${name} ${version}`.padEnd(44)} ${licence.padEnd(18)} ${(doubt ?? '').padEnd(24)} ${approvedBy}`,
  );
  return [
    ...(doubts.length === 0 ? [] : ['', 'Licences somebody had to look at', '', ...doubts]),
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(13)}${value}`),
    '',
    ...problems.slice(0, PROBLEMS_SHOWN).map((problem) => `  ${problem}`),
    ...(problems.length > PROBLEMS_SHOWN
      ? [`  … and ${problems.length - PROBLEMS_SHOWN} more`]
      : []),
    report.ok
      ? 'Equal to the sequential computation in every field of every package.'
      : 'NOT what the sequential computation says.',
    '',
  ].join('\n');
}

const PROBLEMS_SHOWN = 20;

const fixed = (seconds: number | null) => (seconds === null ? '?' : seconds.toFixed(1));

/** Tells how it goes: one line that changes on a terminal, a line a second elsewhere. */
export class Teller {
  readonly #out: NodeJS.WriteStream;
  #last = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** A line that stays. */
  say(line: string): void {
    this.#out.write(`${this.#out.isTTY ? CLEAR : ''}${line}\n`);
  }

  /** A line the next one replaces. */
  progress(line: string): void {
    if (this.#out.isTTY) this.#out.write(`${CLEAR}${line}`);
    else if (performance.now() - this.#last >= 1_000) {
      this.#last = performance.now();
      this.#out.write(`${line}\n`);
    }
  }
}

const CLEAR = '\r\x1b[K';
