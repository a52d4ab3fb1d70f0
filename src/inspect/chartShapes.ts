import {
  type ChartEdge,
  type ChartState,
  edgeText,
  LINE_MAX,
  stateLines,
} from '../actors/chart.ts';
import type { Box } from './layout.ts';

/**
 * What a statechart is drawn of, where it was laid out: the page and the SVG file show the same shapes. This file runs in
 * browsers, too.
 */
export type Shape =
  | ({ kind: 'rect'; name: string; rx: number } & Box)
  /** `middle`: x is the middle of the text. */
  | { kind: 'text'; name: string; x: number; y: number; text: string; middle: boolean };

/** Classes of a state's group: `state compound outer`. */
export const stateNames = ({ type, states }: ChartState): string =>
  `state ${type}${states.length > 0 ? ' outer' : ''}`;

/** A state: its frame, its name, and what it does. */
export function stateShapes(
  state: ChartState,
  { x, y, width, height }: Box,
  title: string,
): Shape[] {
  const frame = (name: string, inset: number, rx: number): Shape => ({
    ...{ kind: 'rect', name, rx },
    ...{ x: x + inset, y: y + inset, width: width - 2 * inset, height: height - 2 * inset },
  });
  const text = (name: string, down: number, words: string): Shape => ({
    ...{ kind: 'text', name, x: x + 13, y: y + down, text: words, middle: false },
  });
  if (state.type === 'history')
    return [
      frame('', 0, 15),
      { kind: 'text', name: 'name', x: x + 15, y: y + 20, text: 'H', middle: true },
    ];
  const lines = stateLines(state);
  return [
    frame('', 0, 9),
    ...(state.type === 'final' ? [frame('inner', 4, 6)] : []),
    text('name', 21, title),
    ...lines.map((line, at) => text('line', 39 + at * 17, line)),
    ...(state.tags.length > 0
      ? [text('tags', 40 + lines.length * 17, state.tags.map((tag) => `#${tag}`).join(' '))]
      : []),
  ];
}

/** The words at an edge. */
export const labelShapes = (edge: ChartEdge, { x, y, width, height }: Box): Shape[] => [
  { kind: 'rect', name: '', rx: 5, x, y, width, height },
  {
    ...{ kind: 'text', name: '', x: x + width / 2, y: y + 13, middle: true },
    text: edgeText(edge).slice(0, LINE_MAX),
  },
];

/** What an edge does, for whoever points at it. */
export const edgeTitle = (edge: ChartEdge): string =>
  [edgeText(edge), ...edge.actions.map((action) => `do ${action}`), edge.description]
    .filter(Boolean)
    .join('\n');

const RADIUS = 7;

interface Point {
  x: number;
  y: number;
}

/** Lines with round corners, as the `d` of a path. */
export function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (!first) return '';
  let path = `M${first.x} ${first.y}`;
  for (const [at, point] of rest.entries()) {
    const next = rest[at + 1];
    const before = rest[at - 1] ?? first;
    if (!next) {
      path += ` L${point.x} ${point.y}`;
      continue;
    }
    const into = towards(point, before);
    const out = towards(point, next);
    path += ` L${into.x} ${into.y} Q${point.x} ${point.y} ${out.x} ${out.y}`;
  }
  return path;
}

function towards(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const step = Math.min(RADIUS, length / 2);
  return {
    x: from.x + ((to.x - from.x) / length) * step,
    y: from.y + ((to.y - from.y) / length) * step,
  };
}
