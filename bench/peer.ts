/**
 * What the harness knows of anything it measures, Perdure included: how to start a worker and a client of it, each in a
 * process of its own, and what of it runs where. Everything that is measured the same way for all is outside of this
 * contract, so that no peer can be measured kindly.
 */
export interface Peer {
  readonly name: string;
  /** Servers it needs; their CPU counts as its own. */
  readonly servers: readonly ServerName[];
  /** npm packages or programs whose versions are named in the results. */
  readonly versions: () => Record<string, string>;
  /** The configuration it is measured in, and whose recommendation that is. */
  readonly settings: readonly string[];
  /** What is different about its work or its promises, printed beside its numbers. */
  readonly caveats: readonly string[];
  /** How many jobs, as a share of the base, so that a slow peer takes no longer than a fast one. */
  readonly scale: number;
  /** What it counts for one finished item (a flow has several steps), or why it has no such thing. */
  readonly workloads: Readonly<Partial<Record<Kind, Work>>>;
  /** Workers must be there before the jobs: the server pushes to them and would count them as failed. */
  readonly workerFirst?: boolean;
  /** Runs in a process of its own. Resolves when it takes work. */
  worker(place: Place): Promise<Worker>;
  /** Runs in a process of its own. */
  client(place: Place): Promise<Client>;
  /** Removes what a measurement has left in a server that goes on, where it would cost the next ones something. */
  forget?(place: Place): Promise<void>;
}

/** noop: nothing to do. flow: three durable steps. events: to 1,000 live instances. slow: one second. sleep: one hour. */
export type Kind = 'noop' | 'flow' | 'events' | 'slow' | 'sleep';

export type Work =
  | {
      units: number;
      /** As the peer's, for what it does much slower than the rest. */
      scale?: number;
      /** Of instances that sleep: fewer than the 100,000 of the others, where those would not fit. */
      count?: number;
      /** Of instances that sleep: how long it takes until they are out of the way, ms. */
      settleMs?: number;
      /** Of slow jobs: why no setting makes recovery faster. */
      untunable?: string;
    }
  | { no: string };

export type ServerName =
  | 'postgres'
  | 'nats'
  | 'nats-default'
  | 'redis-always'
  | 'redis-everysec'
  | 'restate';

/** Where one measurement takes place: nothing in it was there before. */
export interface Place {
  /** a-z, 0-9 and _: a namespace, a schema, a queue. */
  readonly name: string;
  readonly kind: Kind;
  /** The fastest sane settings for recovery, instead of the defaults. */
  readonly tuned: boolean;
  /** Which of the workers, counted from 0. */
  readonly worker: number;
  /** Slow jobs at once in one worker. */
  readonly slowAtOnce: number;
  /** A file: slow jobs add a line `s ID PID` when they start and `d ID PID` when they are done. */
  readonly marks: string;
  readonly databaseUrl: string;
  /** Of the first of the peer's servers that is one. */
  readonly natsUrl: string;
  readonly redisPort: number;
  readonly restate: { ingress: string; admin: string; endpoints: readonly number[] };
  /** Ids of jobs begin with it: a place may be measured in several times. */
  readonly prefix: string;
}

export interface Worker {
  /** Units of work done so far, each of them durably. */
  units(): number;
  stop(): Promise<void>;
}

export interface Client {
  /** Puts `count` jobs of the place's kind, in the fastest way there is. */
  bulk(count: number): Promise<void>;
  /** Puts them one by one as callers do, `IN_FLIGHT` at a time. */
  each(count: number): Promise<void>;
  /** One no-op job, from asking for it to knowing that it is done. */
  one?(): Promise<void>;
  /** Starts that many instances which wait for events, and returns when they do. */
  create?(count: number): Promise<void>;
  /** Sends `count` events, in turn to that many instances. */
  send?(count: number, instances: number): Promise<void>;
  /** Whether the store says that all `count` jobs are done. Asked at the end only. */
  finished(count: number): Promise<boolean>;
  close(): Promise<void>;
}

/** Calls in flight where a client puts jobs one by one. */
const IN_FLIGHT = 100;

/** Runs `call` for 0 to count - 1, so many at a time. */
export async function inFlight(
  count: number,
  call: (i: number) => Promise<unknown>,
  most = IN_FLIGHT,
): Promise<void> {
  let next = 0;
  const lanes = Array.from({ length: Math.min(most, count) }, async () => {
    while (next < count) await call(next++);
  });
  await Promise.all(lanes);
}
