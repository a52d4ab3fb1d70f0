/**
 * A machine as data: what a node records of each version when it starts, and all that the inspector knows of a machine.
 * This file runs in browsers, too, and imports nothing.
 */
export interface Chart {
  /** The type's own machine first, then those it invokes or spawns. */
  machines: ChartMachine[];
  /** Fields of the input that actors can be found by; left out when there are none. */
  searchable?: readonly string[];
}

export interface ChartMachine {
  id: string;
  root: ChartState;
  /** Logic by the name it is invoked by. */
  actors: Record<string, ChartActor>;
}

export interface ChartActor {
  kind: string;
  /** Position in `Chart.machines`, for a machine. */
  machine?: number;
  /** Attempts in all, when the type says so. */
  attempts?: number;
  timeoutMs?: number;
}

export interface ChartState {
  id: string;
  key: string;
  type: 'atomic' | 'compound' | 'parallel' | 'final' | 'history';
  /** Ids of the states it is entered in. */
  initial: string[];
  tags: string[];
  description?: string;
  /** Names of actions; those without a name are left out. */
  entry: string[];
  exit: string[];
  invokes: { id: string; src: string }[];
  edges: ChartEdge[];
  states: ChartState[];
}

export interface ChartEdge {
  /** `#source|EVENT|#target`, as a transition's row names the edges it has taken. */
  id: string;
  /** XState's event type; empty for one that is taken always. */
  event: string;
  /** Ids of states; none: it stays where it is. */
  targets: string[];
  guard?: string;
  /** Milliseconds, or the name of a delay. */
  delay?: number | string;
  actions: string[];
  /** Name of the logic it is the result of, when its id is one that XState has made up. */
  of?: string;
  description?: string;
}

/** An event that can be sent to an actor as it stands. */
export interface LegalEvent {
  /** May be a pattern: `*`, or `order.*`. */
  type: string;
  /** Ids of the states that handle it, innermost first. */
  states: string[];
  /** Guards, when every edge has one: it may be taken or not. */
  guards: string[];
}

/** The machine of an actor's row, found by its path; undefined when the chart has none there. */
export function machineAt(chart: Chart, path: readonly string[] = []): ChartMachine | undefined {
  let machine = chart.machines[0];
  for (const src of path) {
    const next: number | undefined = machine?.actors[src]?.machine;
    machine = next === undefined ? undefined : chart.machines[next];
  }
  return machine;
}

/** The states a value names, outermost first; what the chart does not know is left out. */
export function activeStates(root: ChartState, value: unknown): ChartState[] {
  const below = (state: ChartState, inner: unknown): ChartState[] => {
    if (typeof inner === 'string') return child(state, inner, undefined);
    if (typeof inner !== 'object' || inner === null) return [];
    return Object.entries(inner).flatMap(([key, deeper]) => child(state, key, deeper));
  };
  const child = (state: ChartState, key: string, deeper: unknown): ChartState[] => {
    const found = state.states.find((one) => one.key === key);
    return found ? [found, ...below(found, deeper)] : [];
  };
  return [root, ...below(root, value)];
}

/** The innermost states a value names, each with those around it: `open.waiting`. Of a parallel state there are several. */
export function leavesOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = leavesOf(inner);
    return below.length === 0 ? [key] : below.map((leaf) => `${key}.${leaf}`);
  });
}

/** Whether an event of this type comes from outside, and not from the machine's own timers and children. */
const isOutside = (event: string): boolean =>
  event !== '' && !event.startsWith('xstate.') && !event.startsWith('perdure.');

/** What an actor in these states handles. */
export function legalEvents(active: readonly ChartState[]): LegalEvent[] {
  const found = new Map<string, LegalEvent & { free: boolean }>();
  for (const state of active.toReversed())
    for (const { event, guard } of state.edges) {
      if (!isOutside(event)) continue;
      const known = found.get(event) ?? { type: event, states: [], guards: [], free: false };
      if (!known.states.includes(state.id)) known.states.push(state.id);
      if (guard === undefined) known.free = true;
      else if (!known.guards.includes(guard)) known.guards.push(guard);
      found.set(event, known);
    }
  return [...found.values()]
    .map(({ free, ...event }) => ({ ...event, guards: free ? [] : event.guards }))
    .sort((a, b) => (a.type < b.type ? -1 : 1));
}

/** Whether one of the events covers the type, as XState matches `order.*` and `*`. */
export const isLegal = (events: readonly LegalEvent[], type: string): boolean =>
  events.some(
    ({ type: pattern }) =>
      pattern === type ||
      pattern === '*' ||
      (pattern.endsWith('.*') && `${type}.`.startsWith(pattern.slice(0, -1))),
  );

/** Every state of a machine, outermost first. */
export const allStates = (state: ChartState): ChartState[] => [
  state,
  ...state.states.flatMap(allStates),
];

/** What an edge waits for, as people say it: `PAY`, `after 24 h`, `done charge`. */
export function causeText({ event, delay, of }: Pick<ChartEdge, 'event' | 'delay' | 'of'>): string {
  if (event === '') return 'always';
  if (delay !== undefined) return `after ${typeof delay === 'number' ? delayText(delay) : delay}`;
  const own = /^xstate\.(done|error|snapshot)\.(actor|state)\.?(.*)$/.exec(event);
  if (own) return own[2] === 'state' ? 'done' : `${own[1]} ${of ?? own[3]}`;
  return event;
}

/** The cause with its guard: `PAY [inStock]`. */
export const edgeText = (edge: ChartEdge): string =>
  edge.guard === undefined ? causeText(edge) : `${causeText(edge)} [${edge.guard}]`;

/** Of a duration, largest first. */
export const UNITS: readonly [unit: string, ms: number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** The largest unit that leaves nothing over. */
function delayText(ms: number): string {
  const [unit, size] = UNITS.find(([, one]) => ms >= one && ms % one === 0) ?? ['ms', 1];
  return `${ms / size} ${unit}`;
}

/** Longer texts are cut when they are drawn. */
export const LINE_MAX = 44;

/** What is written below a state's name: what runs in it, what it does, and what it handles without leaving. */
export const stateLines = ({ invokes, entry, exit, edges }: ChartState): string[] =>
  [
    ...invokes.map(({ id, src }) =>
      id === src || /^xstate\.invoke\.|^\d+\./.test(id) ? `⟳ ${src}` : `⟳ ${id}: ${src}`,
    ),
    ...entry.map((action) => `entry / ${action}`),
    ...exit.map((action) => `exit / ${action}`),
    ...edges
      .filter(({ targets }) => targets.length === 0)
      .map((edge) => [edgeText(edge), edge.actions.join(', ')].filter(Boolean).join(' / ')),
  ].map((line) => (line.length > LINE_MAX ? `${line.slice(0, LINE_MAX - 1)}…` : line));
