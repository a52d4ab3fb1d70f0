import { type MachineName, NEEDS_LAST_MS, type OtherNodes, type ShardNeeds } from './elsewhere.ts';
import { MemoryReadStore } from './memoryRead.ts';
import { isPaused, type NodeState, type ShardState } from './memoryTables.ts';
import type { Reopened } from './refused.ts';
import type { NodeInfo, OpenedShard, ShardEpoch, Standing } from './sharing.ts';
import {
  type ActorTrial,
  addressKey,
  type MessageTrial,
  QUARANTINE_AFTER,
  SUSPECT_AFTER,
} from './store.ts';

/** The half of the in-memory twin that knows nodes and who owns what. */
export class MemoryOwnership extends MemoryReadStore {
  #logId: string | undefined;

  /** What a killed process does: its session lock is gone, its lease still runs. */
  dropSession(nodeId: string): void {
    const node = this.tables.nodes.get(nodeId);
    if (node) node.session = false;
  }

  async register(node: NodeInfo, leaseMs: number): Promise<readonly MachineName[]> {
    const now = this.clock.now();
    const { machines = [], ...info } = node;
    const changed: MachineName[] = [];
    for (const machine of machines) {
      const { type, version, definition } = machine;
      const before = this.tables.machines.get(`${type}@${version}`);
      if (before?.definition === definition) continue;
      if (before) changed.push({ type, version });
      this.tables.machines.set(`${type}@${version}`, { ...machine, recordedAt: now });
    }
    this.tables.nodes.set(node.nodeId, {
      ...info,
      startedAt: this.tables.nodes.get(node.nodeId)?.startedAt ?? now,
      expiresAt: now + leaseMs,
      session: true,
      draining: false,
      natsOk: true,
      refusedCommits: 0,
    });
    return changed;
  }

  async renew(
    nodeId: string,
    leaseMs: number,
    natsOk: boolean,
    refusedCommits = 0,
  ): Promise<boolean> {
    const node = this.tables.nodes.get(nodeId);
    if (!node) return false;
    node.expiresAt = this.clock.now() + leaseMs;
    node.session = true;
    node.natsOk = natsOk;
    node.refusedCommits = refusedCommits;
    return true;
  }

  async drain(nodeId: string): Promise<void> {
    const node = this.tables.nodes.get(nodeId);
    if (node) node.draining = true;
  }

  async unregister(nodeId: string): Promise<void> {
    for (const shard of this.tables.shards) if (shard.owner === nodeId) give(shard);
    this.tables.nodes.delete(nodeId);
  }

  async claim(nodeId: string, max: number, among?: readonly number[]): Promise<OpenedShard[]> {
    if (!this.tables.nodes.has(nodeId)) return [];
    const orphaned = (owner: string) => owner !== nodeId && !this.#isLive(owner);
    return this.tables.shards
      .filter((shard) => shard.owner === null || orphaned(shard.owner))
      .filter(({ shard }) => !among || among.includes(shard))
      .slice(0, max)
      .map((shard) => {
        shard.previousOwner = shard.owner;
        if (shard.owner !== null) this.#blame(shard);
        shard.owner = nodeId;
        shard.ownedSince = this.clock.now();
        shard.claimedEpoch = shard.epoch + 1;
        return this.#open(shard, shard.previousOwner);
      });
  }

  #blame(shard: ShardState): void {
    shard.crashes++;
    for (const actor of this.tables.actors.values()) {
      if (actor.shard !== shard.shard || actor.quarantinedAt !== null) continue;
      if (isPaused(this.tables, actor)) continue;
      if (!actor.onTrial && !(actor.busy && actor.crashes < SUSPECT_AFTER)) continue;
      actor.crashes++;
      actor.onTrial = false;
      if (actor.crashes >= QUARANTINE_AFTER) actor.quarantinedAt = this.clock.now();
    }
  }

  async tryMessages(nodeId: string, trials: readonly MessageTrial[]): Promise<void> {
    for (const { seq, ...opened } of trials) {
      const shard = this.#owned(nodeId, opened);
      if (!shard) continue;
      if (seq === null) shard.crashes = 0;
      else if (shard.suspectSeq !== seq) shard.crashes = Math.min(shard.crashes, SUSPECT_AFTER);
      shard.suspectSeq = seq;
    }
  }

  async tryActors(nodeId: string, trials: readonly ActorTrial[]): Promise<void> {
    for (const trial of trials) {
      const actor = this.tables.actors.get(addressKey(trial));
      if (!actor || !this.#owned(nodeId, trial)) continue;
      actor.onTrial = trial.onTrial;
      if (trial.onTrial) actor.crashes = Math.max(actor.crashes, SUSPECT_AFTER);
    }
  }

  async forgive(nodeId: string, opened: ShardEpoch): Promise<void> {
    const shard = this.#owned(nodeId, opened);
    if (!shard) return;
    Object.assign(shard, { suspectSeq: null, crashes: 0 });
    for (const actor of this.tables.actors.values())
      if (actor.shard === shard.shard && actor.busy && !actor.onTrial && !actor.quarantinedAt)
        actor.crashes = 0;
  }

  #owned(nodeId: string, { shard: number, epoch }: ShardEpoch): ShardState | undefined {
    const shard = this.tables.shards[number];
    return shard?.owner === nodeId && shard.epoch === epoch ? shard : undefined;
  }

  async reclaim(nodeId: string, shards: readonly Reopened[]): Promise<OpenedShard[]> {
    const opened: OpenedShard[] = [];
    for (const { shard: number, epoch, refused } of shards) {
      const shard = this.tables.shards[number];
      if (shard?.owner !== nodeId || epoch < shard.claimedEpoch || epoch > shard.epoch) continue;
      if (refused) shard.crashes++;
      opened.push(this.#open(shard, null));
    }
    return opened.sort((a, b) => a.shard - b.shard);
  }

  async need(nodeId: string, needs: readonly ShardNeeds[]): Promise<void> {
    for (const row of needs) {
      const shard = this.#owned(nodeId, row);
      if (shard) Object.assign(shard, { needs: [...row.needs], needsAt: this.clock.now() });
    }
  }

  /** Gives shards back that this node owns at the given epochs; others are left alone. */
  async release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void> {
    for (const { shard: number, epoch } of shards) {
      const shard = this.tables.shards[number];
      if (shard?.owner === nodeId && shard.epoch === epoch) give(shard);
    }
  }

  async adoptLog(logId: string): Promise<boolean> {
    const isNew = this.#logId !== undefined && this.#logId !== logId;
    this.#logId = logId;
    if (!isNew) return false;
    for (const shard of this.tables.shards)
      Object.assign(shard, { cursor: 0, passed: 0, epoch: shard.epoch + 1 });
    this.tables.marks = [];
    return true;
  }

  async standing(nodeId: string): Promise<Standing> {
    const { nodes, shards } = this.tables;
    const live = [...nodes.values()].filter((n) => n.nodeId === nodeId || this.#isLive(n.nodeId));
    const staying = live.filter(({ draining }) => !draining);
    const reaching = staying.filter(({ natsOk }) => natsOk);
    const sharing = reaching.length > 0 ? reaching : staying;
    const isDead = (owner: string | null) =>
      owner !== null && !live.some((node) => node.nodeId === owner);
    return {
      sharing: sharing.length,
      shares: sharing.some((node) => node.nodeId === nodeId),
      cutOff: live.filter((node) => !node.natsOk && node.nodeId !== nodeId).length,
      free: shards.filter(({ owner }) => owner === null).length,
      dead: [...new Set(shards.flatMap(({ owner }) => (isDead(owner) ? [owner as string] : [])))],
      owned: shards
        .filter(({ owner }) => owner === nodeId)
        .map(({ shard, epoch, commitNo }) => ({ shard, epoch, commitNo })),
      others: this.#others(nodeId, sharing),
      needs: this.#needs(),
    };
  }

  #others(nodeId: string, sharing: readonly NodeState[]): OtherNodes[] {
    const groups = new Map<string, OtherNodes>();
    for (const node of this.tables.nodes.values()) {
      const { opens, draining, expiresAt } = node;
      if (node.nodeId === nodeId || !opens || draining || expiresAt <= this.clock.now()) continue;
      const alive = this.#isLive(node.nodeId);
      const key = `${alive} ${JSON.stringify(opens)}`;
      const group = groups.get(key) ?? { opens, alive, sharing: 0 };
      if (sharing.includes(node)) group.sharing++;
      groups.set(key, group);
    }
    return [...groups.values()];
  }

  #needs(): Standing['needs'] {
    return this.tables.shards.flatMap(({ shard, needs, needsAt }) => {
      const age = this.clock.now() - (needsAt ?? Number.NEGATIVE_INFINITY);
      return age < NEEDS_LAST_MS ? [{ shard, needs, fresh: age < NEEDS_LAST_MS / 2 }] : [];
    });
  }

  #isLive(nodeId: string): boolean {
    const node = this.tables.nodes.get(nodeId);
    return node?.session === true && node.expiresAt > this.clock.now();
  }

  #open(shard: ShardState, previousOwner: string | null): OpenedShard {
    shard.epoch++;
    shard.openedAt = this.clock.now();
    const { epoch, cursor, commitNo, crashes, suspectSeq } = shard;
    return { shard: shard.shard, epoch, cursor, commitNo, previousOwner, crashes, suspectSeq };
  }
}

function give(shard: ShardState): void {
  shard.owner = null;
  shard.previousOwner = null;
}
