import { readFileSync } from 'node:fs';
import { allStates, type ChartMachine, type ChartState } from '../actors/chart.ts';
import { invariant } from '../errors.ts';
import {
  edgeTitle,
  labelShapes,
  pathOf,
  type Shape,
  stateNames,
  stateShapes,
} from './chartShapes.ts';
import type { Drawing, DrawnEdge, Layout } from './layout.ts';

/** What a document has room for, pixels. */
const ROOM = { width: 1_200, height: 900 };

/** A machine as an SVG file that stands alone, light or dark as its reader likes it. `name` is what its root is called. */
export function svgOf(machine: ChartMachine, layout: Layout, name: string): string {
  const drawing = fitting(layout);
  const { width, height } = drawing;
  const states = new Map(allStates(machine.root).map((state) => [state.id, state]));
  const boxes = drawing.states.map((box) => {
    const state = states.get(box.id);
    if (!state)
      return `<circle class="initial" cx="${box.x + box.width / 2}" cy="${box.y + box.height / 2}" r="5"/>`;
    const shapes = stateShapes(state, box, state === machine.root ? name : state.key);
    const note = state.description ? `<title>${escaped(state.description)}</title>` : '';
    return `<g class="${stateNames(state)}">${note}${shapes.map(shapeText).join('')}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(name)}</title>`,
    `<style>${style()}</style>`,
    '<defs><marker id="arrow" class="arrow" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 1 L9 5 L0 9 z"/></marker></defs>',
    `<rect class="paper" width="${width}" height="${height}" rx="12"/>`,
    ...boxes,
    ...drawing.edges.map((edge) => edgeGroup(edge, states)),
    '</svg>',
    '',
  ].join('\n');
}

function fitting({ down, right }: Layout): Drawing {
  const scaleOf = ({ width, height }: Drawing) =>
    Math.min(ROOM.width / width, ROOM.height / height);
  return scaleOf(right) > scaleOf(down) ? right : down;
}

function edgeGroup(edge: DrawnEdge, states: ReadonlyMap<string, ChartState>): string {
  const known = states.get(edge.source)?.edges[edge.position];
  const label =
    known && edge.label
      ? `<g class="label"><title>${escaped(edgeTitle(known))}</title>${labelShapes(known, edge.label).map(shapeText).join('')}</g>`
      : '';
  return `<g class="edge"><path d="${pathOf(edge.points)}" marker-end="url(#arrow)"/>${label}</g>`;
}

function shapeText(shape: Shape): string {
  const name = shape.name === '' ? '' : ` class="${shape.name}"`;
  if (shape.kind === 'rect')
    return `<rect${name} x="${shape.x}" y="${shape.y}" width="${shape.width}" height="${shape.height}" rx="${shape.rx}"/>`;
  const anchor = shape.middle ? ' text-anchor="middle"' : '';
  return `<text${name} x="${shape.x}" y="${shape.y}"${anchor}>${escaped(shape.text)}</text>`;
}

/** XML has no way to write most control characters. */
const escaped = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** The page's colors, as plain ones: not everything that draws SVG knows variables. */
function style(): string {
  const colors = pageColors();
  return `.chart{font:13px system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}.name{font-weight:600}.line,.tags,.label text{font-size:11.5px}.state rect{stroke-width:1.3}.parallel>rect{stroke-dasharray:5 4}.edge path{fill:none;stroke-width:1.4}.label rect{opacity:.88}${rules(colors, 0)}@media (prefers-color-scheme:dark){${rules(colors, 1)}}`;
}

/** By name: light, dark. */
type Colors = ReadonlyMap<string, readonly [string, string]>;

function rules(colors: Colors, mode: 0 | 1): string {
  const color = (name: string): string => {
    const found = colors.get(name);
    invariant(found, `the page has a color ${name}`);
    return found[mode];
  };
  return [
    `.paper{fill:${color('paper')}}`,
    `text{fill:${color('ink')}}`,
    `.state rect{fill:${color('panel')};stroke:${color('strong-line')}}`,
    `.outer>rect{fill:${mixed(color('raised'), color('panel'))}}`,
    '.final .inner{fill:none}',
    `.line,.label text{fill:${color('soft')}}`,
    `.tags{fill:${color('blue')}}`,
    `.initial{fill:${color('ink')}}`,
    `.edge path{stroke:${color('strong-line')}}`,
    `.arrow path{fill:${color('strong-line')}}`,
    `.label rect{fill:${color('panel')}}`,
  ].join('');
}

/** In the middle of two colors `#rrggbb`. */
function mixed(one: string, other: string): string {
  const part = (color: string, at: number) => Number.parseInt(color.slice(at, at + 2), 16);
  const parts = [1, 3, 5].map((at) => Math.round((part(one, at) + part(other, at)) / 2));
  return `#${parts.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

function pageColors(): Colors {
  const sheet = readFileSync(new URL('./page/style.css', import.meta.url), 'utf8');
  const found = sheet.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);/g);
  return new Map(
    Array.from(found, ([, name = '', light = '', dark = '']) => [name, [light, dark] as const]),
  );
}
