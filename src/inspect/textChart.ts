import { type ChartMachine, type ChartState, edgeText, stateLines } from '../actors/chart.ts';

/** A machine as lines of text, a state on each with its edges below; active ones are marked. Pure. */
export function textChart(
  { root }: ChartMachine,
  name: string,
  active: ReadonlySet<string> = new Set(),
): string[] {
  const lines: string[] = [`${mark(root, active)}${name}`];
  const write = (state: ChartState, before: string, isLast: boolean): void => {
    const kind = KINDS[state.type] ?? '';
    const tags = state.tags.map((tag) => ` #${tag}`).join('');
    lines.push(
      `${before}${isLast ? '└─ ' : '├─ '}${mark(state, active)}${state.key}${kind}${tags}`,
    );
    below(state, `${before}${isLast ? '   ' : '│  '}`);
  };
  const below = (state: ChartState, before: string): void => {
    const rail = state.states.length > 0 ? '│ ' : '  ';
    for (const line of stateLines(state)) lines.push(`${before}${rail}  ${line}`);
    for (const edge of state.edges)
      if (edge.targets.length > 0)
        lines.push(`${before}${rail}  ${edgeText(edge)} → ${edge.targets.map(short).join(', ')}`);
    for (const [at, child] of state.states.entries())
      write(child, before, at === state.states.length - 1);
  };
  below(root, '');
  return lines;
}

const KINDS: Partial<Record<ChartState['type'], string>> = {
  parallel: ' (parallel)',
  final: ' (final)',
  history: ' (history)',
};

const mark = ({ id }: ChartState, active: ReadonlySet<string>): string =>
  active.has(id) ? '● ' : '';

/** Without what all ids of the machine begin with. */
const short = (id: string): string => id.replace(/^[^.]+\./, '');
