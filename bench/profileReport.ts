import { type FunctionCost, functionCosts, originTimes } from './cpuProfile.ts';
import type { Setting } from './machine.ts';
import { goCosts } from './natsProfile.ts';
import type { Seen } from './profiler.ts';
import { short } from './results.ts';
import type { Statement } from './statements.ts';

const FUNCTIONS = 15;
const STATEMENTS = 10;
const STATEMENT_LENGTH = 90;

/** The page of one workload: where its time goes, in each of the processes. */
export function profileReport(name: string, seen: Seen, setting: Setting): string {
  const { versions } = setting;
  const rows = [
    `# ${seen.title}`,
    '',
    `${Math.round(seen.done).toLocaleString('en')} in ${short(seen.seconds)} seconds of ${seen.rounds} ${seen.rounds === 1 ? 'round' : 'rounds'}, at ${setting.at.slice(0, 16)}Z, commit ${setting.commit}.`,
    `${setting.cpu}, ${setting.cores} cores, ${setting.memoryGiB} GiB, Linux ${setting.kernel}; ${Object.entries(
      versions,
    )
      .map(([what, version]) => `${what} ${version}`)
      .join(', ')}.`,
    'Written by `npm run bench -- --profile`; looking costs time of its own, so the rates are not those of the benchmark.',
    '',
    '## CPU by process',
    '',
    cpuTable(seen),
    '',
    '## The node',
    '',
    `![Flame graph of the node](${name}.svg)`,
    '',
    originTable(seen),
    '',
    functionTable(functionCosts(seen.root)),
    '',
    '## Postgres',
    '',
    "Time is from a statement's first to its last moment in the server: waiting for the disk or a lock counts. Blocks are found in its memory / asked of the system / changed.",
    '',
    statementTable([...seen.statements.values()]),
    '',
    '## nats-server',
    '',
    natsPart(seen),
    '',
  ];
  return rows.join('\n');
}

function cpuTable({ cpu, done }: Seen): string {
  const all = Object.values(cpu).reduce((sum, one) => sum + one, 0);
  return table(
    ['process', 'CPU-seconds', 'per 1,000', 'share'],
    Object.entries({ ...cpu, all }).map(([who, seconds]) => [
      who,
      seconds.toFixed(2),
      short((seconds / Math.max(done, 1)) * 1_000),
      percent(seconds / all),
    ]),
  );
}

function originTable({ root }: Seen): string {
  const times = originTimes(root);
  const busy = times.reduce((sum, [origin, time]) => sum + (origin === 'idle' ? 0 : time), 0);
  const rows = times
    .filter(([origin]) => origin !== 'idle')
    .map(([origin, time]) => [WORDS[origin] ?? origin, percent(time / busy)]);
  const idle = times.find(([origin]) => origin === 'idle')?.[1] ?? 0;
  return `${table(['code of', 'share of the time not idle'], rows)}\n\nIdle ${percent(idle / Math.max(root.total, 1))} of the time.`;
}

const WORDS: Record<string, string> = {
  ours: 'Perdure',
  xstate: 'XState',
  node: 'Node.js',
  gc: 'garbage collector',
  native: 'native code outside of JavaScript',
  other: 'the benchmark, other packages',
};

function functionTable(costs: readonly FunctionCost[]): string {
  const all = costs.reduce((sum, { self }) => sum + self, 0);
  return table(
    ['function', 'where', 'itself', 'with what it calls'],
    costs
      .filter(({ self }) => self > 0)
      .slice(0, FUNCTIONS)
      .map(({ name, file, self, total }) => [
        `\`${name}\``,
        file,
        percent(self / all),
        percent(total / all),
      ]),
  );
}

/** How it begins and what it changes: statements of one kind are put together of parts, and begin alike. */
function statementWords(text: string): string {
  const begin = text.length > STATEMENT_LENGTH ? `${text.slice(0, STATEMENT_LENGTH - 1)}…` : text;
  const changes = [...text.matchAll(/\b(INSERT|UPDATE|DELETE)(?: INTO| FROM)? ([a-z_]+)/g)];
  const words = [...new Set(changes.map(([, verb, name]) => `${verb?.toLowerCase()} ${name}`))];
  return `\`${begin}\`${words.length > 0 ? `; ${words.join(', ')}` : ''}`;
}

/** The statements that took longest together. */
export function statementTable(statements: readonly Statement[]): string {
  const all = statements.reduce((sum, { totalMs }) => sum + totalMs, 0);
  const most = [...statements].sort((a, b) => b.totalMs - a.totalMs).slice(0, STATEMENTS);
  return table(
    ['statement', 'calls', 'mean ms', 'total ms', 'share', 'rows', 'WAL kB', 'blocks'],
    most.map(({ text, calls, totalMs, rows, walBytes, hit, read, dirtied }) => [
      statementWords(text),
      count(calls),
      short(totalMs / calls),
      short(totalMs),
      percent(totalMs / all),
      count(rows),
      count(walBytes / 1_024),
      `${count(hit)} / ${count(read)} / ${count(dirtied)}`,
    ]),
  );
}

function natsPart({ nats, noNats }: Seen): string {
  const costs = goCosts(nats);
  if (costs.length === 0)
    return noNats ?? 'It used too little CPU for a sample, of which there are 100 a second.';
  const seconds = costs.reduce((sum, { self }) => sum + self, 0) / 1e6;
  return `${seconds.toFixed(2)} CPU-seconds, sampled every 10 ms of them.\n\n${functionTable(costs)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  // What stands left of the numbers are words.
  const align = head.map((_, i) => (i === 0 || head[i] === 'where' ? '---' : '--:'));
  return [line(head), line(align), ...rows.map(line)].join('\n');
}

const count = (value: number) => Math.round(value).toLocaleString('en');
const percent = (share: number) => `${((Number.isFinite(share) ? share : 0) * 100).toFixed(1)} %`;
