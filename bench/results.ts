import type { Setting } from './machine.ts';
import type { Raw } from './raw.ts';
import type { Sample } from './workloads.ts';

/** All of a run, as it is written to `bench/results/`. */
export interface Results {
  setting: Setting;
  /** Words for what differs from the full run. */
  extent: string;
  rounds: number;
  minutes: number;
  raw: Record<string, Raw[]>;
  peers: PeerFacts[];
  cells: Cell[];
}

export interface PeerFacts {
  name: string;
  versions: Record<string, string>;
  servers: Record<string, string>;
  settings: readonly string[];
  caveats: readonly string[];
  /** Why it was not measured at all. */
  skipped?: string;
}

/** One peer in one workload. */
export interface Cell {
  workload: string;
  peer: string;
  /** One of each round. */
  samples: Sample[];
  /** Why there are none, or fewer. */
  no?: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = Number.NaN, high = Number.NaN] = [sorted[middle - 1], sorted[middle]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** Median, least and most of one number over the rounds; undefined when there is none. */
export function spread({ samples }: Cell, name: string) {
  const values = samples.flatMap((sample) => sample[name] ?? []);
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Three digits are what such a number is worth. */
export function short(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '> 120';
  if (value === 0) return '0';
  const digits = Number(value.toPrecision(3));
  return digits.toLocaleString('en', { maximumFractionDigits: 4 });
}
