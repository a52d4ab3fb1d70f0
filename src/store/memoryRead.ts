import type { Clock } from '../clock.ts';
import { contextOf, parsed } from './inspect.ts';
import type { LetterFilter } from './letters.ts';
import { listLimit } from './lists.ts';
import { letterIn, lettersIn, markRedriven, reasonsIn } from './memoryLetters.ts';
import { parkedRows } from './memoryParked.ts';
import { foundIn, isIn, isListed, machineRows, populationOf } from './memorySearch.ts';
import { type ActorState, byText, iso, isoOrNull, type Tables } from './memoryTables.ts';
import type {
  ActorDetail,
  ActorFilter,
  ActorSummary,
  FailedAttemptRow,
  HistoryRow,
  LateRow,
  NodeRow,
  ParkedFor,
  ParkedRow,
  QuarantinedRow,
  ReadStore,
  ShardRow,
} from './read.ts';
import type {
  ActorSearch,
  Counted,
  Found,
  MachineRow,
  PopulationRow,
  SearchPage,
} from './search.ts';
import { type Address, addressKey } from './store.ts';

/** As Postgres sorts: null comes last. */
const byVersion = (a: string | null, b: string | null): number =>
  a === null || b === null ? Number(a === null) - Number(b === null) : byText(a, b);

/** The reading half of the in-memory twin. */
export class MemoryReadStore implements ReadStore {
  protected readonly clock: Clock;
  protected readonly tables: Tables;

  constructor(clock: Clock, tables: Tables) {
    this.clock = clock;
    this.tables = tables;
  }

  async listActors(filter: ActorFilter): Promise<ActorSummary[]> {
    return [...this.tables.actors.values()]
      .filter((actor) => filter.type === undefined || actor.type === filter.type)
      .filter((actor) => filter.status === undefined || actor.status === filter.status)
      .filter((actor) => filter.state === undefined || isIn(parsed(actor.state), filter.state))
      .filter((actor) => !filter.paused || actor.pausedAt !== null)
      .filter(({ id }) => isListed(id, filter.children))
      .sort((a, b) => b.updatedAt - a.updatedAt || byText(a.type, b.type) || byText(a.id, b.id))
      .slice(0, listLimit(filter.limit))
      .map(summary);
  }

  async searchActors(search: ActorSearch, page: SearchPage): Promise<Found> {
    const { rows, ...reach } = foundIn(this.tables, search, this.clock.now(), page);
    return { actors: rows.map(summary), ...reach };
  }

  async countActors(search: ActorSearch, page: SearchPage): Promise<Counted> {
    const { rows, ...reach } = foundIn(this.tables, search, this.clock.now(), page);
    return { count: rows.length, ...reach };
  }

  async population(type?: string): Promise<PopulationRow[]> {
    return populationOf(this.tables.actors.values(), this.clock.now(), type);
  }

  async machine(type: string, version: string): Promise<MachineRow | undefined> {
    return machineRows(this.tables).find((row) => row.type === type && row.version === version);
  }

  async machines(): Promise<Omit<MachineRow, 'definition'>[]> {
    return machineRows(this.tables).map(({ definition: _definition, ...row }) => row);
  }

  async pathOf(type: string, id: string): Promise<string[]> {
    const row = this.tables.actors.get(addressKey({ type, id }));
    return JSON.parse(row?.path ?? '[]') as string[];
  }

  async actor(type: string, id: string): Promise<ActorDetail | undefined> {
    const row = this.tables.actors.get(addressKey({ type, id }));
    if (!row) return undefined;
    const snapshot = this.snapshotOf(row) as string;
    return {
      ...summary(row),
      context: contextOf(snapshot),
      snapshot,
      retries: parsed(row.retries),
      crashes: row.crashes,
      quarantined_at: row.quarantinedAt === null ? null : iso(row.quarantinedAt),
      parked: await this.parkedFor(type, id),
      outbox: [...this.tables.outbox.values()].filter(
        (sent) => sent.kind === 'send' && sent.type === type && sent.id === id,
      ).length,
      timers: [...this.tables.timers.values()]
        .filter((timer) => timer.type === type && timer.id === id)
        .sort((a, b) => a.fireAt - b.fireAt || byText(a.timerId, b.timerId))
        .map((timer) => ({
          timer_id: timer.timerId,
          fire_at: iso(timer.fireAt),
          event: parsed(timer.event),
        })),
    };
  }

  /** That of its last transition; undefined when there is none. */
  protected snapshotOf(row: Address & { seq: number }): string | undefined {
    const rows = this.tables.transitions.get(addressKey(row));
    return rows?.findLast(({ seq }) => seq === row.seq)?.snapshot;
  }

  async history(
    type: string,
    id: string,
    options: { fromSeq?: number; limit?: number } = {},
  ): Promise<HistoryRow[]> {
    return (this.tables.transitions.get(addressKey({ type, id })) ?? [])
      .filter((row) => row.seq >= (options.fromSeq ?? 1))
      .slice(0, listLimit(options.limit))
      .map((row) => ({
        seq: row.seq,
        epoch: row.epoch,
        node_id: row.nodeId,
        event_type: row.eventType,
        event: parsed(row.event),
        event_id: row.eventId,
        origin: row.origin,
        from_state: parsed(row.fromState),
        to_state: parsed(row.toState),
        edges: JSON.parse(row.edges) as string[],
        actions: row.actions,
        at: iso(row.at),
        snapshot: row.snapshot,
        failed_attempts: this.#failedAttempts(row),
      }));
  }

  #failedAttempts(started: Address & { seq: number }): FailedAttemptRow[] {
    return (this.tables.failedAttempts.get(addressKey(started)) ?? [])
      .filter(({ startedSeq }) => startedSeq === started.seq)
      .sort((a, b) => a.at - b.at || byText(a.invokeId, b.invokeId) || a.attempt - b.attempt)
      .map((row) => ({
        invoke_id: row.invokeId,
        attempt: row.attempt,
        at: iso(row.at),
        ran_ms: row.ranMs,
        node_id: row.nodeId,
        error: parsed(row.error),
      }));
  }

  deadLetters = async (filter: LetterFilter) => lettersIn(this.tables, filter);
  deadLetterReasons = async (filter: Pick<LetterFilter, 'pending'>) =>
    reasonsIn(this.tables, filter);
  deadLetter = async (deadLetterId: string) => letterIn(this.tables, deadLetterId);
  markRedriven = async (deadLetterId: string) =>
    markRedriven(this.tables, deadLetterId, this.clock.now());

  async counts(): Promise<{ type: string; status: string; count: number }[]> {
    const counts = new Map<string, { type: string; status: string; count: number }>();
    for (const { type, status } of this.tables.actors.values()) {
      const key = `${type} ${status}`;
      const entry = counts.get(key) ?? { type, status, count: 0 };
      entry.count++;
      counts.set(key, entry);
    }
    return [...counts.values()].sort(
      (a, b) => byText(a.type, b.type) || byText(a.status, b.status),
    );
  }

  async lateOutbox(filter: { olderThanMs: number; limit?: number }): Promise<LateRow[]> {
    const before = this.clock.now() - filter.olderThanMs;
    return [...this.tables.outbox.values()]
      .filter(({ createdAt }) => createdAt < before)
      .sort((a, b) => a.createdAt - b.createdAt || byText(a.messageId, b.messageId))
      .slice(0, listLimit(filter.limit))
      .map(({ messageId, kind, type, id, shard, createdAt }) => ({
        ...{ message_id: messageId, kind, type, id, shard },
        created_at: iso(createdAt),
      }));
  }

  async shards(): Promise<ShardRow[]> {
    return this.tables.shards.map((row) => ({
      shard: row.shard,
      owner: row.owner,
      epoch: row.epoch,
      cursor: row.cursor,
      commit_no: row.commitNo,
      opened_at: isoOrNull(row.openedAt),
      owned_since: isoOrNull(row.ownedSince),
      crashes: row.crashes,
      suspect_seq: row.suspectSeq,
    }));
  }

  async nodes(): Promise<NodeRow[]> {
    return [...this.tables.nodes.values()]
      .sort((a, b) => a.startedAt - b.startedAt || byText(a.nodeId, b.nodeId))
      .map((node) => ({
        node_id: node.nodeId,
        name: node.name,
        host: node.host,
        pid: node.pid,
        version: node.version,
        started_at: iso(node.startedAt),
        expires_at: iso(node.expiresAt),
        lease_left_ms: Math.round(node.expiresAt - this.clock.now()),
        live: node.session && node.expiresAt > this.clock.now(),
        shards: this.tables.shards.filter((shard) => shard.owner === node.nodeId).length,
        draining: node.draining,
        nats_ok: node.natsOk,
        refused_commits: node.refusedCommits,
      }));
  }

  async quarantined(filter: { limit?: number } = {}): Promise<QuarantinedRow[]> {
    return [...this.tables.actors.values()]
      .flatMap((row) => (row.quarantinedAt ? [{ ...row, quarantinedAt: row.quarantinedAt }] : []))
      .sort(
        (a, b) => b.quarantinedAt - a.quarantinedAt || byText(a.type, b.type) || byText(a.id, b.id),
      )
      .slice(0, listLimit(filter.limit))
      .map((row) => ({
        type: row.type,
        id: row.id,
        state: parsed(row.state),
        version: row.version,
        seq: row.seq,
        shard: row.shard,
        crashes: row.crashes,
        quarantined_at: iso(row.quarantinedAt),
      }));
  }

  async parkedFor(type: string, id: string): Promise<ParkedFor | null> {
    const rows = [...this.tables.parked.values()].filter(
      (row) => row.type === type && row.id === id,
    );
    if (rows.length === 0) return null;
    return { messages: rows.length, since: iso(Math.min(...rows.map(({ at }) => at))) };
  }

  async parked(filter: { type?: string } = {}): Promise<ParkedRow[]> {
    return parkedRows(this.tables, this.clock.now())
      .filter(({ type }) => filter.type === undefined || type === filter.type)
      .sort((a, b) => byText(a.type, b.type) || byVersion(a.version, b.version));
  }

  async mayBeParked(): Promise<boolean> {
    return (await this.parked()).length > 0;
  }
}

const summary = (row: ActorState): ActorSummary => ({
  type: row.type,
  id: row.id,
  status: row.status,
  state: parsed(row.state),
  version: row.version,
  seq: row.seq,
  shard: row.shard,
  epoch: row.epoch,
  tags: JSON.parse(row.tags) as string[],
  output: parsed(row.output),
  error: parsed(row.error),
  created_at: iso(row.createdAt),
  updated_at: iso(row.updatedAt),
  paused_at: isoOrNull(row.pausedAt),
});
