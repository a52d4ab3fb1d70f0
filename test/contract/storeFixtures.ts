import { expect } from 'vitest';
import type { DeadLetterWrite, ParkedWrite } from '../../src/store/elsewhere.ts';
import type { ParkedRow, ReadStore } from '../../src/store/read.ts';
import type { NodeInfo, OpenedShard, OpenedVersion, ShardEpoch } from '../../src/store/sharing.ts';
import type {
  ActorWrite,
  Address,
  OutboxWrite,
  ShardCommit,
  Store,
  TimerWrite,
  TransitionWrite,
} from '../../src/store/store.ts';
import type { Transaction } from '../../src/store/userTransaction.ts';

/** One node's view of the store under test. */
export interface StoreNode {
  nodeId: string;
  store: Store & { release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void> };
  /** The process dies: its connections close, nothing is given up. */
  kill(): Promise<void>;
}

/** A fresh, empty namespace and the nodes on it. */
export interface StoreCluster {
  /** Registers a node; `leaseMs` is one minute unless told, and the id a new one. */
  node(leaseMs?: number, nodeId?: string, opens?: readonly OpenedVersion[]): Promise<StoreNode>;
  reads: ReadStore;
  /** A table of the user's, which statements of a transaction write to. */
  notes: Notes;
  /** Lets time pass on the database's clock. */
  wait(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface Notes {
  /** Adds one. */
  add(tx: Transaction, note: string): Promise<unknown>;
  /** Those that are committed. */
  read(): Promise<string[]>;
}

export const nodeInfo = (nodeId: string, opens?: readonly OpenedVersion[]): NodeInfo => ({
  ...(opens && { opens }),
  nodeId,
  name: `name of ${nodeId}`,
  host: 'host',
  pid: 7,
  version: '0.0.0',
});

export const envelope = (context: unknown): string =>
  JSON.stringify({ machine: 'order', version: '1', snapshot: { value: 'paying', context } });

export const actor = (id: string, seq: number, more: Partial<ActorWrite> = {}): ActorWrite => ({
  type: 'order',
  id,
  version: '1',
  path: null,
  status: 'active',
  state: '"paying"',
  tags: '[]',
  seq,
  output: null,
  error: null,
  busy: false,
  actedSeq: seq,
  retries: null,
  ...more,
});

export const transition = (
  id: string,
  seq: number,
  more: Partial<TransitionWrite> = {},
): TransitionWrite => ({
  type: 'order',
  id,
  seq,
  eventType: 'PAY',
  event: '{"type":"PAY"}',
  eventId: null,
  origin: 'event',
  fromState: seq === 1 ? null : '"paying"',
  toState: '"paying"',
  edges: '["#order.paying|PAY|#order.paying"]',
  actions: 0,
  snapshot: envelope({ seq }),
  ...more,
});

export const timer = (id: string, timerId: string, more: Partial<TimerWrite> = {}): TimerWrite => ({
  type: 'order',
  id,
  timerId,
  delayMs: 1_000,
  armedSeq: 1,
  position: 0,
  event: '{"type":"xstate.after.1000.order.paying"}',
  ...more,
});

export const message = (messageId: string, more: Partial<OutboxWrite> = {}): OutboxWrite => ({
  messageId,
  kind: 'send',
  type: 'order',
  id: 'target',
  body: '{"type":"PING"}',
  ...more,
});

export const deadLetter = (
  logSeq: number,
  more: Partial<DeadLetterWrite> = {},
): DeadLetterWrite => ({
  logId: 'JOBS@2026-01-01',
  logSeq,
  reason: 'bad_body',
  detail: 'not JSON',
  subject: 'jobs.order.o-1',
  headers: '{"Nats-Msg-Id":"m-1"}',
  body: Uint8Array.of(0, 1, 0x7b, 0xff),
  messageId: 'm-1',
  ...more,
});

export const parkedMessage = (
  logSeq: number,
  id: string,
  more: Partial<ParkedWrite> = {},
): ParkedWrite => ({
  logId: 'JOBS@2026-01-01',
  logSeq,
  type: 'order',
  id,
  subject: `events.order.${id}`,
  headers: `{"Nats-Msg-Id":"m-${logSeq}"}`,
  body: Uint8Array.of(0, 1, 0x7b, 0xff),
  messageId: `m-${logSeq}`,
  ...more,
});

/** The next commit of an opened shard; everything not given is empty. */
export const part = (
  shard: Pick<OpenedShard, 'shard' | 'epoch' | 'commitNo' | 'cursor'>,
  more: Partial<ShardCommit> = {},
): ShardCommit => ({
  shard: shard.shard,
  epoch: shard.epoch,
  commitNo: shard.commitNo + 1,
  cursor: shard.cursor,
  actors: [],
  paused: [],
  transitions: [],
  timersArmed: [],
  timersDropped: [],
  outboxAdded: [],
  outboxDone: [],
  deadLetters: [],
  parked: [],
  unparked: [],
  ...more,
});

export const address = (id: string): Address => ({ type: 'order', id });

/** What is parked; whoever asks whether anything may be before is told the truth. */
export async function parkedIn(reads: ReadStore): Promise<ParkedRow[]> {
  const rows = await reads.parked();
  const versions = (await reads.population()).filter(({ status }) => status === 'active');
  expect(await reads.mayBeParked(versions)).toBe(rows.length > 0);
  return rows;
}
