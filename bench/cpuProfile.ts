/** What V8 writes with `--cpu-prof`; times in µs of the machine's monotonic clock. */
export interface CpuProfile {
  nodes: {
    id: number;
    callFrame: { functionName: string; url: string; lineNumber: number };
    children?: number[];
  }[];
  startTime: number;
  endTime: number;
  samples: number[];
  timeDeltas: number[];
}

/** Whose code a frame is. */
export type Origin =
  | 'ours'
  | 'xstate'
  | 'nats client'
  | 'pg'
  | 'node'
  | 'gc'
  | 'native'
  | 'other'
  | 'idle';

/** A function as it was called from one place, and what it called. */
export interface Frame {
  name: string;
  /** Where it is: `src/actors/step.ts:12`; empty for what has no source. */
  file: string;
  origin: Origin;
  /** µs. */
  self: number;
  total: number;
  children: Map<string, Frame>;
}

/** Time of one function, wherever it was called from. */
export interface FunctionCost {
  name: string;
  file: string;
  origin?: Origin;
  self: number;
  /** With all that it called. */
  total: number;
}

export const newRoot = (): Frame => frameOf('all', '', 'node');

const frameOf = (name: string, file: string, origin: Origin): Frame => ({
  name,
  file,
  origin,
  self: 0,
  total: 0,
  children: new Map(),
});

const ROOT = new URL('../', import.meta.url).href;

/** What V8 calls what is no function. A map, since functions are called `constructor` and `toString`, too. */
const WITHOUT_CODE = new Map<string, Origin>([
  ['(garbage collector)', 'gc'],
  ['(idle)', 'idle'],
  ['(program)', 'native'],
]);

const PACKAGES: [RegExp, Origin][] = [
  [/^xstate$/, 'xstate'],
  [/^@nats-io\//, 'nats client'],
  [/^(?:pg|pg-.+|postgres-.+|pgpass)$/, 'pg'],
];

function placeOf(name: string, url: string, line: number): { file: string; origin: Origin } {
  const special = WITHOUT_CODE.get(name);
  if (special !== undefined) return { file: '', origin: special };
  // Without a source it is a binding of Node's own (`writev`), or a regular expression.
  if (url === '' || url.startsWith('node:'))
    return { file: url === '' ? '' : `${url}:${line}`, origin: 'node' };
  const [, , known, below] = /^(.*)\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(.*)$/.exec(url) ?? [];
  if (known !== undefined) {
    const origin = PACKAGES.find(([pattern]) => pattern.test(known))?.[1] ?? 'other';
    // XState's files have a hash in their names.
    const file = below?.replace(/^(?:dist|lib)\//, '').replace(/-[0-9a-f]{8}\./, '.');
    return { file: `${known}/${file}:${line}`, origin };
  }
  const path = url.startsWith(ROOT) ? url.slice(ROOT.length) : url;
  return { file: `${path}:${line}`, origin: /^(?:src|dist)\//.test(path) ? 'ours' : 'other' };
}

/** Adds what was sampled between two times (µs of the same clock) below `root`: what is the same function under the same callers is one frame. */
export function addProfile(
  root: Frame,
  profile: CpuProfile,
  { from = 0, to = Number.POSITIVE_INFINITY }: { from?: number; to?: number } = {},
): void {
  const self = new Map<number, number>();
  let at = profile.startTime;
  for (const [i, id] of profile.samples.entries()) {
    // The clock of a sample may be behind that of the one before, by a little.
    at += profile.timeDeltas[i] ?? 0;
    if (at < from || at >= to) continue;
    // A sample stands for the time until the next one.
    const lasted = Math.max(profile.timeDeltas[i + 1] ?? 0, 0);
    self.set(id, (self.get(id) ?? 0) + Math.min(lasted, to - at));
  }
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const add = (parent: Frame, id: number): number => {
    const node = nodes.get(id);
    if (node === undefined) return 0;
    const { functionName, url, lineNumber } = node.callFrame;
    // Functions of V8 and Node that are written in C++ have neither, some of them.
    const unnamed = url === '' ? '(native, without a name)' : '(anonymous)';
    const name = functionName === '' ? unnamed : functionName;
    const key = `${name} ${url}:${lineNumber}`;
    const { file, origin } = placeOf(name, url, lineNumber + 1);
    const frame = parent.children.get(key) ?? frameOf(name, file, origin);
    const own = self.get(id) ?? 0;
    const below = (node.children ?? []).reduce((sum, child) => sum + add(frame, child), 0);
    if (own + below > 0) parent.children.set(key, frame);
    frame.self += own;
    frame.total += own + below;
    return own + below;
  };
  // The first node is V8's own root.
  for (const child of profile.nodes[0]?.children ?? []) root.total += add(root, child);
}

/** Time of every function but idling, most of its own first. */
export function functionCosts(root: Frame): FunctionCost[] {
  const costs = new Map<string, FunctionCost>();
  const walk = (frame: Frame, above: ReadonlySet<string>) => {
    const { name, file, origin, self, total } = frame;
    const key = `${name} ${file}`;
    const cost = costs.get(key) ?? { name, file, origin, self: 0, total: 0 };
    cost.self += self;
    // What calls itself has spent the time once.
    if (!above.has(key)) cost.total += total;
    costs.set(key, cost);
    const inside = new Set(above).add(key);
    for (const child of frame.children.values()) walk(child, inside);
  };
  for (const child of root.children.values()) if (child.origin !== 'idle') walk(child, new Set());
  return [...costs.values()].sort((a, b) => b.self - a.self);
}

/** µs by whose code it was spent in, most first. */
export function originTimes(root: Frame): [Origin, number][] {
  const times = new Map<Origin, number>();
  const walk = ({ origin, self, children }: Frame) => {
    times.set(origin, (times.get(origin) ?? 0) + self);
    for (const child of children.values()) walk(child);
  };
  for (const child of root.children.values()) walk(child);
  return [...times].sort(([, a], [, b]) => b - a);
}
