import { beforeAll, expect, test } from 'vitest';
import { assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import { useWorld } from '../support/clusterWorld.ts';
import {
  type History,
  type HistoryOptions,
  type JournalLine,
  judgeHistory,
  readHistory,
} from '../support/history.ts';
import { eventually } from '../support/services.ts';

// A checker that cannot fail is worth nothing: each kind of damage is planted into a real history, and must be seen.

const journal: JournalLine[] = [];
let sink = journal;

const ping = defineActor('ping', {
  machine: setup({
    types: {
      context: {} as { got: number; key: string },
      events: {} as { type: 'PONG'; n: number },
    },
    actors: {
      ask: fromPromise<string, { n: number }>(async ({ input, self }) => {
        const { idempotencyKey: key, attempt } = invocation(self);
        sink.push({
          kind: 'invoke',
          key,
          attempt,
          input,
          phase: 'start',
          at: Date.now(),
          committed: true,
        });
        return key;
      }),
    },
    actions: {
      note: ({ self }, { n }: { n: number }) =>
        sink.push({ kind: 'action', at: Date.now(), actor: self.id, n }),
    },
  }).createMachine({
    context: { got: 0, key: '' },
    initial: 'asking',
    states: {
      asking: {
        entry: { type: 'note', params: { n: 1 } },
        invoke: {
          id: 'ask',
          src: 'ask',
          input: { n: 1 },
          onDone: { target: 'waiting', actions: assign({ key: ({ event }) => event.output }) },
        },
      },
      waiting: { after: { 20: 'sending' } },
      sending: {
        entry: sendTo(
          () => actorAddress('pong', 'p'),
          ({ self }) => ({ type: 'PING', from: self.id }),
        ),
        on: { PONG: { target: 'over', actions: assign({ got: ({ event }) => event.n }) } },
      },
      over: { type: 'final' },
    },
    output: ({ context }) => context.got,
  }),
});

const pong = defineActor('pong', {
  machine: setup({
    types: { context: {} as { n: number }, events: {} as { type: 'PING'; from: string } },
  }).createMachine({
    context: { n: 0 },
    initial: 'on',
    states: {
      on: {
        after: { 3600000: 'off' },
        on: {
          PING: {
            actions: [
              assign({ n: ({ context }) => context.n + 1 }),
              sendTo(
                ({ event }) => actorAddress('ping', event.from),
                ({ context }) => ({ type: 'PONG', n: context.n }),
              ),
            ],
          },
        },
      },
      off: {},
    },
  }),
});

const world = useWorld();
let history: History;
let options: Omit<HistoryOptions, 'databaseUrl' | 'namespace'>;

beforeAll(async () => {
  await world.node([ping, pong]);
  await world.client.start(pong, { id: 'p', until: 'committed' });
  for (let n = 0; n < 4; n++)
    await world.client.start(ping, { id: `a${n}`, messageId: `start-${n}`, until: 'committed' });
  for (let n = 0; n < 4; n++) await world.settled('ping', `a${n}`);
  await world.publish('events.ping.nobody', '{"type":"PONG","n":1}', { 'Nats-Msg-Id': 'dead-1' });
  await eventually(
    async () => {
      history = await readHistory(world);
      const resting = history.actors.every(({ busy, actedSeq, seq }) => !busy && actedSeq === seq);
      return history.outbox.length === 0 && history.deadLetters.length === 1 && resting;
    },
    { what: 'rest' },
  );
  options = {
    types: [ping, pong],
    quiescent: true,
    expected: {
      jobs: [{ type: 'ping', id: 'a0' }],
      events: [
        { type: 'ping', id: 'a0', eventId: 'start-0' },
        { type: 'ping', id: 'nobody', eventId: 'dead-1' },
      ],
    },
    journal,
    capture(run) {
      sink = [];
      try {
        run();
        return sink;
      } finally {
        sink = journal;
      }
    },
    outcomes: Array.from({ length: 4 }, (_, n) => ({
      type: 'ping',
      id: `a${n}`,
      seq: 4,
      status: 'done',
    })),
  };
});

test('a real history is sound', () => {
  expect(judgeHistory(history, options).violations).toEqual([]);
  expect(history.transitions.length).toBe(4 * 4 + 1 + 4);
});

type Plant = (
  copy: History,
  given: { journal: JournalLine[]; options: Omit<HistoryOptions, 'databaseUrl' | 'namespace'> },
) => void;
const of = (copy: History, id: string, seq: number) => {
  const found = copy.transitions.find((row) => row.id === id && row.seq === seq);
  if (!found) throw new Error(`there is no ${id}#${seq}`);
  return found;
};
const row = (copy: History, id: string) => {
  const found = copy.actors.find((actor) => actor.id === id);
  if (!found) throw new Error(`there is no ${id}`);
  return found;
};
const replaced = (text: string, from: string, to: string) => {
  if (!text.includes(from)) throw new Error(`${from} is not in ${text}`);
  return text.replace(from, to);
};

const plants: Record<string, [Plant, RegExp]> = {
  'a transition that is missing in the middle': [
    (copy) => {
      copy.transitions = copy.transitions.filter(({ id, seq }) => id !== 'a1' || seq !== 2);
    },
    /a1#3: the log is not dense/,
  ],
  'a last transition that is missing': [
    (copy) => {
      copy.transitions = copy.transitions.filter(({ id, seq }) => id !== 'a1' || seq !== 4);
    },
    /a1: the row stands at 4, the log has 3/,
  ],
  'a transition that is there twice': [
    (copy) => {
      copy.transitions = copy.transitions.flatMap((t) =>
        t.id === 'a1' && t.seq === 2 ? [t, t] : [t],
      );
    },
    /not dense/,
  ],
  'an event that was applied twice': [
    (copy) => {
      of(copy, 'p', 3).eventId = of(copy, 'p', 2).eventId;
    },
    /p#3: event .* was applied before/,
  ],
  'an actor without a row': [
    (copy) => {
      copy.actors = copy.actors.filter(({ id }) => id !== 'a2');
    },
    /a2: has transitions and no row/,
  ],
  'an epoch that goes back': [
    (copy) => {
      of(copy, 'a1', 2).epoch += 5;
    },
    /a1#3: epoch \d+ after \d+/,
  ],
  'two writers in one epoch': [
    (copy) => {
      of(copy, 'a1', 3).nodeId = 'another';
    },
    /two writers in epoch/,
  ],
  'a snapshot that no replay gives': [
    (copy) => {
      const t = of(copy, 'p', 3);
      t.snapshot = replaced(t.snapshot, '"n":2', '"n":7');
    },
    /p#3: .*the snapshot differs/,
  ],
  'a fork: a transition computed from an older snapshot': [
    (copy) => {
      of(copy, 'p', 4).snapshot = of(copy, 'p', 3).snapshot;
    },
    /p#4: replayed from the snapshot before it, the snapshot differs/,
  ],
  'a row whose status is not that of its snapshot': [
    (copy) => {
      row(copy, 'a0').status = 'stopped';
    },
    /a0: the row says stopped/,
  ],
  'a state that does not follow': [
    (copy) => {
      of(copy, 'a1', 3).fromState = '"over"';
    },
    /a1#3: starts in "over"/,
  ],
  'edges that were not taken': [
    (copy) => {
      of(copy, 'a1', 3).edges = '[]';
    },
    /a1#3: .*its edges differ/,
  ],
  'an action that was not counted': [
    (copy) => {
      of(copy, 'a1', 1).actions = 0;
    },
    /a1#1: .*has 1 actions, not 0/,
  ],
  'a result nobody asked for': [
    (copy) => {
      const t = of(copy, 'a1', 2);
      t.event = replaced(t.event, '"actorId":"ask"', '"actorId":"other"');
    },
    /a1#2: a result of other, which was not running/,
  ],
  'a timer that nothing armed': [
    (copy) => {
      of(copy, 'a1', 3).eventId = '!timer:3:xstate.after.20.(machine).waiting';
    },
    /a1#3: a timer fired that nothing armed/,
  ],
  'a timer that fired early': [
    (copy) => {
      const armed = of(copy, 'a1', 2);
      for (let seq = 3; seq <= 4; seq++) of(copy, 'a1', seq).at = armed.at + 5;
    },
    /a1#3: timer .* fired 15 ms early/,
  ],
  'a timer that has lost its row': [
    (copy) => {
      copy.timers = [];
    },
    /p: timer .* is armed and has no row/,
  ],
  'a row of a timer that nothing armed': [
    (copy) => {
      copy.timers.push({ type: 'ping', id: 'a0', timerId: 'x', armedSeq: 2, fireAt: 0 });
    },
    /a0\/x@2: a timer's row nothing armed/,
  ],
  'a message that was never sent': [
    (copy) => {
      of(copy, 'p', 3).eventId = 'ping/a9/3/0';
    },
    /message ping\/a9\/3\/0 was never sent/,
  ],
  'a message that arrived as another one': [
    (copy) => {
      const t = of(copy, 'p', 3);
      t.event = replaced(t.event, '"from":"a', '"from":"b');
    },
    /p#3: message .* says something else/,
  ],
  'a message that never arrived': [
    (copy) => {
      const t = of(copy, 'a3', 4);
      t.origin = 'event';
    },
    /pong\/p\/\d\/\d: never arrived at ping\/a3/,
  ],
  'a commit that is older than the one before it': [
    (copy) => {
      of(copy, 'p', 4).at -= 60_000;
    },
    /p#4: committed before/,
  ],
  'a job that got lost': [
    (copy) => {
      copy.actors = copy.actors.filter(({ id }) => id !== 'a0');
      copy.transitions = copy.transitions.filter(({ id }) => id !== 'a0');
    },
    /ping\/a0: accepted, and neither an actor nor a dead letter/,
  ],
  'an event that got lost': [
    (copy) => {
      copy.deadLetters = [];
    },
    /event dead-1 was accepted and is lost/,
  ],
  'an event that was applied and is dead as well': [
    (copy) => {
      copy.deadLetters.push({
        subject: 'x',
        reason: 'bad_body',
        messageId: 'start-0',
        headers: {},
      });
    },
    /event start-0 was applied and is dead, too/,
  ],
  'a dead letter without a known reason': [
    (copy) => {
      copy.deadLetters.push({ subject: 'x', reason: 'whatever', messageId: 'm', headers: {} });
    },
    /unknown reason whatever/,
  ],
  'a key that ran for a transition that was never committed': [
    (_, { journal: lines }) => {
      lines.push({
        ...(lines[1] as JournalLine),
        kind: 'invoke',
        key: 'ping/a1/ask/9',
      } as JournalLine);
    },
    /ping\/a1\/ask\/9: ran, and no transition started it/,
  ],
  'a key that ran before its transition was committed': [
    (_, { journal: lines }) => {
      for (const line of lines) if (line.kind === 'invoke') line.at -= 1_000;
    },
    /ran .* ms before its transition was committed/,
  ],
  'a key that ran before its transition could be seen': [
    (_, { journal: lines }) => {
      for (const line of lines) if (line.kind === 'invoke') line.committed = false;
    },
    /ran before its transition could be seen/,
  ],
  'a key that ran with two inputs': [
    (_, { journal: lines }) => {
      const line = lines.find(({ kind }) => kind === 'invoke') as JournalLine;
      lines.push({ ...line, input: { n: 2 } } as JournalLine);
    },
    /ran with .* and with/,
  ],
  'a result of a key that never ran': [
    (_, given) => {
      given.options.journal = given.journal.filter(({ kind }) => kind !== 'invoke');
    },
    /a1\/ask\/1: has a result and never ran/,
  ],
  'an action that never ran': [
    (_, given) => {
      given.options.journal = given.journal.filter(({ kind }) => kind !== 'action');
    },
    /action never ran: .*"a1"/,
  ],
  'an action that nothing asked for': [
    (_, { journal: lines }) => {
      lines.push({ kind: 'action', at: 0, actor: 'a1', n: 2 });
    },
    /action ran for no transition/,
  ],
  'an outbox that is not empty': [
    (copy) => {
      copy.outbox.push({ messageId: 'ping/a1/3/0', kind: 'send' });
    },
    /still in the outbox/,
  ],
  'an actor that is still busy': [
    (copy) => {
      row(copy, 'a1').busy = true;
    },
    /a1: still busy/,
  ],
  'actions that were not acknowledged': [
    (copy) => {
      row(copy, 'a1').actedSeq = 0;
    },
    /a1: actions acknowledged to 0 of 4/,
  ],
  'an outcome that was never published': [
    (_, given) => {
      given.options.outcomes = given.options.outcomes?.slice(1) ?? [];
    },
    /ping\/a0: its outcome was never published/,
  ],
  'an actor in the wrong shard': [
    (copy) => {
      row(copy, 'a1').shard = (row(copy, 'a1').shard + 1) % 64;
    },
    /a1: is in shard/,
  ],
  'a snapshot of a version nobody knows': [
    (_, given) => {
      given.options.types = [pong];
    },
    /no type ping@1/,
  ],
};

test.each(Object.keys(plants))('the checker sees %s', (name) => {
  const [plant, complaint] = plants[name] as [Plant, RegExp];
  const copy = structuredClone(history);
  const lines = structuredClone(journal);
  const given = { ...options, journal: lines };
  plant(copy, { journal: lines, options: given });
  expect(judgeHistory(copy, given).violations.join('\n')).toMatch(complaint);
});
