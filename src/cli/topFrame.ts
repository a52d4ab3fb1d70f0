import { age, duration } from './age.ts';
import { SHORT_ID } from './nodes.ts';
import { tableLines, visible } from './table.ts';
import { STATUSES, type TopView, type TypeView } from './topView.ts';

export interface FrameOptions {
  /** Characters in a line, at most; left out: any number. */
  columns?: number;
  /** Lines, at most. */
  rows?: number;
  color: boolean;
  /** Said at the foot: why what is shown is old. */
  notice?: string | undefined;
}

type Style = 'plain' | 'head' | 'grave' | 'good' | 'dim';

interface Line {
  text: string;
  style: Style;
}

const CODES: Record<Style, string> = { plain: '', head: '1', grave: '1;31', good: '32', dim: '2' };
const STATES_MAX = 4;

/** Everything at one moment as lines: what needs a human first, then types, then nodes. Pure but for ages. */
export function frameOf(view: TopView, options: FrameOptions): string[] {
  const { columns = Number.POSITIVE_INFINITY, rows = Number.POSITIVE_INFINITY, color } = options;
  const foot = options.notice === undefined ? [] : [line('grave', options.notice)];
  const body = [
    ...headOf(view),
    line('plain', ''),
    ...needsOf(view),
    ...section(TYPE_HEADINGS, view.types.map(typeRow), 'no actors'),
    ...section(NODE_HEADINGS, view.nodes.map(nodeRow), 'no nodes'),
  ];
  const room = rows - foot.length;
  const left = body.length - room + 1;
  const shown =
    body.length <= room ? body : [...body.slice(0, room - 1), line('dim', `… ${left} more lines`)];
  return [...shown, ...foot].map(({ text, style }) =>
    styled(cut(visible(text), columns), style, color),
  );
}

const line = (style: Style, text: string): Line => ({ style, text });

const cut = (text: string, columns: number): string =>
  text.length > columns ? `${text.slice(0, Math.max(0, columns - 1))}…` : text;

const styled = (text: string, style: Style, color: boolean): string =>
  color && CODES[style] !== '' && text !== '' ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;

function headOf({ namespace, at, rate, shards, nodes, trouble }: TopView): Line[] {
  const live = nodes.filter(({ state }) => state !== 'dead').length;
  const speed =
    rate === null
      ? 'rate not known'
      : `${count(rate.transitions)} transitions/s, ${count(rate.failed)} failures/s`;
  const lag = shards.lag === null ? '' : `, lag ${count(shards.lag)}`;
  const owned = `${live} ${live === 1 ? 'node' : 'nodes'}, ${shards.owned} of ${shards.all} shards owned${lag}`;
  return [
    line('head', `perdure top  ${namespace}  ${at.slice(11, 19)} UTC  ${speed}`),
    line('plain', owned),
    ...(trouble === null ? [] : [line('dim', `NATS: ${trouble}`)]),
  ];
}

function needsOf({ needs }: TopView): Line[] {
  if (needs.length === 0) return [line('good', 'Nothing needs you.'), line('plain', '')];
  const rows = needs.map(({ count: many, more, what, detail, next }) => [
    `${count(many)}${more ? '+' : ''}`,
    what,
    next,
    detail,
  ]);
  const lines = tableLines(['', 'NEEDS YOU', 'NEXT', ''], rows);
  return [...lines.map((text, at) => line(at === 0 ? 'head' : 'grave', text)), line('plain', '')];
}

function section(headings: string[], rows: string[][], none: string): Line[] {
  if (rows.length === 0) return [line('dim', none), line('plain', '')];
  const lines = tableLines(headings, rows);
  return [...lines.map((text, at) => line(at === 0 ? 'head' : 'plain', text)), line('plain', '')];
}

const TYPE_HEADINGS = ['TYPE', 'ACTIVE', 'DONE', 'FAILED', 'STOPPED', '/S', 'ACTIVE IN'];

const typeRow = ({ type, counts, rate, states }: TypeView): string[] => [
  type,
  ...STATUSES.map((status) => count(counts[status])),
  rate === null ? '?' : count(rate.transitions),
  states
    .slice(0, STATES_MAX)
    .map(({ state, count: many }) => `${state} ${count(many)}`)
    .concat(states.length > STATES_MAX ? ['…'] : [])
    .join(', '),
];

const NODE_HEADINGS = ['NODE', 'ID', 'STATE', 'SHARDS', 'LAG', 'UP', 'LEASE'];

const nodeRow = (node: TopView['nodes'][number]): string[] => [
  node.name,
  node.node_id.slice(0, SHORT_ID),
  node.state,
  String(node.shards),
  node.lag === null ? '?' : count(node.lag),
  age(node.started_at),
  node.lease_left_ms > 0 ? duration(node.lease_left_ms) : '-',
];

const NUMBER = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });
const count = (value: number): string => NUMBER.format(value);
