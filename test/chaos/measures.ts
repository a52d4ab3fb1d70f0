import type { Stage, StageOptions } from './stage.ts';

/** What is bounded: the worst of all samples. */
export interface Row {
  title: string;
  unit: 'ms' | 'MB' | 'jobs';
  /** Worse than this fails the report; for `jobs` less than this. */
  bound: number;
  /** What to aim for, in words. */
  aim?: string;
}

/** One group of faults, done again and again on one stage. */
export interface Measure<Key extends string = string> {
  name: string;
  rows: Readonly<Record<Key, Row>>;
  stage: Pick<StageOptions, 'nodes' | 'startedNodes' | 'proxied' | 'tickers'>;
  /** Needs three nats-servers. */
  cluster: boolean;
  /** The stage is settled when it begins. What was done is undone when it ends. */
  round(stage: Stage, round: number): Promise<Record<Key, number[]>>;
}

/** Keeps the keys of `rows` and what `round` returns the same. */
export const measure = <Key extends string>(given: Measure<Key>): Measure => given as Measure;

/** Actors that need nothing but the node that runs them and Postgres. */
export const BUSY = { beats: 12, works: 12, pairs: 0 };
/** The same, and some that need the log as well. */
export const ALL = { beats: 10, works: 10, pairs: 5 };

/** An actor that has not moved for this long counts as that late, ms. */
export const GIVEN_UP_MS = 40_000;
