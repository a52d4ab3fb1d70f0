import { type Clock, sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { ShardEpoch, StoredActor } from '../store/store.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * What nodes may have died of is tried apart from the rest, so that when this one dies too it is known of what (G9).
 * Steps are tried one by one: they take moments. What runs for actors may take long, and most of it is innocent: the
 * more nodes have died, the fewer are tried together, and the last time each alone. Whatever is not suspected goes on
 * meanwhile.
 */
export class Trials {
  readonly #log: Logger;
  readonly #steps: Trial[] = [];
  /** By how many nodes have died. */
  readonly #actors = new Map<number, Trial[]>();
  #running = false;

  readonly #clock: Clock;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Runs `trial` alone, before any actor's. */
  step(trial: Trial): void {
    this.#steps.push(trial);
    this.#start();
  }

  /** Runs `trial` when its turn comes, at most with others of whom as many nodes have died. */
  actor(crashes: number, trial: Trial): void {
    const waiting = this.#actors.get(crashes);
    if (waiting) waiting.push(trial);
    else this.#actors.set(crashes, [trial]);
    this.#start();
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    // Those that are opened together are tried together.
    this.#clock.soon(() => void this.#runAll());
  }

  async #runAll(): Promise<void> {
    for (let next = this.#next(); next.length > 0; next = this.#next())
      await Promise.all(
        next.map((trial) =>
          trial().catch((error) =>
            this.#log.error({ error: asError(error).stack }, 'trial: failed'),
          ),
        ),
      );
    this.#running = false;
  }

  #next(): Trial[] {
    const step = this.#steps.shift();
    if (step) return [step];
    const [crashes] = [...this.#actors.keys()].sort((a, b) => a - b);
    if (crashes === undefined) return [];
    const waiting = this.#actors.get(crashes) as Trial[];
    const group = waiting.splice(0, TOGETHER[crashes] ?? 1);
    if (waiting.length === 0) this.#actors.delete(crashes);
    return group;
  }
}

type Trial = () => Promise<void>;

/** How many actors are tried together after so many deaths. */
const TOGETHER: Partial<Record<number, number>> = { 2: 32, 3: 4 };

/**
 * Starts what runs for an actor under suspicion when its turn comes, and holds the next one back until the actor has
 * got on, or has stood it for a while.
 */
export function tryActor(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  row: StoredActor,
  start: () => Promise<void>,
): void {
  const { store, nodeId, clock, log, trials } = ring;
  const mark = (onTrial: boolean) =>
    store.tryActor(nodeId, epochOf(shard), resident.address, onTrial);
  resident.held = true;
  trials.actor(row.crashes, async () => {
    if (shard.closed) return;
    log.warn({ actor: resident.key, crashes: row.crashes }, 'actor: under suspicion, tried apart');
    await mark(true);
    if (shard.closed) return;
    resident.held = false;
    await start();
    await hasGotOn(clock, shard, resident, row.seq);
    if (!shard.closed && resident.live?.seq === row.seq && resident.busy) await mark(false);
  });
}

/** The shard as it is owned now. */
export const epochOf = ({ number, epoch }: Shard): ShardEpoch => ({ shard: number, epoch });

async function hasGotOn(
  clock: Clock,
  shard: Shard,
  resident: Resident,
  seq: number,
): Promise<void> {
  const until = clock.monotonic() + TRIAL_MS;
  while (!shard.closed && clock.monotonic() < until) {
    const settled = resident.live?.seq !== seq || !resident.busy;
    if (settled && resident.uncommitted === 0) return;
    await sleep(clock, LOOK_EVERY_MS);
  }
}

/** What stands this long is not what kills nodes at once. */
const TRIAL_MS = 5_000;
const LOOK_EVERY_MS = 20;
