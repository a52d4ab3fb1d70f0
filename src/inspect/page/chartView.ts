import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import {
  allStates,
  type ChartEdge,
  type ChartMachine,
  type ChartState,
} from '../../actors/chart.ts';
import {
  edgeTitle,
  labelShapes,
  pathOf,
  type Shape,
  stateNames,
  stateShapes,
} from '../chartShapes.ts';
import type { Drawing, DrawnEdge, DrawnState, Layout } from '../layout.ts';
import { durationText, html, numberText } from './ui.ts';

export interface StateCount {
  count: number;
  /** Actors that ended in an error there. */
  failed: number;
  /** When the one that has been there for the longest time came, ms since 1970. */
  oldest: number;
  /** Since when half of each part of them have been there, ms since 1970, and how many that part are. */
  medians: [at: number, count: number][];
}

interface Props {
  machine: ChartMachine;
  layout: Layout;
  /** What the root is called. */
  name: string;
  active?: ReadonlySet<string>;
  /** Ids of edges that were taken last. */
  taken?: ReadonlySet<string>;
  counts?: ReadonlyMap<string, StateCount>;
  chosen?: string | undefined;
  onState?: (state: ChartState) => void;
  now?: number;
}

/** Smaller, and its words cannot be read. */
const SCALE_MIN = 0.8;

/** Of a state's name. */
const NAME_CHARACTER = 7.8;

/** How large it can be drawn so that all of it is seen. */
const fitOf = ({ width, height }: Drawing, room: number): number =>
  Math.min(room / width, Math.max(360, innerHeight * 0.7) / height);

const fitting = ({ down, right }: Layout, room: number): Drawing =>
  fitOf(right, room) > fitOf(down, room) && right.width * SCALE_MIN < room * 1.3 ? right : down;

/** The statechart: nested and parallel regions, what runs in them, and which of it is so now. */
export function ChartView(props: Props) {
  const { machine, active } = props;
  const frame = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState(0);
  const [full, setFull] = useState(false);
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const watch = new ResizeObserver(() => setRoom(element.clientWidth));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  const states = useMemo(
    () => new Map(allStates(machine.root).map((one) => [one.id, one])),
    [machine],
  );
  const layout = fitting(props.layout, room);
  const whole = Math.min(1.1, fitOf(layout, room));
  const scale = full ? whole : Math.max(SCALE_MIN, whole);
  const isCut = layout.width * scale > room + 1 || whole < SCALE_MIN;
  useEffect(() => {
    const lit = frame.current?.querySelector<SVGGElement>('.active:not(.outer) > rect');
    const around = frame.current;
    if (!lit || !around) return;
    const box = lit.getBoundingClientRect();
    const view = around.getBoundingClientRect();
    if (box.bottom > view.bottom || box.top < view.top)
      around.scrollTop += box.top - view.top - view.height / 2;
    if (box.right > view.right || box.left < view.left)
      around.scrollLeft += box.left - view.left - view.width / 2;
  }, [active, layout, scale]);
  return html`${(isCut || full) && html`<button class="quiet zoom" onClick=${() => setFull(!full)}>${full ? 'closer' : 'whole'}</button>`}
  <div class="chart-frame" ref=${frame} tabindex=${isCut ? 0 : -1} role="group" aria-label="Statechart of ${props.name}">
    <svg class="chart" width=${layout.width * scale} height=${layout.height * scale}
      viewBox="0 0 ${layout.width} ${layout.height}" role="group" aria-label=${textOf(props)}>
      <defs>
        ${['', 'lit'].map(
          (
            kind,
          ) => html`<marker id=${`arrow${kind}`} class="arrow ${kind}" viewBox="0 0 10 10" refX="8.5" refY="5"
            markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 1 L9 5 L0 9 z" /></marker>`,
        )}
      </defs>
      ${layout.states.map((box) => {
        const state = states.get(box.id);
        return state
          ? html`<${State} key=${box.id} ...${props} box=${box} state=${state} isRoot=${state === machine.root} />`
          : html`<circle key=${box.id} class="initial" cx=${box.x + box.width / 2} cy=${box.y + box.height / 2} r="5" />`;
      })}
      ${layout.edges.map(
        (edge, at) =>
          html`<${Edge} key=${at} edge=${edge} known=${states.get(edge.source)?.edges[edge.position]} taken=${props.taken} />`,
      )}
    </svg>
  </div>`;
}

/** The same in words. */
function textOf({ machine, active, counts }: Props): string {
  const names = allStates(machine.root).filter(({ states }) => states.length === 0);
  if (counts) return names.map(({ key, id }) => `${key}: ${counts.get(id)?.count ?? 0}`).join(', ');
  if (!active) return names.map(({ key }) => key).join(', ');
  const lit = names.filter(({ id }) => active.has(id)).map(({ key }) => key);
  return `in ${lit.join(' and ') || 'no state that is known'}, of ${names.map(({ key }) => key).join(', ')}`;
}

function State(props: Props & { box: DrawnState; state: ChartState; isRoot: boolean }) {
  const { box, state, isRoot, active, counts, chosen, onState, now = 0 } = props;
  const count = counts?.get(state.id);
  const isActive = active?.has(state.id) ?? false;
  const kinds = [
    stateNames(state),
    isActive ? 'active' : '',
    chosen === state.id ? 'chosen' : '',
    count ? `heat${heatOf(now - medianOf(count))}` : '',
    onState ? 'choosable' : '',
  ].join(' ');
  const choose = () => onState?.(state);
  const label = `${state.key}${isActive ? ', active' : ''}${counts ? `, ${count?.count ?? 0} actors` : ''}`;
  const title = isRoot ? props.name : state.key;
  return html`<g class=${kinds} data-state=${state.id} data-active=${isActive}
    role=${onState ? 'button' : 'img'} tabindex=${onState ? 0 : undefined} aria-label=${onState ? undefined : label}
    onClick=${choose} onKeyDown=${(event: KeyboardEvent) => {
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        choose();
      }
    }}>
    ${stateShapes(state, box, title).map(shapeOf)}
    ${count !== undefined && html`<${Counts} count=${count} box=${box} title=${title} now=${now} />`}
  </g>`;
}

interface CountsProps {
  count: StateCount;
  box: DrawnState;
  title: string;
  now: number;
}

/**
 * How many are there, in the corner, and left of them how many have failed there. Where the name leaves no room for both
 * those that failed hang from the lower edge: a state may be one line high.
 */
function Counts({ count, box, title, now }: CountsProps) {
  const right = box.x + box.width - 6;
  const beside = count.count > 0 ? right - countWidth(count.count) - 4 : right;
  const fits = beside - countWidth(count.failed) >= box.x + 17 + title.length * NAME_CHARACTER;
  const failedAt = fits ? { right: beside, y: box.y + 7 } : { right, y: box.y + box.height - 9 };
  return html`
    ${count.count > 0 && html`<${Count} count=${count.count} right=${right} y=${box.y + 7} title=${`${numberText(count.count)} actors, half of them for about ${durationText(now - medianOf(count))}, the oldest for ${durationText(now - count.oldest)}`} />`}
    ${count.failed > 0 && html`<${Count} name="failed" count=${count.failed} ...${failedAt} title=${`${numberText(count.failed)} failed here`} />`}`;
}

function Count(props: { name?: string; count: number; right: number; y: number; title: string }) {
  const { name = '', count, right, y, title } = props;
  const width = countWidth(count);
  return html`<g class="count ${name}"><rect x=${right - width} y=${y} width=${width} height="20" rx="10" />
    <text x=${right - width / 2} y=${y + 14} text-anchor="middle">${short(count)}</text><title>${title}</title></g>`;
}

const shapeOf = (shape: Shape) =>
  shape.kind === 'rect'
    ? html`<rect class=${shape.name || undefined} x=${shape.x} y=${shape.y} width=${shape.width} height=${shape.height} rx=${shape.rx} />`
    : html`<text class=${shape.name || undefined} x=${shape.x} y=${shape.y} text-anchor=${shape.middle ? 'middle' : undefined}>${shape.text}</text>`;

const short = (count: number): string =>
  count < 10_000 ? numberText(count) : `${(count / 1000).toFixed(count < 100_000 ? 1 : 0)}k`;
const countWidth = (count: number): number => short(count).length * 7.5 + 14;

/** Since when about half of them have been there: each part counts for as many as it has. */
function medianOf({ medians }: Pick<StateCount, 'medians'>): number {
  const sorted = medians.toSorted(([a], [b]) => b - a);
  const all = sorted.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [at, count] of sorted) {
    seen += count;
    if (seen * 2 >= all) return at;
  }
  return Number.POSITIVE_INFINITY;
}

/** Warmer the longer half of them have been there. */
function heatOf(ms: number): number {
  const steps = [60_000, 3_600_000, 86_400_000];
  return steps.filter((step) => ms > step).length;
}

function Edge({
  edge,
  known,
  taken,
}: {
  edge: DrawnEdge;
  known: ChartEdge | undefined;
  taken: ReadonlySet<string> | undefined;
}) {
  const lit = known !== undefined && taken?.has(known.id);
  const { label } = edge;
  return html`<g class="edge ${lit ? 'lit' : ''}" data-edge=${edge.id}>
    <path d=${pathOf(edge.points)} marker-end=${`url(#arrow${lit ? 'lit' : ''})`} />
    ${
      known &&
      label &&
      html`<g class="label">${labelShapes(known, label).map(shapeOf)}<title>${edgeTitle(known)}</title></g>`
    }
  </g>`;
}
