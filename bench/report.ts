import { type Cell, median, type Results, short, spread } from './results.ts';
import { WORKLOADS, type Workload } from './workloads.ts';

/** The results for people. The file with the chart is beside it. */
export function markdown(results: Results, chart: string): string {
  const { setting, extent, rounds, minutes } = results;
  return `# Perdure beside its peers

${setting.at.slice(0, 16).replace('T', ' ')} UTC, commit ${setting.commit}. ${extent}: ${rounds} round${rounds === 1 ? '' : 's'} of everything, in turn, in ${Math.round(minutes)} minutes. Medians; least–most in brackets.

${setting.cpu}, ${setting.cores} cores, ${setting.memoryGiB} GiB, Linux ${setting.kernel}; servers, workers and clients all on it. ${Object.entries(setting.versions).map(pair).join(', ')}.

![chart](${chart})

${glance(results)}
${WORKLOADS.filter((workload) => !workload.ours)
  .map((workload) => section(workload, results))
  .join('\n')}
${scaling(results)}
## Raw limits in the same run

${table(
  ['', 'per second', 'CPU-s per 1,000'],
  Object.entries(results.raw).map(([name, raws]) => [
    name,
    range(raws.map((raw) => raw.perSecond)),
    range(raws.map((raw) => raw.cpuPer1000)),
  ]),
)}
## Who was measured, and how

${results.peers
  .map(
    (
      peer,
    ) => `**${peer.name}** ${peer.skipped === undefined ? '' : `— not measured: ${peer.skipped}. `}(${Object.entries(
      peer.versions,
    )
      .map(pair)
      .join(', ')})

${[
  ...Object.entries(peer.servers).map(([name, words]) => `${name}: ${words}`),
  ...peer.settings,
  ...peer.caveats.map((words) => `Caveat: ${words}`),
]
  .map((line) => `- ${line}`)
  .join('\n')}
`,
  )
  .join('\n')}`;
}

/** Medians of everything, a line for each: the table that goes into docs/performance.md. */
function glance(results: Results): string {
  const columns: [head: string, workload: string, names: string[]][] = [
    ['no-op/s', 'noop', ['perSecond']],
    ['put one by one/s', 'sustained', ['perSecond']],
    ['flows/s', 'flow', ['perSecond']],
    ['CPU-s per 1,000 flows', 'flow', ['cpu all']],
    ['events/s', 'events', ['perSecond']],
    ['one job, p50 / p99 ms', 'latency', ['p50', 'p99']],
    ['kill -9, s', 'recovery', ['seconds']],
    ['tuned, s', 'recovery-tuned', ['seconds']],
    ['asleep: worker / disk, B', 'idle', ['workerBytes', 'diskBytes']],
  ];
  return table(
    ['', ...columns.map(([head]) => head)],
    results.peers
      .filter((peer) => peer.skipped === undefined)
      .map((peer) => [
        peer.name,
        ...columns.map(([, workload, names]) => {
          const cell = results.cells.find(
            (one) => one.workload === workload && one.peer === peer.name,
          );
          const values = names.map((name) => cell && spread(cell, name)?.median);
          return values.some((value) => value === undefined)
            ? '–'
            : values.map((value) => short(value as number)).join(' / ');
        }),
      ]),
  );
}

const pair = ([name, version]: [string, string]) => `${name} ${version}`;

function section(workload: Workload, results: Results): string {
  const cells = results.cells.filter((cell) => cell.workload === workload.name);
  if (cells.length === 0) return '';
  return `## ${workload.title[0]?.toUpperCase()}${workload.title.slice(1)}\n\n${rows(workload, sorted(workload, cells))}`;
}

/** The best first. */
function sorted(workload: Workload, cells: readonly Cell[]): Cell[] {
  const value = (cell: Cell) => {
    const found = spread(cell, workload.main)?.median;
    if (found === undefined) return Number.NEGATIVE_INFINITY;
    return workload.better === 'more' ? found : -found;
  };
  return [...cells].sort((a, b) => value(b) - value(a) || a.peer.localeCompare(b.peer));
}

function rows(workload: Workload, cells: readonly Cell[]): string {
  if (workload.main === 'perSecond') {
    const isDrained = cells.some((cell) => spread(cell, 'coldPerSecond') !== undefined);
    const cold = isDrained ? ['a quarter of it alone, from the start of the worker'] : [];
    return table(
      ['', 'per second', 'CPU-s per 1,000: all', 'of it servers', 'workers', 'client', ...cold],
      cells.map((cell) => {
        const cpu = (name: string) => spread(cell, `cpu ${name}`)?.median ?? 0;
        const servers = cpu('all') - cpu('workers') - cpu('client');
        return [
          cell.peer,
          one(cell, 'perSecond'),
          ...(cell.samples.length > 0
            ? [
                one(cell, 'cpu all'),
                short(servers),
                short(cpu('workers')),
                short(cpu('client')),
                ...(isDrained ? [one(cell, 'coldPerSecond')] : []),
              ]
            : ['', '', '', '']),
        ];
      }),
    );
  }
  const columns: Record<string, Record<string, string>> = {
    latency: { 'p50, ms': 'p50', 'p95, ms': 'p95', 'p99, ms': 'p99' },
    recovery: {
      'seconds after the kill': 'seconds',
      'of the 50 on the killed one': 'killed',
      'done then': 'done',
    },
    idle: {
      instances: 'count',
      'worker, B': 'workerBytes',
      'server, B': 'serverBytes',
      'disk, B': 'diskBytes',
      'all asleep, CPU-s a minute': 'cpuPerMinute',
    },
  };
  const shown = columns[workload.name.replace('-tuned', '')] ?? {};
  return table(
    ['', ...Object.keys(shown)],
    cells.map((cell) => [
      cell.peer,
      ...Object.values(shown).map((name, i) =>
        i === 0 || cell.samples.length > 0 ? one(cell, name) : '',
      ),
    ]),
  );
}

function scaling(results: Results): string {
  const cells = results.cells.filter(
    (cell) => WORKLOADS.find((workload) => workload.name === cell.workload)?.ours,
  );
  if (cells.length === 0) return '';
  const title = (cell: Cell) =>
    WORKLOADS.find((workload) => workload.name === cell.workload)?.title ?? cell.workload;
  return `## Ours on 1, 2 and 4 node processes\n\n${table(
    ['', 'per second', 'CPU-s per 1,000: all'],
    cells.map((cell) => [title(cell), one(cell, 'perSecond'), one(cell, 'cpu all')]),
  )}`;
}

function one(cell: Cell, name: string): string {
  const found = spread(cell, name);
  if (found === undefined) return `– (${cell.no ?? 'nothing'})`;
  const { median: middle, min, max } = found;
  const words = cell.no === undefined ? '' : `; ${cell.no}`;
  return min === max
    ? `${short(middle)}${words}`
    : `${short(middle)} (${short(min)}–${short(max)})${words}`;
}

function range(values: readonly number[]): string {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return `${short(median(values))}${min === max ? '' : ` (${short(min)}–${short(max)})`}`;
}

/** Columns as wide as they need to be, so that the file reads well as it is. */
function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const all = [head, ...body];
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, i) => (row[i] ?? '').padEnd(width)).join(' | ')} |`;
  return `${[line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body.map(line)].join('\n')}\n`;
}
