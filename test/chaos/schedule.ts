import { randomFrom } from '../support/cluster.ts';

export const FAULT_KINDS = [
  'kill',
  'pause',
  'stutter',
  'partition',
  'latency',
  'reset',
  'postgres-restart',
  'postgres-terminate',
  'nats-leader',
  'nats-restart',
  'consumers',
  'rolling',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

export type Store = 'postgres' | 'nats' | 'both';
type Cut = 'blackhole' | 'to' | 'from' | 'stall' | 'refuse';

/** What is done and to whom. Times are ms; `downMs` is how long what was killed stays away. */
export type Deed =
  | { kind: 'kill'; node: string; downMs: number }
  | { kind: 'pause'; node: string }
  /** Stopped `times` times for `onMs`, with `offMs` between. */
  | { kind: 'stutter'; node: string; times: number; onMs: number; offMs: number }
  | { kind: 'partition'; node: string; what: Store; how: Cut }
  | { kind: 'latency'; node: string; what: Store; ms: number; jitterMs: number }
  | { kind: 'reset'; node: string; what: Store; times: number; everyMs: number }
  | { kind: 'postgres-restart'; mode: 'fast' | 'immediate'; downMs: number }
  | { kind: 'postgres-terminate'; times: number; everyMs: number }
  | { kind: 'nats-leader'; downMs: number }
  | { kind: 'nats-restart'; signal: 'SIGTERM' | 'SIGKILL'; downMs: number }
  /** `draws` are numbers in [0, 1): which of the consumers there are is known only then. */
  | { kind: 'consumers'; draws: number[] }
  | { kind: 'rolling' }
  | { kind: 'outage'; what: Store };

/** From and until are ms since the start. Where a deed has a `downMs` it ends by itself, and before `untilMs`. */
export interface PlannedFault {
  deed: Deed;
  fromMs: number;
  untilMs: number;
}

export interface ScheduleOptions {
  seed: number;
  lengthMs: number;
  nodes: readonly string[];
  /** Only these. */
  kinds: readonly FaultKind[];
}

const PERIOD_MS = 20_000;
/** Every fault of a period is over this long before the next one, so that nobody is down twice as long. */
const REST_MS = 3_000;
const CALM_SHARE = 0.25;
const KINDS_MAX = 3;

/** Of these one at most in a period: they would undo each other, or leave nobody able to work. */
const ALONE: readonly (readonly FaultKind[])[] = [
  ['postgres-restart', 'postgres-terminate'],
  ['nats-leader', 'nats-restart'],
  ['rolling', 'kill', 'pause', 'stutter', 'partition'],
];
const PROCESS: readonly FaultKind[] = ['kill', 'pause', 'stutter'];
const LINE: readonly FaultKind[] = ['partition', 'latency', 'reset'];

/**
 * The same seed gives the same faults at the same times. In each period one node is spared what would keep it from
 * working, and none suffers two faults of its process or two of its lines.
 */
export function planFaults(options: ScheduleOptions): PlannedFault[] {
  const { seed, lengthMs, nodes, kinds } = options;
  const draw = drawFrom(randomFrom(seed ^ 0xfa017));
  const planned: PlannedFault[] = [];
  const periods = Math.max(1, Math.round(lengthMs / PERIOD_MS));
  for (let period = 0; period < periods; period++) {
    // A run of one calm period would show nothing.
    if (kinds.length === 0 || (draw.chance(CALM_SHARE) && periods > 1)) continue;
    const startMs = period * PERIOD_MS;
    const lastMs = Math.min(startMs + PERIOD_MS, lengthMs) - REST_MS;
    const spared = draw.one(nodes);
    const suffers = { process: new Set([spared]), line: new Set([spared]) };
    for (const kind of chooseKinds(draw, kinds)) {
      const busy = PROCESS.includes(kind) ? suffers.process : suffers.line;
      const free = nodes.filter((name) => !busy.has(name));
      const ofNode = PROCESS.includes(kind) || LINE.includes(kind);
      if (ofNode && free.length === 0) continue;
      const node = ofNode ? draw.one(free) : '';
      busy.add(node);
      const fromMs = startMs + draw.between(200, kind === 'pause' ? 1_800 : 6_000);
      const { deed, forMs } = planDeed(draw, kind, node);
      const untilMs = Math.min(fromMs + forMs, lastMs);
      if (untilMs > fromMs) planned.push({ deed, fromMs, untilMs });
    }
  }
  return planned.sort((a, b) => a.fromMs - b.fromMs);
}

function chooseKinds(draw: Draw, kinds: readonly FaultKind[]): FaultKind[] {
  const chosen: FaultKind[] = [];
  const wanted = draw.between(1, KINDS_MAX);
  for (const kind of draw.shuffled(kinds)) {
    const clash = ALONE.some((group) => {
      const [first, ...others] = group;
      if (first !== 'rolling') return group.includes(kind) && chosen.some((k) => group.includes(k));
      return (
        (kind === first && chosen.some((k) => others.includes(k))) ||
        (others.includes(kind) && chosen.includes(first))
      );
    });
    if (!clash) chosen.push(kind);
    if (chosen.length === wanted) break;
  }
  return chosen;
}

function planDeed(draw: Draw, kind: FaultKind, node: string): { deed: Deed; forMs: number } {
  const what = draw.one(['postgres', 'nats', 'both'] as const);
  const downMs = draw.between(500, 5_000);
  switch (kind) {
    case 'kill':
      return { deed: { kind, node, downMs }, forMs: downMs };
    case 'pause':
      // Beyond the lease of 8 s.
      return { deed: { kind, node }, forMs: draw.between(10_000, 15_000) };
    case 'stutter': {
      const times = draw.between(1, 3);
      const onMs = draw.between(1_000, 3_000);
      const offMs = draw.between(200, 1_500);
      return { deed: { kind, node, times, onMs, offMs }, forMs: times * (onMs + offMs) };
    }
    case 'partition': {
      const how = draw.one(['blackhole', 'blackhole', 'to', 'from', 'stall', 'refuse'] as const);
      return { deed: { kind, node, what, how }, forMs: draw.between(3_000, 14_000) };
    }
    case 'latency': {
      const ms = draw.between(50, 500);
      const deed: Deed = { kind, node, what, ms, jitterMs: Math.floor(ms / 3) };
      return { deed, forMs: draw.between(4_000, 12_000) };
    }
    case 'reset': {
      const times = draw.between(2, 12);
      const everyMs = draw.between(100, 800);
      return { deed: { kind, node, what, times, everyMs }, forMs: times * everyMs };
    }
    case 'postgres-restart':
      return {
        deed: {
          kind,
          mode: draw.one(['fast', 'immediate'] as const),
          downMs: draw.between(0, 2_500),
        },
        forMs: 8_000,
      };
    case 'postgres-terminate': {
      const times = draw.between(1, 4);
      const everyMs = draw.between(300, 2_000);
      return { deed: { kind, times, everyMs }, forMs: times * everyMs };
    }
    case 'nats-leader':
      return { deed: { kind, downMs }, forMs: downMs + 5_000 };
    case 'nats-restart':
      return {
        deed: {
          kind,
          signal: draw.one(['SIGTERM', 'SIGKILL'] as const),
          downMs: draw.between(0, 3_000),
        },
        forMs: 10_000,
      };
    case 'consumers': {
      const draws = Array.from({ length: draw.between(1, 12) }, () => draw.number());
      return { deed: { kind, draws }, forMs: 1_000 };
    }
    case 'rolling':
      return { deed: { kind }, forMs: 14_000 };
  }
}

type Draw = ReturnType<typeof drawFrom>;

function drawFrom(number: () => number) {
  return {
    number,
    chance: (share: number) => number() < share,
    /** A whole number from `low` to `high`, both included. */
    between: (low: number, high: number) => low + Math.floor(number() * (high - low + 1)),
    one: <T>(from: readonly T[]): T => from[Math.floor(number() * from.length)] as T,
    shuffled<T>(from: readonly T[]): T[] {
      const all = [...from];
      for (let last = all.length - 1; last > 0; last--) {
        const other = Math.floor(number() * (last + 1));
        [all[last], all[other]] = [all[other] as T, all[last] as T];
      }
      return all;
    },
  };
}

/** One line for people, with its time. */
export function describe({ deed, fromMs, untilMs }: PlannedFault): string {
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1).padStart(6)} s`;
  return `${seconds(fromMs)} –${seconds(untilMs)}  ${describeDeed(deed)}`;
}

export function describeDeed({ kind, ...rest }: Deed): string {
  const words = Object.entries(rest).map(([name, value]) => {
    if (typeof value === 'string') return value;
    return Array.isArray(value) ? `${value.length} of them` : `${name} ${value}`;
  });
  return `${kind.padEnd(18)} ${words.join(', ')}`.trimEnd();
}
