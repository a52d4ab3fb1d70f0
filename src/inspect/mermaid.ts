import { allStates, type ChartMachine, type ChartState, edgeText } from '../actors/chart.ts';

/** A machine as a Mermaid state diagram, for documents that show such. Pure. */
export function mermaidOf(machine: ChartMachine): string {
  const names = new Map(allStates(machine.root).map((state, at) => [state.id, nameOf(state, at)]));
  const name = (id: string) => names.get(id) as string;
  const lines: string[] = [];
  const write = (state: ChartState, depth: number): void => {
    const pad = '  '.repeat(depth);
    const title = state.type === 'history' ? 'H' : state.key;
    if (state.states.length === 0) {
      lines.push(`${pad}state "${escaped(title)}" as ${name(state.id)}`);
      if (state.type === 'final') lines.push(`${pad}${name(state.id)} --> [*]`);
      return;
    }
    lines.push(`${pad}state "${escaped(title)}" as ${name(state.id)} {`);
    inside(state, depth + 1);
    lines.push(`${pad}}`);
  };
  const inside = (state: ChartState, depth: number): void => {
    const pad = '  '.repeat(depth);
    if (state.type === 'compound')
      for (const id of state.initial) if (names.has(id)) lines.push(`${pad}[*] --> ${name(id)}`);
    for (const [at, child] of state.states.entries()) {
      if (state.type === 'parallel' && at > 0) lines.push(`${pad}--`);
      write(child, depth);
    }
  };
  inside(machine.root, 1);
  for (const state of allStates(machine.root))
    for (const edge of state.edges)
      for (const target of edge.targets)
        if (state !== machine.root)
          lines.push(`  ${name(state.id)} --> ${name(target)}: ${escaped(edgeText(edge))}`);
  return ['stateDiagram-v2', ...lines, ''].join('\n');
}

/** Mermaid knows few characters in names; the number keeps two apart that would become the same. */
const nameOf = ({ key }: ChartState, at: number): string =>
  `${key.replace(/[^A-Za-z0-9]/g, '_')}_${at}`;

const escaped = (text: string): string =>
  text.replace(/["#;:\n]/g, (character) => `#${character.charCodeAt(0)};`);
