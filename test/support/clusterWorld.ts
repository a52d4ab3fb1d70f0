import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JetStreamClient, jetstream } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, onTestFailed } from 'vitest';
import type { ActorType } from '../../src/actors/define.ts';
import { shardOf } from '../../src/bus/subjects.ts';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { type Limits, SHARDS } from '../../src/config.ts';
import { createNode, type PerdureNode } from '../../src/node.ts';
import type { TextCodec } from '../../src/textCodec.ts';
import {
  type LogLine,
  type NodeProcess,
  openSql,
  type Place,
  prepare,
  recordingLogger,
  type Sql,
  spawnNode,
} from './cluster.ts';
import { checkHistory, type HistoryOptions } from './history.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from './services.ts';

const ACTOR_FILE = join(import.meta.dirname, 'actors.ts');

/** A transition as the public view and the table show it. */
export interface TransitionRow {
  seq: number;
  epoch: number;
  node_id: string;
  event_type: string;
  event: { type: string; [key: string]: unknown };
  event_id: string | null;
  from_state: unknown;
  to_state: unknown;
  at: Date;
}

export interface DeadLetter {
  reason: string;
  detail: string;
  subject: string;
  headers: Record<string, string>;
  message_id: string | null;
  bytes: number;
  body: Buffer;
}

/** One database, one namespace, and everything a test needs to look into them. */
export interface World extends Place {
  readonly sql: Sql;
  readonly client: PerdureClient;
  /** A plain NATS connection, as any other language has one. */
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly dir: string;
  readonly log: LogLine[];
  /** A started node in this process. */
  node(
    actors: readonly ActorType[],
    limits?: Partial<Limits>,
    place?: Partial<Place> & { codec?: TextCodec },
  ): Promise<PerdureNode>;
  /** A node in a process of its own. */
  spawn(
    limits?: Partial<Limits>,
    env?: Record<string, string>,
    file?: string,
  ): Promise<NodeProcess>;
  /** Publishes as any NATS client would: subject without the namespace, headers, body. */
  publish(
    subject: string,
    body: string | Uint8Array,
    given?: Record<string, string>,
  ): Promise<{ seq: number; duplicate: boolean }>;
  transitions(type: string, id: string): Promise<TransitionRow[]>;
  actor(
    type: string,
    id: string,
  ): Promise<
    | {
        status: string;
        state: unknown;
        seq: number;
        context: never;
        error: { code: string; message: string; name: string } | null;
        output: never;
      }
    | undefined
  >;
  deadLetters(subject: string): Promise<DeadLetter[]>;
  /** Waits until the actor has ended or, with `seq`, has come that far. */
  settled(type: string, id: string, seq?: number): Promise<void>;
  /** Ids whose actors live in the same shard as the given one. */
  neighbours(type: string, id: string, count: number): string[];
  check(options: Pick<HistoryOptions, 'types'> & Partial<HistoryOptions>): Promise<string[]>;
}

export interface WorldOptions {
  /** Where the namespace is made; default: the shared servers, in a fresh database. */
  services?: () => Promise<Omit<Place, 'namespace'>>;
}

/** Sets a world up before the file's tests and takes it down after them. */
export function useWorld(options: WorldOptions = {}): World {
  const world = {} as World;
  let close = async () => {};
  beforeAll(async () => {
    const opened = await openWorld(options);
    Object.assign(world, opened.world);
    close = opened.close;
  });
  afterAll(() => close());
  return world;
}

/** A world for one test. */
export async function openWorld(
  options: WorldOptions = {},
): Promise<{ world: World; close: () => Promise<void> }> {
  const nodes: PerdureNode[] = [];
  const processes: NodeProcess[] = [];
  const log: LogLine[] = [];
  const undo: (() => Promise<unknown> | unknown)[] = [];
  const world = { log } as unknown as { -readonly [K in keyof World]: World[K] };

  const dir = mkdtempSync(join(tmpdir(), 'perdure-world-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  world.dir = dir;
  world.namespace = freshNamespace();
  if (options.services) {
    const services = await options.services();
    world.databaseUrl = services.databaseUrl;
    world.natsUrl = services.natsUrl;
  } else {
    const database = await freshDatabase();
    undo.push(() => database.drop());
    world.databaseUrl = database.url;
    world.natsUrl = natsUrl();
  }
  await prepare(world);
  world.sql = await openSql(world);
  undo.push(() => world.sql.close().catch(() => {}));
  world.nc = await connect({ servers: world.natsUrl, maxReconnectAttempts: -1 });
  undo.push(() => world.nc.close());
  world.js = jetstream(world.nc);
  world.client = createClient({ natsUrl: world.natsUrl, namespace: world.namespace });
  undo.push(() => world.client.close());
  undo.push(() => Promise.all(processes.map((child) => child.kill())));
  undo.push(() => Promise.all(nodes.map((node) => node.stop())));

  world.node = async (actors, limits = {}, place = {}) => {
    const { logger, lines } = recordingLogger();
    const push = lines.push.bind(lines);
    lines.push = (...more) => {
      log.push(...more);
      return push(...more);
    };
    const { databaseUrl, natsUrl: nats, namespace } = { ...world, ...place };
    const { codec } = place;
    const node = createNode({
      actors,
      limits,
      logger,
      databaseUrl,
      natsUrl: nats,
      namespace,
      ...(codec && { codec }),
    });
    await node.start();
    nodes.push(node);
    return node;
  };
  world.spawn = async (limits = {}, env = {}, file = ACTOR_FILE) => {
    const child = spawnNode({
      databaseUrl: world.databaseUrl,
      natsUrl: world.natsUrl,
      namespace: world.namespace,
      file,
      limits: limits as Record<string, number>,
      env: { PERDURE_TEST_DIR: world.dir, ...env },
    });
    processes.push(child);
    await child.ready;
    return child;
  };
  world.publish = async (subject, body, given = {}) => {
    const head = headers();
    for (const [name, value] of Object.entries(given)) head.set(name, value);
    const { seq, duplicate } = await world.js.publish(`${world.namespace}.${subject}`, body, {
      headers: head,
    });
    return { seq, duplicate };
  };
  world.transitions = async (type, id) =>
    (
      await world.sql.query<TransitionRow>(
        'SELECT * FROM transitions WHERE type = $1 AND id = $2 ORDER BY seq',
        [type, id],
      )
    ).map((row) => ({ ...row, seq: Number(row.seq), epoch: Number(row.epoch) }));
  world.actor = async (type, id) => {
    const [row] = await world.sql.query<{ seq: string; snapshot: string }>(
      `SELECT v.*, t.snapshot FROM actors v JOIN transition t USING (type, id, seq) WHERE type = $1 AND id = $2`,
      [type, id],
    );
    if (!row) return undefined;
    const { context } = JSON.parse(row.snapshot).snapshot;
    return { ...row, seq: Number(row.seq), context } as never;
  };
  world.deadLetters = (subject) =>
    world.sql.query<DeadLetter>(
      'SELECT * FROM dead_letters WHERE subject = $1 ORDER BY dead_letter_id',
      [subject],
    );
  world.settled = async (type, id, seq) => {
    await eventually(
      async () => {
        const actor = await world.actor(type, id);
        if (!actor) return undefined;
        return seq === undefined ? actor.status !== 'active' : actor.seq >= seq;
      },
      { what: `${type}/${id} has ${seq === undefined ? 'ended' : `reached seq ${seq}`}` },
    );
  };
  world.neighbours = (type, id, count) => {
    const shard = shardOf(type, id, SHARDS);
    const found: string[] = [];
    for (let i = 0; found.length < count; i++)
      if (shardOf(type, `${id}-n${i}`, SHARDS) === shard) found.push(`${id}-n${i}`);
    return found;
  };
  world.check = async (options) => {
    const { violations } = await checkHistory({ ...world, ...options });
    return violations;
  };
  return {
    world,
    async close() {
      for (const step of undo.reverse()) await step();
    },
  };
}

/** Prints what the nodes of this process had to complain about when the test fails. */
export function printLogOnFailure(world: World): void {
  onTestFailed(() => {
    const told = world.log.filter(({ level }) => level >= 40).slice(-40);
    console.error(told.map((line) => JSON.stringify(line)).join('\n'));
  });
}
