import { setTimeout as pause } from 'node:timers/promises';
import type { JetStreamManager } from '@nats-io/jetstream';
import { namespace } from '../../src/config.ts';
import { until } from '../support/cluster.ts';
import type { ChaosNode } from './nodes.ts';
import { type Deed, describeDeed, type PlannedFault } from './schedule.ts';
import { logLeader, type World } from './world.ts';

/** A fault as it happened. */
export interface DoneFault {
  kind: Deed['kind'];
  /** The node it happened to, by name; every node when absent. */
  node?: string;
  /** Wall time, ms since 1970: from the first deed to the end of the healing. */
  fromMs: number;
  untilMs: number;
  /** Of an outage: by how much the node that grew most did, bytes of resident memory. */
  grewBytes?: number;
}

export interface NemesisOptions {
  world: World;
  plan: readonly PlannedFault[];
  /** Resolves no sooner, ms. */
  lengthMs: number;
  /** Stops: what is under way is healed, nothing more is begun. */
  signal: AbortSignal;
  say: (line: string) => void;
}

const ROLLING_READY_MS = 10_000;
const LIST_MS = 10_000;

/** Does what is planned; resolves when the time is over and the last fault is healed. Deeds that fail are told and do not stop the others. */
export async function unleash(options: NemesisOptions): Promise<DoneFault[]> {
  const { world, plan, signal, say } = options;
  const done: DoneFault[] = [];
  const startedAt = Date.now();
  const waitUntil = (atMs: number) =>
    pause(Math.max(0, startedAt + atMs - Date.now()), undefined, { signal });
  await Promise.all(
    plan.map(async (fault) => {
      const { deed } = fault;
      await waitUntil(fault.fromMs).catch(() => {});
      if (signal.aborted) return;
      say(describeDeed(deed));
      const fromMs = Date.now();
      const healing = () => waitUntil(fault.untilMs).catch(() => {});
      const before = world.nodes.map((node) => node.memory());
      await perform(world, deed, healing).catch((error: Error) =>
        say(`${deed.kind} did not work out: ${error.message.split('\n')[0]}`),
      );
      const node = 'node' in deed ? { node: deed.node } : {};
      const grown = world.nodes.map((one, n) => one.memory() - (before[n] ?? 0));
      const grew = deed.kind === 'outage' ? { grewBytes: Math.max(...grown) } : {};
      done.push({ kind: deed.kind, ...node, fromMs, untilMs: Date.now(), ...grew });
    }),
  );
  await waitUntil(options.lengthMs).catch(() => {});
  return done.sort((a, b) => a.fromMs - b.fromMs);
}

async function perform(world: World, deed: Deed, healing: () => Promise<void>): Promise<void> {
  const { postgres, nats } = world.servers;
  switch (deed.kind) {
    case 'kill': {
      const node = named(world, deed.node);
      await node.stop('SIGKILL');
      await pause(deed.downMs);
      // Whether it gets ready may depend on other faults: the end of the run waits for it.
      return void node.start().catch(() => {});
    }
    case 'pause': {
      const node = named(world, deed.node);
      node.signal('SIGSTOP');
      await healing();
      return node.signal('SIGCONT');
    }
    case 'stutter': {
      const node = named(world, deed.node);
      for (let n = 0; n < deed.times; n++) {
        node.signal('SIGSTOP');
        await pause(deed.onMs);
        node.signal('SIGCONT');
        await pause(deed.offMs);
      }
      return;
    }
    case 'partition':
    case 'latency':
      return disturb(world, deed, healing);
    case 'reset': {
      const line = world.line(named(world, deed.node));
      for (let n = 0; n < deed.times; n++) {
        await line.reset(deed.what);
        await pause(deed.everyMs);
      }
      return;
    }
    case 'postgres-restart':
      await postgres.stop(deed.mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
      await pause(deed.downMs);
      return postgres.start();
    case 'postgres-terminate':
      for (let n = 0; n < deed.times; n++) {
        await terminateBackends(world);
        await pause(deed.everyMs);
      }
      return;
    case 'nats-leader': {
      const leader = await logLeader(world);
      await leader?.stop('SIGKILL');
      await pause(deed.downMs);
      return leader?.start();
    }
    case 'nats-restart':
      await Promise.all(nats.map((server) => server.stop(deed.signal)));
      await pause(deed.downMs);
      return void (await Promise.all(nats.map((server) => server.start())));
    case 'consumers':
      return deleteConsumers(world, deed.draws);
    case 'rolling':
      for (const node of world.nodes) {
        await node.stop('SIGTERM');
        await Promise.race([node.start().catch(() => {}), pause(ROLLING_READY_MS)]);
      }
      return;
    case 'outage': {
      const gone = { postgres: [postgres], nats, both: [postgres, ...nats] }[deed.what];
      await Promise.all(gone.map((server) => server.stop('SIGKILL')));
      await healing();
      return void (await Promise.all(gone.map((server) => server.start())));
    }
  }
}

async function disturb(
  world: World,
  deed: Deed & { kind: 'partition' | 'latency' },
  healing: () => Promise<void>,
): Promise<void> {
  const line = world.line(named(world, deed.node));
  try {
    if (deed.kind === 'partition') await line.cut(deed.what, deed.how);
    else await line.latency(deed.what, deed.ms, deed.jitterMs);
    await healing();
  } finally {
    await line.heal();
  }
}

function named(world: World, name: string): ChaosNode {
  const node = world.nodes.find((one) => one.name === name);
  if (!node) throw new Error(`there is no node ${name}`);
  return node;
}

/** Every connection of a node to Postgres, those of its lease among them. */
async function terminateBackends(world: World): Promise<void> {
  await world.sql.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'perdure %'`,
  );
}

async function deleteConsumers(world: World, draws: readonly number[]): Promise<void> {
  const { jobsStream } = namespace(world.namespace);
  const jsm = await world.jsm();
  // Another fault may just have taken the servers away.
  const names = await until('the consumers are told', () => readerNames(jsm, jobsStream), LIST_MS);
  names.sort();
  for (const draw of draws) {
    const [name] = names.splice(Math.floor(draw * names.length), 1);
    // It may have gone with its reader in the meantime.
    if (name !== undefined) await jsm.consumers.delete(jobsStream, name).catch(() => false);
  }
}

async function readerNames(jsm: JetStreamManager, stream: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of jsm.consumers.list(stream))
    if (/^s\d+-e/.test(name)) names.push(name);
  return names;
}
