import { pino } from 'pino';
import { fromPromise, setup } from 'xstate';
import { recordsOf } from '../../src/actors/chartOf.ts';
import { defineActor } from '../../src/actors/define.ts';
import type { PulseWord } from '../../src/actors/pulse.ts';
import type { FeedEntry } from '../../src/client.ts';
import type { Engine } from '../../src/inspect/engine.ts';
import { Guard, type GuardOptions } from '../../src/inspect/guard.ts';
import { Site } from '../../src/inspect/server.ts';
import type { ReadStore } from '../../src/store/read.ts';

export const TOKEN_ACT = 'aaaa1111bbbb2222cccc3333dddd4444eeee5555ffff6666';
export const TOKEN_READ = 'r3adr3adr3ad-0123456789-ABCDEFGHIJKLMN';

/** What the store fixtures call an order. */
const order = defineActor('order', {
  machine: setup({
    actors: {
      charge: fromPromise(async () => {}),
      ship: setup({}).createMachine({ id: 'ship', initial: 'packing', states: { packing: {} } }),
    },
    guards: { big: () => true },
    actions: { note: () => {} },
  }).createMachine({
    id: 'order',
    initial: 'open',
    on: { NOTE: { actions: 'note' } },
    states: {
      open: {
        initial: 'waiting',
        states: { waiting: { on: { HURRY: 'hot' }, after: { 1000: 'hot' } }, hot: {} },
        on: { PAY: { target: 'paying', guard: 'big' } },
      },
      paying: { invoke: [{ src: 'charge', onDone: 'paid' }, { src: 'ship' }] },
      paid: { type: 'final' },
    },
  }),
  searchable: ['customerId', 'region'],
});

export const machines = recordsOf([order]);

/** An engine that writes down what it was told. */
export function recordingEngine() {
  const told: unknown[] = [];
  /** As the bus has it: who listens hears what its subject is of. */
  const listeners = new Set<{
    of: { type?: string; id?: string };
    hear(entry: FeedEntry): void;
  }>();
  let pulse: (told: PulseWord) => void = () => {};
  const engine: Engine = {
    async send(type, id, event, options) {
      told.push({ type, id, event, ...options });
      return { messageId: options.messageId ?? 'm', duplicate: false };
    },
    async redrive(deadLetterId) {
      told.push({ redrive: deadLetterId });
      return { dead_letter_id: deadLetterId, message_id: 'm', log_seq: 1 };
    },
    async listen(of, hear) {
      const listener = { of, hear };
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async pulses(listener) {
      pulse = listener;
      return () => {};
    },
    readers: async () => new Map([[1, { epoch: 1, lag: 3 }]]),
    mailbox: async (_node, _type, id) => (id === 'a-1' ? 2 : undefined),
    close: async () => {},
  };
  const emit = (entry: Partial<FeedEntry>) => {
    for (const { of, hear } of listeners)
      if ([entry.type, undefined].includes(of.type) && [entry.id, undefined].includes(of.id))
        hear(entry as FeedEntry);
  };
  return { engine, told, emit, pulse: (word: PulseWord) => pulse(word), listeners };
}

/** An inspector over a store, on a free port of this machine. */
export async function startSite(
  store: ReadStore,
  engine: Engine,
  guard: Partial<GuardOptions> = {},
): Promise<{ url: string; site: Site; close(): Promise<void> }> {
  const site = new Site({
    store,
    engine,
    guard: new Guard({ host: '127.0.0.1', ...guard }),
    namespace: 'perdure',
    log: pino({ level: 'silent' }),
  });
  const url = await site.listen(0, '127.0.0.1');
  return { url, site, close: () => site.close() };
}

/** Asks for JSON. */
export async function ask(url: string, init: RequestInit & { json?: unknown } = {}) {
  const { json, ...rest } = init;
  const response = await fetch(url, {
    ...rest,
    ...(json === undefined
      ? {}
      : {
          method: rest.method ?? 'POST',
          body: JSON.stringify(json),
          headers: { 'content-type': 'application/json', ...rest.headers },
        }),
  });
  const text = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  return { status: response.status, headers: response.headers, body: JSON.parse(text) as any };
}
