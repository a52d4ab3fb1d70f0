import { readPulse } from '../actors/pulse.ts';
import { openBus } from '../bus/nats.ts';
import { subjects } from '../bus/subjects.ts';
import { createClient, type FeedEntry, type Receipt } from '../client.ts';
import { systemClock } from '../clock.ts';
import { type Namespace, SHARDS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { ReadStore } from '../store/read.ts';
import type { Sources } from './live.ts';
import { type Redriven, redrive } from './redrive.ts';
import { newestReaders, type ShardReaders } from './shardReaders.ts';

type Event = { type: string; [key: string]: unknown };

/** How the inspector speaks to actors: as any client does, over NATS. */
export interface Engine {
  send(
    type: string,
    id: string,
    event: Event,
    options: { until: 'accepted' | 'committed'; messageId?: string },
  ): Promise<Receipt>;
  redrive(deadLetterId: string, again: boolean): Promise<Redriven>;
  listen: Sources['listen'];
  pulses: Sources['pulses'];
  /** Who reads the log, and how much waits there; undefined when NATS is not to be had in a moment. */
  readers(): Promise<ShardReaders | undefined>;
  /** What waits for an actor in the memory of the node that owns it; undefined when that does not say in a moment. */
  mailbox(nodeId: string, type: string, id: string): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Somebody waits in front of a page, ms. */
const PATIENCE_MS = 8_000;
/** What a page can do without is not waited for longer, ms. */
const ASIDE_MS = 1_000;

/** Speaks to the nodes of a namespace; connects when first needed. */
export function engineOver(
  options: { natsUrl: string; namespace: Namespace; log: Logger },
  store: ReadStore,
  /** Leave out of the feed what actors emit: it may hold anything. */
  quiet = false,
): Engine {
  const { natsUrl, namespace, log } = options;
  const client = createClient({
    natsUrl,
    namespace: namespace.name,
    timeoutMs: PATIENCE_MS,
    logger: log,
  });
  const closing = new AbortController();
  let opening: ReturnType<typeof openBus> | undefined;
  const bus = async (patienceMs = PATIENCE_MS) => {
    opening ??= openBus({
      natsUrl,
      namespace,
      shards: SHARDS,
      clock: systemClock,
      log,
      ensureStreams: false,
      signal: closing.signal,
    });
    opening.catch(() => {
      opening = undefined;
    });
    const late = new Promise<never>((_resolve, reject) => {
      const timer = setTimeout(
        () => reject(new PerdureError('bus_unavailable', 'NATS could not be reached.')),
        patienceMs,
      );
      opening?.finally(() => clearTimeout(timer)).catch(() => {});
    });
    return Promise.race([opening, late]);
  };
  const shown = ({ emitted, ...entry }: FeedEntry): FeedEntry =>
    quiet || emitted === undefined ? entry : { ...entry, emitted };
  return {
    send: (type, id, event, given) =>
      client.send(type, id, event, { timeoutMs: PATIENCE_MS, ...given }),
    async redrive(deadLetterId, again) {
      return redrive(store, await bus(), namespace, deadLetterId, again);
    },
    async listen({ type = '*', id = '*' }, hear) {
      const subject = subjects.transition(namespace, type, id);
      return (await bus()).listen(subject, (_subject, body) =>
        hear(shown(JSON.parse(Buffer.from(body).toString()) as FeedEntry)),
      );
    },
    async pulses(hear) {
      return (await bus()).listen(subjects.nodes(namespace), (_subject, body) => {
        const told = readPulse(body);
        if (told) hear({ ...told, recent: (told.recent as FeedEntry[]).map(shown) });
      });
    },
    async readers() {
      try {
        return newestReaders(await (await bus(ASIDE_MS)).readers());
      } catch {
        return undefined;
      }
    },
    async mailbox(nodeId, type, id) {
      try {
        const subject = subjects.mailbox(namespace, nodeId);
        const talk = await bus(ASIDE_MS);
        const answer = await talk.request(subject, JSON.stringify({ type, id }), ASIDE_MS);
        const { waiting } = JSON.parse(Buffer.from(answer).toString()) as { waiting?: unknown };
        return typeof waiting === 'number' ? waiting : undefined;
      } catch {
        return undefined;
      }
    },
    async close() {
      closing.abort();
      await client.close();
      await (await opening?.catch(() => undefined))?.close();
    },
  };
}

/** For an inspector that was told no NATS URL: it shows what is recorded, and nothing more. */
export function noEngine(): Engine {
  const refuse = async () => {
    throw new PerdureError(
      'bus_unavailable',
      'This inspector knows no NATS URL: it can neither act nor tell what happens now.',
    );
  };
  return {
    send: refuse,
    redrive: refuse,
    listen: refuse,
    pulses: refuse,
    readers: async () => undefined,
    mailbox: async () => undefined,
    close: async () => {},
  };
}
