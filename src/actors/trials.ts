import { type Clock, sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { ShardEpoch } from '../store/sharing.ts';
import { addressKey, QUARANTINE_AFTER, type StoredActor, SUSPECT_AFTER } from '../store/store.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * What nodes may have died of is tried apart from the rest, so that when this one dies too it is known of what (G9):
 * the more nodes have died, the fewer are tried at a time, and the last time each alone. Whatever is not suspected goes
 * on meanwhile.
 */
export class Trials {
  readonly #log: Logger;
  /** They take moments and hold up a whole shard: whoever is suspected most goes first. */
  readonly #steps = new Queues();
  /** They may take long, and most are innocent: whoever is suspected least goes first. */
  readonly #actors = new Queues();
  #aloneRuns = false;
  readonly #clock: Clock;
  /** Whether an actor may be tried alone; undefined until the first one waits for its trial. */
  #isProven: boolean | undefined;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Runs `trial` with few other steps of which as many nodes may have died, in the end alone. */
  step(crashes: number, trial: Trial): void {
    this.#steps.add(crashes, trial);
    this.#start();
  }

  /** Runs `trial` with few other actors of whom as many nodes may have died, in the end alone. */
  actor(crashes: number, trial: Trial): void {
    if (this.#isProven === undefined) {
      this.#isProven = false;
      // Not asked of the clock again: a timer may fire a fraction of a millisecond early, and nothing would ask once more.
      this.#clock.after(PROVEN_MS, () => {
        this.#isProven = true;
        this.#start();
      });
    }
    this.#actors.add(crashes, trial);
    this.#start();
  }

  #start(): void {
    while (this.#startOne());
  }

  /** False when nothing more can be started now. */
  #startOne(): boolean {
    if (this.#aloneRuns) return false;
    const step = this.#steps.most;
    if (step === ALONE_AFTER) return this.#startAlone(this.#steps);
    if (step !== undefined && this.#startWithOthers(this.#steps, step)) return true;
    const actor = this.#actors.least(this.#isProven ? ALONE_AFTER : ALONE_AFTER - 1);
    if (actor === undefined) return false;
    return actor === ALONE_AFTER
      ? this.#startAlone(this.#actors)
      : this.#startWithOthers(this.#actors, actor);
  }

  #startWithOthers(queues: Queues, level: number): boolean {
    if (queues.running > 0 && level !== queues.level) return false;
    if (queues.running >= (TOGETHER[level] as number)) return false;
    void this.#run(queues, level);
    return true;
  }

  #startAlone(queues: Queues): boolean {
    if (this.#steps.running + this.#actors.running > 0) return false;
    this.#aloneRuns = true;
    void this.#run(queues, ALONE_AFTER);
    return true;
  }

  async #run(queues: Queues, level: number): Promise<void> {
    queues.level = level;
    queues.running++;
    await queues
      .take(level)()
      .catch((error) => this.#log.error({ error: asError(error).stack }, 'trial: failed'));
    queues.running--;
    this.#aloneRuns = false;
    this.#start();
  }
}

type Trial = () => Promise<void>;

/** After so many deaths each is tried alone. */
const ALONE_AFTER = QUARANTINE_AFTER - 1;
/**
 * How many are tried at a time after so many deaths. Of the 10,000 that run in one node at most, 25 × 400, 20 × 20 and
 * 20 × 1 turns of `TRIAL_MS` find any.
 */
const TOGETHER: Partial<Record<number, number>> = { 2: 400, 3: 20 };

/** What waits for its trial, by how many nodes have died. */
class Queues {
  readonly #byLevel = new Map<number, Trial[]>();
  /** Trials that run, and what all of them have in common. */
  running = 0;
  level = 0;

  add(crashes: number, trial: Trial): void {
    const level = Math.min(Math.max(crashes, SUSPECT_AFTER), ALONE_AFTER);
    const queue = this.#byLevel.get(level);
    if (queue) queue.push(trial);
    else this.#byLevel.set(level, [trial]);
  }

  get most(): number | undefined {
    return this.#levels(ALONE_AFTER).at(-1);
  }

  least(levelMax: number): number | undefined {
    return this.#levels(levelMax)[0];
  }

  take(level: number): Trial {
    return this.#byLevel.get(level)?.shift() as Trial;
  }

  #levels(levelMax: number): number[] {
    const levels: number[] = [];
    for (let level = SUSPECT_AFTER; level <= levelMax; level++)
      if (this.#byLevel.get(level)?.length) levels.push(level);
    return levels;
  }
}

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
  const { clock, log, marks, trials } = ring;
  const mark = (onTrial: boolean) =>
    marks.actor({ ...epochOf(shard), ...resident.address, onTrial });
  resident.held = true;
  trials.actor(row.crashes, async () => {
    if (shard.closed) return;
    if (!resident.isPaused) {
      tellTried(log, shard, row);
      await mark(true);
    }
    resident.held = false;
    if (shard.closed || resident.isPaused) return;
    await start();
    await hasGotOn(clock, shard, resident, row.seq);
    if (!shard.closed && resident.live?.seq === row.seq && resident.busy) await mark(false);
  });
}

/** `migrate` is user code: of an actor under suspicion it is run apart, like what runs for it. */
export function tryMigration(ring: Ring, shard: Shard, row: StoredActor): void {
  const { clock, loader, log, marks, trials } = ring;
  const address = { type: row.type, id: row.id };
  const key = addressKey(row);
  trials.actor(row.crashes, async () => {
    if (shard.closed) return;
    tellTried(log, shard, row);
    await marks.actor({ ...epochOf(shard), ...address, onTrial: true });
    const rows = await loader.load([address]);
    const stored = rows.get(key);
    // A message may have brought it in meanwhile.
    if (shard.closed || shard.residents.has(key) || stored?.seq !== row.seq || stored.paused)
      return;
    const resident = shard.rehydrate(stored, rows);
    if (!resident) return marks.actor({ ...epochOf(shard), ...address, onTrial: false });
    for (const member of resident.members()) shard.adopt(member);
    shard.offer();
    await hasGotOn(clock, shard, resident, row.seq + 1);
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
/**
 * An actor that is tried alone answers for the node's death, so none is before the node, with its shards open, has lived as long
 * without: one that is killed every other second, or dies as it starts, says nothing about them. Steps do not wait: a whole shard
 * would, and they take moments.
 */
const PROVEN_MS = TRIAL_MS;
const LOOK_EVERY_MS = 20;

function tellTried(log: Logger, shard: Shard, row: StoredActor): void {
  const { seq, crashes } = row;
  log.warn(
    { actor: addressKey(row), ...shard.place, seq, crashes },
    'actor: under suspicion, tried apart',
  );
}
