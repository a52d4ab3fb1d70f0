import {
  allStates,
  type ChartMachine,
  type ChartState,
  edgeText,
  LINE_MAX,
  stateLines,
} from '../actors/chart.ts';
import type { Box, Drawing, DrawnEdge } from './layout.ts';

/** Sizes in pixels, as chart.css draws them: 13 px type in a state, 11.5 px on an edge. */
const CHARACTER = 8.3;
/** Room for how many actors are there, and how many have failed there, behind the name. */
const COUNT = 56;
const SMALL_CHARACTER = 6.6;
const LINE = 17;
const TITLE = 32;
const STATE_MIN = 92;
const DOT = 12;

interface Node {
  id: string;
  width?: number;
  height?: number;
  children?: Node[];
  layoutOptions?: Record<string, string>;
}

interface Edge {
  id: string;
  sources: string[];
  targets: string[];
  labels?: { text: string; width: number; height: number }[];
}

const initialOf = (state: ChartState): string => `initial:${state.id}`;

/** A machine as the library wants it. Pure. */
export function graphOf({ root }: ChartMachine, direction: 'DOWN' | 'RIGHT'): object {
  return {
    id: ':all',
    layoutOptions: {
      'elk.algorithm': 'layered',
      'elk.direction': direction,
      'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
      'elk.json.shapeCoords': 'ROOT',
      'elk.json.edgeCoords': 'ROOT',
      'elk.edgeRouting': 'ORTHOGONAL',
      'elk.layered.considerModelOrder.strategy': 'NODES_AND_EDGES',
      'elk.layered.nodePlacement.strategy': 'BRANDES_KOEPF',
      'elk.layered.spacing.nodeNodeBetweenLayers': '34',
      'elk.layered.spacing.edgeNodeBetweenLayers': '18',
      'elk.spacing.nodeNode': '34',
      'elk.spacing.edgeNode': '20',
      'elk.spacing.edgeEdge': '16',
      'elk.spacing.edgeLabel': '6',
      'elk.padding': '[top=8,left=8,bottom=8,right=8]',
    },
    children: [nodeOf(root)],
    edges: allStates(root).flatMap(edgesOf),
  };
}

function nodeOf(state: ChartState): Node {
  const lines = stateLines(state);
  const label = Math.max(
    state.key.length * CHARACTER + 26 + COUNT,
    ...lines.map((line) => line.length * SMALL_CHARACTER + 26),
    ...[state.tags.join(' ').length * SMALL_CHARACTER + state.tags.length * 14 + 20],
  );
  const width = Math.max(STATE_MIN, label);
  const height = TITLE + lines.length * LINE + (state.tags.length > 0 ? LINE + 4 : 0);
  if (state.type === 'history') return { id: state.id, width: 30, height: 30 };
  if (state.states.length === 0)
    return { id: state.id, width, height: height + (lines.length > 0 ? 8 : 4) };
  const dot: Node[] =
    state.initial.length > 0 && state.type === 'compound'
      ? [{ id: initialOf(state), width: DOT, height: DOT }]
      : [];
  return {
    id: state.id,
    layoutOptions: {
      'elk.padding': `[top=${height + 12},left=20,bottom=20,right=20]`,
      'elk.nodeSize.constraints': 'MINIMUM_SIZE',
      'elk.nodeSize.minimum': `(${width}, ${height})`,
    },
    children: [...dot, ...state.states.map(nodeOf)],
  };
}

function edgesOf(state: ChartState): Edge[] {
  const first: Edge[] =
    state.type === 'compound'
      ? state.initial.map((target) => ({
          id: JSON.stringify([initialOf(state), 0, target]),
          sources: [initialOf(state)],
          targets: [target],
        }))
      : [];
  const taken = state.edges.flatMap((edge, position) =>
    edge.targets.map((target) => {
      const text = edgeText(edge).slice(0, LINE_MAX);
      const label = { text, width: text.length * SMALL_CHARACTER + 12, height: 18 };
      const id = JSON.stringify([edge.id, position, target]);
      return { id, sources: [state.id], targets: [target], labels: [label] };
    }),
  );
  return [...first, ...taken];
}

interface LaidOut extends Partial<Box> {
  id: string;
  children?: LaidOut[];
  labels?: Partial<Box>[];
  sources?: string[];
  sections?: { startPoint: Point; endPoint: Point; bendPoints?: Point[] }[];
  edges?: LaidOut[];
}

interface Point {
  x: number;
  y: number;
}

/** What the library made of it, as it is drawn. Pure. */
export function drawn(machine: ChartMachine, graph: object): Drawing {
  const all = graph as LaidOut;
  const nodes = (node: LaidOut): LaidOut[] => [node, ...(node.children ?? []).flatMap(nodes)];
  const found = nodes(all).slice(1);
  const known = new Set(allStates(machine.root).map(({ id }) => id));
  return {
    width: Math.ceil(all.width ?? 0),
    height: Math.ceil(all.height ?? 0),
    states: found.map((node) => ({ id: node.id, ...boxOf(node) })),
    edges: nodes(all)
      .flatMap(({ edges = [] }) => edges)
      .map((edge) => edgeFrom(edge, known)),
  };
}

function edgeFrom({ id: key, sources, sections, labels }: LaidOut, known: Set<string>): DrawnEdge {
  const [id = '', position = 0] = JSON.parse(key) as [string, number];
  const source = sources?.[0] ?? '';
  const points = (sections ?? []).flatMap(({ startPoint, bendPoints = [], endPoint }) => [
    startPoint,
    ...bendPoints,
    endPoint,
  ]);
  const label = labels?.[0];
  return {
    id,
    position,
    source: known.has(source) ? source : '',
    points: points.map(({ x, y }) => ({ x: rounded(x), y: rounded(y) })),
    ...(label && { label: boxOf(label) }),
  };
}

const boxOf = ({ x = 0, y = 0, width = 0, height = 0 }: Partial<Box>): Box => ({
  x: rounded(x),
  y: rounded(y),
  width: rounded(width),
  height: rounded(height),
});

const rounded = (value: number): number => Math.round(value * 10) / 10;
