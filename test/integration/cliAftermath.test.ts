import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { type ActorType, defineActor } from '../../src/actors/define.ts';
import { createLogger } from '../../src/log.ts';
import { createNode, type PerdureNode } from '../../src/node.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

// What commands say of what became of a message, and of what is not there to be asked for.

const ROOT = resolve(import.meta.dirname, '../..');

const machine = setup({
  types: {
    input: {} as { customerId?: number; region?: string; broken?: boolean } | undefined,
    context: {} as { n: number },
    events: {} as { type: 'WEIGH' } | { type: 'SHIP' } | { type: 'COUNT' },
  },
}).createMachine({
  context: ({ input }) => {
    if (input?.broken) throw new Error('no such parcel');
    return { n: 0 };
  },
  initial: 'waiting',
  states: {
    waiting: {
      on: {
        WEIGH: {
          actions: assign(() => {
            throw new Error('the scale is broken');
          }),
        },
        COUNT: { actions: assign({ n: ({ context }) => context.n + 1 }) },
      },
    },
  },
});

const parcel = defineActor('parcel', { machine, searchable: ['customerId', 'region'] });
/** A version that the node of most tests does not know. */
const newer = defineActor('parcel', { machine, version: '2' });

let database: Awaited<ReturnType<typeof freshDatabase>>;
let node: PerdureNode | undefined;
const namespace = freshNamespace();

beforeAll(async () => {
  database = await freshDatabase();
  expect(await perdure('migrate')).toMatchObject({ code: 0 });
  await runNode(parcel);
});
afterAll(async () => {
  await node?.stop();
  await database?.drop();
});

async function runNode(type: ActorType): Promise<void> {
  await node?.stop();
  node = createNode({
    actors: [type],
    natsUrl: natsUrl(),
    databaseUrl: database.url,
    namespace,
    logger: createLogger({ level: 'silent' }),
  });
  await node.start();
}

function perdureWith(env: NodeJS.ProcessEnv, args: string[]) {
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), ...args], {
    env: {
      ...process.env,
      PERDURE_NATS_URL: natsUrl(),
      PERDURE_DATABASE_URL: database.url,
      PERDURE_NAMESPACE: namespace,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { code: null as number | null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    said.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    said.stderr += chunk;
  });
  return new Promise<typeof said>((done) => child.once('close', (code) => done({ ...said, code })));
}
const perdure = (...args: string[]) => perdureWith({}, args);
const committed = (...args: string[]) => perdure(...args, '--until', 'committed');
const start = (id: string) => committed('start', 'parcel', '--id', id);

test('bug: a step that failed was told as committed, without a word of its error', async () => {
  await start('b-1');
  expect(await committed('send', 'parcel', 'b-1', 'WEIGH')).toEqual({
    code: 1,
    stdout: 'committed parcel/b-1 #2: error, waiting\n',
    stderr: 'perdure: parcel/b-1 has failed: Error: the scale is broken\n',
  });
  const { stdout } = await perdure('history', 'parcel', 'b-1');
  expect(stdout).toMatch(/^1 .* xstate\.init +- +waiting +start /m);
  expect(stdout).toMatch(/^2 .* WEIGH +waiting +waiting \(error\) +event /m);
  const began = await committed(
    ...['start', 'parcel', '--id', 'b-2', '--input', '{"broken":true}', '--json'],
  );
  expect(began.code).toBe(1);
  expect(JSON.parse(began.stdout)).toMatchObject({
    status: 'error',
    error: { message: 'no such parcel' },
  });
});

test('bug: an event that nobody handled looked like one that did something', async () => {
  await start('u-1');
  expect(await committed('send', 'parcel', 'u-1', 'SHIP')).toMatchObject({
    code: 0,
    stdout: 'committed parcel/u-1 #2: active, waiting (no transition for SHIP in waiting)\n',
  });
  const told = JSON.parse((await committed('send', 'parcel', 'u-1', 'SHIP', '--json')).stdout);
  expect(told).toMatchObject({ seq: 3, handled: false });
  // One that stays where it is was handled.
  expect((await committed('send', 'parcel', 'u-1', 'COUNT')).stdout).toBe(
    'committed parcel/u-1 #4: active, waiting\n',
  );
  await committed('send', 'parcel', 'u-1', 'SHIP');
  expect((await committed('pause', 'parcel', 'u-1')).stdout).toBe(
    'committed parcel/u-1 #5: active, waiting\n',
  );
  // NATS alone does not tell.
  await committed('resume', 'parcel', 'u-1');
  const blind = await perdureWith({ PERDURE_DATABASE_URL: '' }, [
    ...['send', 'parcel', 'u-1', 'SHIP', '--until', 'committed'],
  ]);
  expect(blind).toMatchObject({ code: 0, stdout: 'committed parcel/u-1 #6: active, waiting\n' });
});

test('bug: that a message waits for an actor that is paused was not known', async () => {
  await start('p-1');
  await committed('pause', 'parcel', 'p-1');
  const sent = await committed('send', 'parcel', 'p-1', 'COUNT', '--timeout', '4');
  expect(sent.code).toBe(1);
  expect(sent.stderr).toMatch(
    /^perdure: timeout: .* It is paused, and 1 message waits for parcel\/p-1: perdure resume parcel p-1 lets it go on\.$/m,
  );
  expect(sent.stderr).not.toContain('is not known');
});

test('bug: that a message is parked was not known', async () => {
  await runNode(newer);
  await start('v-2');
  await runNode(parcel);
  const sent = await committed('send', 'parcel', 'v-2', 'COUNT', '--timeout', '4');
  expect(sent.code).toBe(1);
  expect(sent.stderr).toMatch(
    /It is parked: 1 message waits for parcel\/v-2 until a node runs that can open it; perdure ls --parked\.$/m,
  );
});

test('bug: a field that is not marked, and a type that does not exist, gave an empty list', async () => {
  await committed('start', 'parcel', '--id', 'f-1', '--input', '{"customerId":42}');
  expect((await perdure('ls', 'parcel', '--where', 'customerId=42')).stdout).toMatch(
    /^parcel +f-1/m,
  );
  for (const field of ['nope', 'customerid', '__proto__', 'toString'])
    expect(await perdure('ls', 'parcel', '--where', `${field}=42`)).toEqual({
      code: 2,
      stdout: '',
      stderr: `perdure: bad_options: parcel marks customerId, region as searchable; not ${field}.\n`,
    });
  for (const more of [[], ['--state', 'waiting']])
    expect(await perdure('ls', 'zzz', ...more)).toMatchObject({
      code: 2,
      stderr: 'perdure: bad_options: There is no actor type zzz; there is parcel.\n',
    });
});

test('bug: a reason that is misspelt, and a dead letter that is not there, were answered with a wrong hint', async () => {
  const client = await connect({ servers: natsUrl() });
  client.publish(`${namespace}.events.parcel.d-1`, 'no JSON');
  client.publish(`${namespace}.events.parcel.nobody`, '{"type":"SHIP"}');
  await client.flush();
  await client.close();
  const letters = async () =>
    (await perdure('dead', 'ls', '--json')).stdout.split('\n').filter(Boolean);
  await eventually(async () => (await letters()).length === 2, { what: 'both are dead letters' });
  for (const command of [
    ['dead', 'redrive', '--all'],
    ['dead', 'ls'],
  ])
    expect(await perdure(...command, '--reason', 'nope')).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'perdure: bad_options: No dead letter has the reason nope; there are letters with bad_body, unknown_actor.\n',
    });
  expect(await perdure('ls', 'zzz', '--parked')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('There is no actor type zzz; there is parcel.'),
  });
  expect(await perdure('dead', 'redrive', '--all', '--reason', 'log_full')).toMatchObject({
    code: 0,
    stderr: 'no dead letters\n',
  });
  expect((await perdure('dead', 'show', '99')).stderr).toBe(
    'perdure: not_found: There is no dead letter 99; perdure dead ls has them.\n',
  );
  const bad = (await letters())
    .map((line) => JSON.parse(line))
    .find(({ reason }) => reason === 'bad_body');
  expect((await perdure('dead', 'redrive', bad.dead_letter_id)).stderr).toMatch(
    /it would come back: .*[^.]\. Send a corrected message instead\.$/m,
  );
});

test('bug: the help of top gave milliseconds as seconds', async () => {
  expect((await perdure('top', '--help')).stdout).toMatch(/--interval <seconds> +.*\(default: 2\)/);
});
