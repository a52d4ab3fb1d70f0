import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import { addressKey, type StoredActor } from '../store/store.ts';
import { ABANDON, abandonStep } from './abandon.ts';
import type { ActorType } from './define.ts';
import {
  childRowsOf,
  familyOf,
  quarantineAll,
  type Rows,
  rehydrateChildren,
  typeAt,
} from './kinRows.ts';
import { migrateStep } from './migrate.ts';
import { Resident } from './resident.ts';
import { resumeKept } from './resume.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { Step } from './step.ts';
import type { Cause } from './taker.ts';

/** How what an opening causes gets into the batch. */
interface Recorder {
  record(resident: Resident, fromState: string | null, step: Step, cause: Cause): void;
  /** The family takes what the step causes. */
  follow(resident: Resident, step: Step): void;
}

/** Makes actors in memory of their rows: as they were written, or taken over from another version. */
export class Opener {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #recorder: Recorder;
  /** Why rows could not be opened although their version is known, for whoever is told. */
  readonly #failures = new WeakMap<StoredActor, [reason: ErrorCode, detail: string]>();

  constructor(ring: Ring, shard: Shard, recorder: Recorder) {
    this.#ring = ring;
    this.#shard = shard;
    this.#recorder = recorder;
  }

  /** Why the row could not be opened although its version is known. */
  failure(row: StoredActor): [reason: ErrorCode, detail: string] | undefined {
    return this.#failures.get(row);
  }

  /**
   * The actor in memory, with its machine children, whose rows are among `kin`; undefined when this node knows no version
   * that can open it, or leaves it to a node that knows its own. One of a version that is only known to a `migrate` is
   * stepped over into the batch: its `seq` is one more than its row's.
   */
  open(row: StoredActor, kin: Rows): Resident | undefined {
    const { registry, others, log } = this.#ring;
    const { parking } = this.#shard;
    const { type: name, version, seq } = row;
    const about = { actor: addressKey(row), ...this.#shard.place, seq, version };
    const actor = addressKey(row);
    if (parking.isLeftAlone(actor)) return undefined;
    const known = registry.version(name, version);
    const next = known ? undefined : registry.migrating(name, version);
    const isKept = !known && others.keep(name, version);
    try {
      if (known) return this.#rehydrate(row, known, kin);
      if (next && !isKept && familyOf(row, kin).every(mayMigrate))
        return this.#migrate(row, next, kin);
    } catch (error) {
      const failure = asError(error);
      const { message } = failure;
      const code = isOfCodec(failure)
        ? 'codec_failed'
        : next
          ? 'migrate_failed'
          : 'version_unknown';
      parking.leaveAlone(actor);
      this.#failures.set(row, [code, message]);
      log.error(
        { ...about, error: message },
        code === 'migrate_failed'
          ? 'actor: migrate failed, left alone'
          : 'actor: cannot be rehydrated',
      );
      return undefined;
    }
    parking.leaveAlone(actor);
    parking.lacks(name, version);
    if (isKept) log.info(about, 'actor: version known elsewhere, left alone');
    else if (next) log.warn(about, 'actor: actions of its old version are left, left alone');
    else log.warn(about, 'actor: version unknown here, left alone');
    return undefined;
  }

  #rehydrate(row: StoredActor, root: ActorType, kin: Rows): Resident {
    const type = typeAt(root, row.path === null ? [] : JSON.parse(row.path));
    if (!type)
      throw new Error(`version ${row.version} of ${row.type} has no such machine any more`);
    const resident = Resident.rehydrated(row, type, this.#shard.deliver);
    rehydrateChildren(resident, kin, this.#shard.deliver);
    quarantineAll(resident, row, kin);
    return resident;
  }

  #migrate(row: StoredActor, type: ActorType, kin: Rows): Resident {
    const { limits, log } = this.#ring;
    const { batch } = this.#shard;
    const resident = Resident.migrating(row, type, this.#shard.deliver);
    const { address, scope } = resident;
    const migration = migrateStep(type, address, scope, row.seq, row.snapshot, limits);
    const { before, abandoned, step, event } = migration;
    resident.live = before;
    rehydrateChildren(resident, kin, this.#shard.deliver);
    const cause = { eventType: event.type, text: JSON.stringify(event), eventId: null } as const;
    this.#recorder.record(resident, row.state, step, { ...cause, origin: 'engine' });
    for (const member of resident.members()) {
      this.#shard.adopt(member);
      // The rows of machines that go on are of the new version from now on.
      batch.row(member);
    }
    for (const address of childRowsOf(row, abandoned))
      for (const gone of familyOf(kin.get(addressKey(address)), kin)) this.#abandon(gone, type);
    if (step.kin.length > 0) this.#recorder.follow(resident, step);
    const kept = Object.entries(step.live.started).filter(([, seq]) => seq <= row.seq);
    if (kept.length > 0)
      batch.afterwards.push(() => resumeKept(this.#ring, this.#shard, resident, kept));
    const { seq } = step.live;
    log.info(
      { actor: resident.key, ...this.#shard.place, seq, from: event.from, to: event.to },
      'actor: migrated',
    );
    return resident;
  }

  /** A machine child that the new version has no more ends where it stands. */
  #abandon(row: StoredActor, type: ActorType): void {
    if (row.status !== 'active') return;
    const resident = Resident.migrating(row, type, this.#shard.deliver);
    const step = abandonStep(type, row.seq, row.snapshot);
    resident.live = { ...step.live, seq: row.seq };
    const cause = { eventType: ABANDON, text: `{"type":"${ABANDON}"}`, eventId: null } as const;
    this.#recorder.record(resident, row.state, step, { ...cause, origin: 'engine' });
    this.#shard.adopt(resident);
  }
}

/** Actions that were not acknowledged are redone from the history, which takes the machine that wrote it (G4). */
const mayMigrate = ({ status, actedSeq, seq }: StoredActor): boolean =>
  status !== 'active' || actedSeq === seq;

const isOfCodec = (error: Error): boolean =>
  error instanceof PerdureError && error.code === 'codec_failed';
