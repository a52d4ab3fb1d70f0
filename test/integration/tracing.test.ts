import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor } from '../../src/index.ts';
import { hold } from '../support/actorsJournal.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';
import { type SpanLine, spanLine } from '../support/spansToFile.ts';

const world = useWorld();
const memory = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(memory)] }).register();
beforeEach(() => {
  printLogOnFailure(world);
  memory.reset();
});
afterAll(() => {
  trace.disable();
  context.disable();
  propagation.disable();
});

const spans = (): SpanLine[] => memory.getFinishedSpans().map(spanLine);
const of = (
  found: readonly SpanLine[],
  name: string,
  type: string,
  more: Record<string, unknown> = {},
) =>
  found.filter(
    ({ name: is, attributes }) =>
      is === name &&
      attributes['actor.type'] === type &&
      Object.entries(more).every(([key, value]) => attributes[key] === value),
  );
const transition = (type: string, id: string, seq: number) =>
  eventually(
    () =>
      of(spans(), 'perdure.transition', type, {
        'actor.id': id,
        'perdure.seq': seq,
      })[0] as SpanLine,
    { what: `the span of transition ${seq} of ${type}/${id}` },
  );
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const HEADERS = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'shop=1,till=2' };

const pack = fromPromise<string>(async () => {
  trace.getTracer('test').startSpan('user work').end();
  return 'packed';
});
/** Packs, failing once, then asks the depot. */
const courier = defineActor('courier', {
  machine: setup({
    types: { input: {} as { depot: string }, context: {} as { depot: string; tries: number } },
    actors: { pack },
  }).createMachine({
    context: ({ input }) => ({ ...input, tries: 0 }),
    initial: 'packing',
    states: {
      packing: { invoke: { id: 'pack', src: 'pack', onDone: 'sending' } },
      sending: {
        entry: sendTo(({ context: { depot } }) => actorAddress('depot', depot), { type: 'STORE' }),
        after: { 10: 'sent' },
      },
      sent: { type: 'final' },
    },
  }),
});
const depot = defineActor('depot', {
  machine: setup({ types: { context: {} as { stored: number } } }).createMachine({
    context: { stored: 0 },
    on: { STORE: { actions: assign({ stored: ({ context }) => context.stored + 1 }) } },
  }),
});
const kid = setup({}).createMachine({
  initial: 'asleep',
  states: { asleep: { after: { 10: 'awake' } }, awake: { type: 'final' } },
});
const mother = defineActor('mother', {
  machine: setup({ actors: { kid } }).createMachine({
    initial: 'waiting',
    states: { waiting: { invoke: { src: 'kid', onDone: 'glad' } }, glad: { type: 'final' } },
  }),
});
let failures = 0;
const flaky = defineActor('flaky', {
  machine: setup({
    actors: {
      work: fromPromise(async () => {
        if (failures++ === 0) throw new Error('not yet');
      }),
    },
  }).createMachine({
    initial: 'working',
    states: {
      working: { invoke: { src: 'work', id: 'work', onDone: 'done' } },
      done: { type: 'final' },
    },
  }),
  retry: { work: { attempts: 2, delayMs: 1 } },
});

test('client, transition, invoke, and the transition of another actor are one trace, each below what caused it', async () => {
  const node = await world.node([courier, depot]);
  const { client } = world;
  await client.start(depot, { id: 'd-1', until: 'committed' });
  memory.reset();
  const tracer = trace.getTracer('test');
  const traceId = await tracer.startActiveSpan('request', async (request) => {
    await client.start(courier, { id: 'c-1', input: { depot: 'd-1' } });
    request.end();
    return request.spanContext().traceId;
  });
  await world.settled('courier', 'c-1');
  const stored = await transition('depot', 'd-1', 2);
  const timer = await transition('courier', 'c-1', 3);
  const all = spans();
  const [request] = all.filter(({ name }) => name === 'request');
  const [publish] = of(all, 'perdure.publish', 'courier');
  const [first] = of(all, 'perdure.transition', 'courier', { 'perdure.seq': 1 });
  const [invoke] = of(all, 'perdure.invoke', 'courier');
  const [user] = all.filter(({ name }) => name === 'user work');
  const [second] = of(all, 'perdure.transition', 'courier', { 'perdure.seq': 2 });
  expect(publish?.parent).toBe(request?.spanId);
  expect(first?.parent).toBe(publish?.spanId);
  expect(invoke?.parent).toBe(first?.spanId);
  expect(user?.parent).toBe(invoke?.spanId);
  expect(second?.parent).toBe(invoke?.spanId);
  expect(stored.parent).toBe(second?.spanId);
  expect(timer.parent).toBe(second?.spanId);
  for (const span of [publish, first, invoke, user, second, stored, timer])
    expect(span?.traceId, span?.name).toBe(traceId);
  const { epoch } = (await world.transitions('courier', 'c-1'))[1] ?? {};
  expect(second?.attributes).toMatchObject({
    'actor.id': 'c-1',
    'perdure.shard': expect.any(Number),
    'perdure.epoch': epoch,
    'perdure.event': 'xstate.done.actor.pack',
    'perdure.state.from': '"packing"',
    'perdure.state.to': '"sending"',
  });
  // The depot was started by somebody else, whose trace it has kept.
  const link = memory.getFinishedSpans().find((span) => span.spanContext().spanId === stored.spanId)
    ?.links[0];
  expect(link?.context.traceId).not.toBe(traceId);
  expect(link).toBeDefined();
  await node.stop();
});

test('any publisher begins a trace by its headers; each attempt is a span that says how it ended', async () => {
  const node = await world.node([flaky]);
  await world.publish('jobs.flaky.f-1', '', HEADERS);
  await world.settled('flaky', 'f-1');
  const last = await transition('flaky', 'f-1', 2);
  const own = { 'actor.id': 'f-1' };
  const attempts = of(spans(), 'perdure.invoke', 'flaky', own);
  expect(attempts.map(({ attributes }) => attributes['perdure.attempt'])).toEqual([1, 2]);
  expect(attempts.map(({ status }) => status === SpanStatusCode.ERROR)).toEqual([true, false]);
  const [first] = of(spans(), 'perdure.transition', 'flaky', { ...own, 'perdure.seq': 1 });
  expect(first).toMatchObject({ traceId: TRACE, parent: PARENT });
  for (const { parent } of attempts) expect(parent).toBe(first?.spanId);
  expect(last).toMatchObject({ traceId: TRACE, parent: attempts[1]?.spanId });
  // What is no trace is not one: the actor begins its own.
  await world.publish('jobs.flaky.bad', '', { traceparent: `00-${'0'.repeat(32)}-${PARENT}-01` });
  const other = await transition('flaky', 'bad', 1);
  expect(other.parent).toBeUndefined();
  const [kept] = await world.sql.query<{ snapshot: string }>(
    `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'flaky' AND id = 'f-1'`,
  );
  expect(JSON.parse(kept?.snapshot ?? '').trace).toMatch(
    new RegExp(`^00-${TRACE}-[\\da-f]{16}-01 shop=1,till=2$`),
  );
  await node.stop();
});

test('a machine that another one invokes is in its trace, and what either causes in the other is below it', async () => {
  const node = await world.node([mother]);
  await world.publish('jobs.mother.m-1', '', HEADERS);
  await world.settled('mother', 'm-1');
  const glad = await transition('mother', 'm-1', 2);
  const first = await transition('mother', 'm-1', 1);
  const kids = of(spans(), 'perdure.transition', 'mother').filter(
    ({ attributes }) => attributes['actor.id'] !== 'm-1',
  );
  expect(kids.map(({ parent }) => parent)).toEqual([first.spanId, kids[0]?.spanId]);
  expect(glad.parent).toBe(kids[1]?.spanId);
  for (const { traceId } of [first, ...kids, glad]) expect(traceId).toBe(TRACE);
  await node.stop();
});

test('a node that is started with examples/tracing.ts prints its spans', async () => {
  const sdk = pathToFileURL(join(import.meta.dirname, '../../examples/tracing.ts'));
  const node = await world.spawn({}, { NODE_OPTIONS: `--import=${sdk}` });
  let printed = '';
  node.process.stdout?.on('data', (text: string) => {
    printed += text;
  });
  await world.client.start('worker', { id: 'printed', input: {}, until: 'committed' });
  await eventually(() => /name: 'perdure.transition'/.test(printed), { what: 'it prints' });
  await node.kill('SIGTERM');
});

test('a job whose node is killed goes on in the same trace on another one', async () => {
  const env = {
    PERDURE_TEST_SPANS: world.dir,
    NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, '../support/spansToFile.ts'))}`,
  };
  const dies = await world.spawn({}, env);
  hold(world.dir, dies.pid);
  await world.publish('jobs.worker.w-1', '{}', HEADERS);
  await world.settled('worker', 'w-1', 1);
  const file = join(world.dir, 'spans.jsonl');
  const written = () =>
    (existsSync(file) ? readFileSync(file, 'utf8') : '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as SpanLine);
  const first = await eventually(
    () => of(written(), 'perdure.transition', 'worker', { 'perdure.seq': 1 })[0] as SpanLine,
    { what: 'the first transition is traced' },
  );
  await dies.kill();
  const next = await world.spawn({}, env);
  await world.settled('worker', 'w-1', 2);
  const second = await eventually(
    () => of(written(), 'perdure.transition', 'worker', { 'perdure.seq': 2 })[0] as SpanLine,
    { what: 'the second transition is traced' },
  );
  const [resumed] = of(written(), 'perdure.invoke', 'worker');
  expect(first).toMatchObject({ traceId: TRACE, parent: PARENT });
  expect(resumed).toMatchObject({
    traceId: TRACE,
    parent: first.spanId,
    events: ['perdure.resumed'],
  });
  expect(second).toMatchObject({ traceId: TRACE, parent: resumed?.spanId });
  expect(second.attributes['perdure.node']).not.toBe(first.attributes['perdure.node']);
  await next.kill('SIGTERM');
});
