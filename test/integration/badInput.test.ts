import { beforeAll, beforeEach, expect, test } from 'vitest';
import { assign, fromPromise, sendTo, setup } from 'xstate';
import { createClient } from '../../src/client.ts';
import { startNats } from '../../src/dev/natsServer.ts';
import { actorAddress, defineActor } from '../../src/index.ts';
import { openWorld, printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

type Events =
  | { type: 'ADD'; n: number }
  | { type: 'DO'; what: string }
  | { type: 'LATER'; ms: number }
  | { type: 'STOP' };

let merged: Record<string, unknown> = {};

/** What a step does when user code is as bad as it can be, by name. */
const misdeeds: Record<string, (context: Record<string, unknown>) => Record<string, unknown>> = {
  function: () => ({ bad: () => 1 }),
  symbol: () => ({ bad: Symbol('s') }),
  instance: () => ({ bad: new (class Point {})() }),
  cycle: () => {
    const bad: Record<string, unknown> = {};
    bad.self = bad;
    return { bad };
  },
  // Changes what the actor had before the step as well.
  'function written into the context in place': (context) => {
    context.bad = () => 1;
    return {};
  },
  'large context': () => ({ bad: 'x'.repeat(1_100_000) }),
  throw: () => {
    throw new TypeError('no such thing');
  },
  'throw of a string': () => {
    throw 'just words';
  },
  'throw of an object without prototype': () => {
    throw Object.create(null);
  },
  'throw of undefined': () => {
    throw undefined;
  },
  'throw of a very long message': () => {
    throw new Error('x'.repeat(1_100_000));
  },
  'throw of an error that holds a function': () => {
    throw Object.assign(new Error('with luggage'), { handler: () => 1 });
  },
};

const codes: Record<string, string> = {
  function: 'not_serialisable',
  symbol: 'not_serialisable',
  instance: 'not_serialisable',
  cycle: 'not_serialisable',
  'function written into the context in place': 'not_serialisable',
  'large context': 'snapshot_too_large',
};

const target = defineActor('target', {
  machine: setup({
    types: { context: {} as Record<string, unknown> & { sum: number }, events: {} as Events },
    actors: { never: fromPromise(() => new Promise(() => {})) },
    delays: { asked: ({ event }) => (event as { ms: number }).ms },
  }).createMachine({
    context: { sum: 0 },
    initial: 'on',
    states: {
      on: {
        on: {
          ADD: { actions: assign({ sum: ({ context, event }) => context.sum + event.n }) },
          DO: {
            actions: assign(({ context, event }) => misdeeds[event.what]?.(context) ?? {}),
          },
          LATER: 'later',
          STOP: 'off',
        },
      },
      later: { after: { asked: 'on' }, on: { ADD: 'on' } },
      off: { type: 'final' },
    },
  }),
});

/** Merges whatever it is sent, as careless code does. */
const careless = defineActor('careless', {
  machine: setup({
    types: {
      context: {} as Record<string, unknown>,
      events: {} as { type: 'MERGE'; data: object },
    },
  }).createMachine({
    context: {},
    on: {
      MERGE: {
        actions: assign(({ event }) => {
          merged = Object.assign({}, event.data) as Record<string, unknown>;
          return {};
        }),
      },
    },
  }),
});

const strict = defineActor('strict', {
  machine: setup({ types: { input: {} as { name: string } } }).createMachine({
    context: ({ input }) => ({ length: input.name.length }),
  }),
});

const waiting = defineActor('waiting', {
  machine: setup({
    actors: { never: fromPromise(({ signal }) => new Promise((_, no) => (signal.onabort = no))) },
  }).createMachine({ invoke: { src: 'never' } }),
});

const shouter = defineActor('shouter', {
  machine: setup({
    types: {
      events: {} as { type: 'SHOUT'; to: unknown } | { type: 'WRITE'; to: string; id: string },
    },
  }).createMachine({
    context: { heard: 0 },
    on: {
      SHOUT: { actions: sendTo(({ event }) => event.to as never, { type: 'X' } as never) },
      WRITE: { actions: sendTo(({ event }) => actorAddress(event.to, event.id), { type: 'X' }) },
    },
  }),
});

const world = useWorld();
beforeAll(() =>
  world.node([target, careless, strict, waiting, shouter], { outboxRepublishMs: 1_500 }),
);
beforeEach(() => printLogOnFailure(world));

let made = 0;
/** A fresh actor, one beside it in the same shard, and the proof that the neighbour does not suffer. */
async function pair() {
  const id = `a${++made}`;
  const [neighbour = ''] = world.neighbours('target', id, 1);
  await world.client.start(target, { id, until: 'committed' });
  await world.client.start(target, { id: neighbour, until: 'committed' });
  return {
    id,
    async neighbourGoesOn() {
      await world.client.send(target, neighbour, { type: 'ADD', n: 1 }, { until: 'committed' });
      await world.client.send(target, neighbour, { type: 'ADD', n: 2 }, { until: 'committed' });
      expect(await world.actor('target', neighbour)).toMatchObject({
        status: 'active',
        seq: 3,
        context: { sum: 3 },
      });
    },
    /** The actor itself has not noticed anything. */
    async untouched() {
      await world.client.send(target, id, { type: 'ADD', n: 5 }, { until: 'committed' });
      expect(await world.actor('target', id)).toMatchObject({
        status: 'active',
        seq: 2,
        context: { sum: 5 },
      });
    },
  };
}

async function deadLetter(subject: string) {
  return eventually(async () => (await world.deadLetters(subject))[0], {
    what: `a dead letter of ${subject}`,
  });
}

test('an unknown actor type becomes a dead letter that names the known ones', async () => {
  const { neighbourGoesOn } = await pair();
  await world.publish('jobs.unheard.x', '{}', { 'Nats-Msg-Id': 'unheard-1' });
  await world.publish('events.unheard.y', '{"type":"X"}');
  expect(await deadLetter('jobs.unheard.x')).toMatchObject({
    reason: 'unknown_type',
    detail: expect.stringContaining('target@1'),
    message_id: 'unheard-1',
  });
  expect(await deadLetter('events.unheard.y')).toMatchObject({ reason: 'unknown_type' });
  await expect(world.client.start('unheard', { until: 'committed' })).rejects.toMatchObject({
    code: 'unknown_type',
  });
  await neighbourGoesOn();
});

test.each([
  ['malformed JSON', '{"type":"ADD",', 'bad_body'],
  ['no JSON at all', 'hello', 'bad_body'],
  ['an empty body', '', 'bad_body'],
  ['bytes that are not UTF-8', Uint8Array.of(0x22, 0xff, 0xfe, 0x22), 'bad_body'],
  ['a number', '42', 'bad_event'],
  ['an array', '[{"type":"ADD"}]', 'bad_event'],
  ['null', 'null', 'bad_event'],
  ['no type', '{"n":1}', 'bad_event'],
  ['an empty type', '{"type":""}', 'bad_event'],
  ['a type that is no string', '{"type":7}', 'bad_event'],
  ['the wildcard as type', '{"type":"*"}', 'bad_event'],
  ['a control character in the type', '{"type":"A\\u0000B"}', 'bad_event'],
  ['a forged result of an invoke', '{"type":"xstate.done.actor.pay","output":1}', 'bad_event'],
  ['a forged failure of an invoke', '{"type":"xstate.error.actor.pay"}', 'bad_event'],
  ['a forged timer', '{"type":"xstate.after.100.target.later"}', 'bad_event'],
  ['a forged stop', '{"type":"xstate.stop"}', 'bad_event'],
  ["the engine's own failure", '{"type":"perdure.fail","error":"x"}', 'bad_event'],
  ["the engine's own message", '{"type":"perdure.send"}', 'bad_event'],
  [
    'nesting without end',
    `{"type":"ADD","n":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
    'bad_body',
  ],
  ['the key __proto__', '{"type":"ADD","n":1,"__proto__":{"admin":true}}', 'bad_body'],
  ['the key __proto__, escaped', '{"type":"ADD","n":1,"\\u005f_proto__":{"a":1}}', 'bad_body'],
])('an event that is %s becomes a dead letter, and the actor goes on', async (_, body, reason) => {
  const { id, untouched, neighbourGoesOn } = await pair();
  await world.publish(`events.target.${id}`, body);
  const letter = await deadLetter(`events.target.${id}`);
  expect(letter).toMatchObject({ reason });
  // Kept byte for byte, so that it can be looked at and sent again.
  expect(letter.body.equals(Buffer.from(body))).toBe(true);
  await untouched();
  await neighbourGoesOn();
});

test('a body that only mentions __proto__ as a value is an ordinary body', async () => {
  const { id } = await pair();
  const event = { type: 'ADD', n: 1, note: '__proto__' } as const;
  const receipt = await world.client.send(target, id, event, { until: 'committed' });
  expect(receipt).toMatchObject({ seq: 2 });
});

test('no body can reach the prototype of what a machine merges it into', async () => {
  await world.client.start(careless, { id: 'c', until: 'committed' });
  for (const key of ['__proto__', '\\u005f_proto__', '_\\u005fproto_\\u005f'])
    await world.publish('events.careless.c', `{"type":"MERGE","data":{"${key}":{"admin":true}}}`);
  await world.client.send(
    careless,
    'c',
    { type: 'MERGE', data: { last: 1 } },
    { until: 'committed' },
  );
  expect(merged).toEqual({ last: 1 });
  expect((merged as { admin?: boolean }).admin).toBeUndefined();
  expect(({} as { admin?: boolean }).admin).toBeUndefined();
  expect(await world.deadLetters('events.careless.c')).toHaveLength(3);
});

test.each([
  'jobs.target.a@b',
  'jobs.tar$get.x',
  'events.target.ü',
  `jobs.target.${'x'.repeat(129)}`,
])('the subject %s is refused by the client and dead in the log', async (subject) => {
  await world.publish(subject, '{}');
  expect(await deadLetter(subject)).toMatchObject({ reason: 'bad_subject' });
  const [, type = '', id = ''] = subject.split('.');
  await expect(world.client.start(type, { id })).rejects.toMatchObject({ code: 'bad_subject' });
  await expect(world.client.send(type, id, { type: 'X' })).rejects.toMatchObject({
    code: 'bad_subject',
  });
});

test('a body of 2 MB: the client says so, and so does the server', async () => {
  const { id, untouched } = await pair();
  const note = 'x'.repeat(2_000_000);
  await expect(
    world.client.send(target, id, { type: 'ADD', n: 1, note } as never),
  ).rejects.toMatchObject({ code: 'body_too_large', message: expect.stringContaining('524288') });
  await expect(world.client.start(target, { input: { note } } as never)).rejects.toMatchObject({
    code: 'body_too_large',
  });
  expect(() => world.nc.publish(`${world.namespace}.events.target.${id}`, note)).toThrow(
    /max_payload/,
  );
  // Between our limit and the server's.
  await world.publish(
    `events.target.${id}`,
    `{"type":"ADD","n":1,"note":"${'x'.repeat(600_000)}"}`,
  );
  expect(await deadLetter(`events.target.${id}`)).toMatchObject({
    reason: 'body_too_large',
    bytes: 600_000 + `{"type":"ADD","n":1,"note":""}`.length,
  });
  await untouched();
});

test('a server that takes 4 MB does not make a 2 MB body acceptable', async () => {
  const nats = await startNats({ dir: `${world.dir}/large`, configText: 'max_payload: 4MB' });
  const { connect } = await import('@nats-io/transport-node');
  const { prepare } = await import('../support/cluster.ts');
  const place = { natsUrl: nats.url, namespace: `${world.namespace}_big` };
  await prepare({ ...world, ...place });
  const node = await world.node([target], {}, place);
  const large = createClient(place);
  const nc = await connect({ servers: nats.url });
  try {
    await large.start(target, { id: 'l', until: 'committed' });
    nc.publish(
      `${place.namespace}.events.target.l`,
      `{"type":"ADD","n":1,"x":"${'x'.repeat(2e6)}"}`,
    );
    await nc.flush();
    expect(
      await large.send(target, 'l', { type: 'ADD', n: 2 }, { until: 'committed' }),
    ).toMatchObject({ seq: 2 });
    const letters = await world.sql.query(
      `SELECT reason, octet_length(body) AS bytes FROM perdure_${place.namespace}.dead_letters`,
    );
    expect(letters).toMatchObject([{ reason: 'body_too_large' }]);
    expect(letters[0]?.bytes as number).toBeGreaterThan(2_000_000);
  } finally {
    await nc.close();
    await large.close();
    await node.stop();
    await nats.stop('SIGKILL');
  }
});

test('an event for nobody becomes a dead letter', async () => {
  await world.publish('events.target.nobody', '{"type":"ADD","n":1}', { 'Nats-Msg-Id': 'lonely' });
  expect(await deadLetter('events.target.nobody')).toMatchObject({
    reason: 'unknown_actor',
    message_id: 'lonely',
  });
  await expect(
    world.client.send(target, 'nobody2', { type: 'ADD', n: 1 }, { until: 'committed' }),
  ).rejects.toMatchObject({ code: 'unknown_actor' });
});

test('starting an actor that exists: the same message is a duplicate, another one is dead', async () => {
  const { id, untouched } = await pair();
  const [first] = await world.transitions('target', id);
  const again = { id, until: 'committed', messageId: first?.event_id as string } as const;
  expect(await world.client.start(target, again)).toMatchObject({ duplicate: true });
  await expect(world.client.start(target, { id, until: 'committed' })).rejects.toMatchObject({
    code: 'actor_exists',
  });
  expect(await deadLetter(`jobs.target.${id}`)).toMatchObject({ reason: 'actor_exists' });
  await untouched();
});

test('an event for an actor that has ended becomes a dead letter', async () => {
  const { id } = await pair();
  await world.client.send(target, id, { type: 'STOP' }, { until: 'committed' });
  await expect(
    world.client.send(target, id, { type: 'ADD', n: 1 }, { until: 'committed' }),
  ).rejects.toMatchObject({ code: 'actor_finished' });
  expect(await deadLetter(`events.target.${id}`)).toMatchObject({ reason: 'actor_finished' });
  await expect(world.client.start(target, { id, until: 'committed' })).rejects.toMatchObject({
    code: 'actor_exists',
  });
  expect(await world.actor('target', id)).toMatchObject({ status: 'done', seq: 2 });
});

// What goes wrong here may take a whole shard along: each case has a world of its own.
test.each(Object.keys(misdeeds))(
  'a step that ends in "%s" ends its actor with a clear error, and nobody else',
  async (what) => {
    const { world: own, close } = await openWorld({ services: async () => world });
    printLogOnFailure(own);
    try {
      await own.node([target]);
      const [neighbour = ''] = own.neighbours('target', 'bad', 1);
      for (const id of ['bad', neighbour]) {
        await own.client.start(target, { id, until: 'committed' });
        await own.client.send(target, id, { type: 'ADD', n: 3 }, { until: 'committed' });
      }
      await own.client.send(target, 'bad', { type: 'DO', what });
      await own.settled('target', 'bad');
      const actor = await own.actor('target', 'bad');
      expect(actor).toMatchObject({
        status: 'error',
        seq: 3,
        state: 'on',
        error: { code: codes[what] ?? 'step_failed' },
        // What it had before the step that failed.
        context: { sum: 3 },
      });
      expect(actor?.error?.message).not.toBe('');
      await own.client.send(target, neighbour, { type: 'ADD', n: 1 }, { until: 'committed' });
      expect(await own.actor('target', neighbour)).toMatchObject({ seq: 3, context: { sum: 4 } });
      expect(await own.check({ types: [target] })).toEqual([]);
    } finally {
      await close();
    }
  },
);

test.each([Number.NaN, Number.POSITIVE_INFINITY, -5, 2 ** 60, 0.5])(
  'a timer with a delay of %s does no harm',
  async (ms) => {
    const { world: own, close } = await openWorld({ services: async () => world });
    printLogOnFailure(own);
    try {
      await own.node([target]);
      const [neighbour = ''] = own.neighbours('target', 'odd', 1);
      for (const id of ['odd', neighbour])
        await own.client.start(target, { id, until: 'committed' });
      await own.client.send(target, 'odd', { type: 'LATER', ms }, { until: 'committed' });
      await own.client.send(target, neighbour, { type: 'ADD', n: 1 }, { until: 'committed' });
      const actor = await own.actor('target', 'odd');
      // Either it waits, or it has fired, or it has ended and says why.
      if (actor?.status === 'error') expect(actor.error?.code).toBe('step_failed');
      else await own.client.send(target, 'odd', { type: 'ADD', n: 1 }, { until: 'committed' });
      expect(await own.check({ types: [target] })).toEqual([]);
    } finally {
      await close();
    }
  },
);

test('a context that cannot be built from the input ends the actor in its first transition', async () => {
  await world.publish('jobs.strict.s1', 'null');
  await world.publish('jobs.strict.s2', '{"name":"ok"}');
  await world.settled('strict', 's1');
  expect(await world.actor('strict', 's1')).toMatchObject({
    status: 'error',
    seq: 1,
    error: { code: 'step_failed' },
  });
  await world.settled('strict', 's2', 1);
  expect(await world.actor('strict', 's2')).toMatchObject({ status: 'active' });
});

test('a sendTo that names nobody ends the actor that sends, and nobody else', async () => {
  await world.client.start(shouter, { id: 's', until: 'committed' });
  await world.client.send(shouter, 's', { type: 'SHOUT', to: 'no-such-child' });
  await world.settled('shouter', 's', 2);
  expect(await world.actor('shouter', 's')).toMatchObject({ status: 'error', seq: 2 });
});

test('a reference in an event to what can be no actor never reaches the actor', async () => {
  await world.client.start(shouter, { id: 'r', until: 'committed' });
  const to = { $perdure: 'Ref', v: { type: 'a.b', id: '../' } };
  await world.publish('events.shouter.r', JSON.stringify({ type: 'SHOUT', to }));
  expect(await deadLetter('events.shouter.r')).toMatchObject({
    reason: 'bad_body',
    detail: expect.stringContaining('"../"'),
  });
  expect(await world.actor('shouter', 'r')).toMatchObject({ status: 'active', seq: 1 });
});

test.each([
  ['a.b', '../'],
  ['mailer', 'user@example.com'],
  ['mailer', 'nul\u0000'],
])(
  'a message to what can be no actor (%j, %j) is one dead letter, and no row stays',
  async (to, id) => {
    const from = `w${++made}`;
    await world.client.start(shouter, { id: from, until: 'committed' });
    await world.client.send(shouter, from, { type: 'WRITE', to, id }, { until: 'committed' });
    const subject = `events.${to}.${id.replace('\u0000', '\uFFFD')}`;
    expect(await deadLetter(subject)).toMatchObject({ reason: 'bad_subject' });
    expect(await world.sql.query("SELECT FROM outbox WHERE kind = 'send'")).toEqual([]);
    expect(await world.deadLetters(subject)).toHaveLength(1);
    expect(await world.actor('shouter', from)).toMatchObject({ status: 'active', seq: 2 });
  },
);

test('a row that an older version has left in the outbox is a dead letter once the owner of its shard finds it', async () => {
  await world.sql.query(
    `INSERT INTO outbox (created_at, shard, message_id, kind, type, id, body)
     VALUES (now() - interval '1 hour', 5, 'shouter/old/2/0', 'send', 'old.type', '', '{"type":"X"}')`,
  );
  expect(await deadLetter('events.old.type.')).toMatchObject({ reason: 'bad_subject' });
  expect(await world.sql.query("SELECT FROM outbox WHERE kind = 'send'")).toEqual([]);
});

test('cancel ends an actor as stopped and aborts what it does', async () => {
  await world.client.start(waiting, { id: 'w', until: 'committed' });
  const outcome = world.client.outcome(waiting, 'w', { timeoutMs: 10_000 });
  const receipt = await world.client.cancel(waiting, 'w', { until: 'committed' });
  expect(receipt).toMatchObject({ seq: 2, status: 'stopped' });
  expect(await outcome).toEqual({ status: 'stopped' });
  await expect(world.client.cancel(waiting, 'w', { until: 'committed' })).rejects.toMatchObject({
    code: 'actor_finished',
  });
  // The same from any language.
  await world.client.start(waiting, { id: 'w2', until: 'committed' });
  await world.publish('events.waiting.w2', '{"type":"perdure.cancel"}');
  await world.settled('waiting', 'w2');
  expect(await world.actor('waiting', 'w2')).toMatchObject({ status: 'stopped' });
});

test('a message id that is too long or not printable becomes a dead letter', async () => {
  const { id, untouched } = await pair();
  await world.publish(`events.target.${id}`, '{"type":"ADD","n":1}', {
    'Nats-Msg-Id': 'm'.repeat(600),
  });
  expect(await deadLetter(`events.target.${id}`)).toMatchObject({ reason: 'bad_event' });
  await untouched();
});

test('nothing of all this has left a trace that should not be there', async () => {
  expect(await world.check({ types: [target, careless, strict, waiting, shouter] })).toEqual([]);
  expect(world.log.filter(({ msg }) => /pump failed|commit: refused/.test(msg))).toEqual([]);
});
