import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// Everything at once in a terminal, in a pipe, and as data.

const MAIN = join(resolve(import.meta.dirname, '../..'), 'src/cli/main.ts');

const lamp = defineActor('lamp', {
  machine: setup({ types: { events: {} as { type: 'ON' } | { type: 'BREAK' } } }).createMachine({
    initial: 'dark',
    states: {
      dark: {
        on: {
          ON: 'lit',
          BREAK: {
            guard: () => {
              throw new Error('burnt');
            },
            target: 'lit',
          },
        },
      },
      lit: { type: 'final' },
    },
  }),
});

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const environment = (more: NodeJS.ProcessEnv = {}) => ({
  ...process.env,
  PERDURE_DATABASE_URL: world.databaseUrl,
  PERDURE_NATS_URL: world.natsUrl,
  PERDURE_NAMESPACE: world.namespace,
  ...more,
});

function perdure(args: string[], env: NodeJS.ProcessEnv = {}) {
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((done) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env: environment(env) },
      (error, stdout, stderr) => done({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

beforeAll(async () => {
  await world.node([lamp]);
  const { client } = world;
  for (const id of ['l-1', 'l-2', 'l-3', 'l-4'])
    await client.start(lamp, { id, until: 'committed' });
  await client.send(lamp, 'l-1', { type: 'ON' }, { until: 'committed' });
  await client.send(lamp, 'l-2', { type: 'BREAK' }, { until: 'committed' });
  await world.publish('events.lamp.nobody', '{"type":"ON"}');
  await eventually(async () => (await world.deadLetters('events.lamp.nobody')).length > 0, {
    what: 'a dead letter',
  });
});

test('one look into a pipe is text: what needs somebody, then actors, then nodes', async () => {
  const { code, stdout, stderr } = await perdure(['top']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).not.toContain('\u001b');
  const lines = stdout.split('\n');
  expect(lines[0]).toMatch(
    new RegExp(
      `^perdure top {2}${world.namespace} {2}\\d\\d:\\d\\d:\\d\\d UTC {2}\\d+ transitions/s, \\d+ failures/s$`,
    ),
  );
  expect(lines[1]).toMatch(/^1 node, 64 of 64 shards owned, lag \d+$/);
  const at = (start: RegExp) => lines.findIndex((text) => start.test(text));
  expect(lines[at(/NEEDS YOU/) + 1]).toMatch(/^1 +dead letters +perdure dead ls +1 unknown_actor$/);
  expect(lines[at(/NEEDS YOU/) + 2]).toMatch(/^1 +failed actors +perdure ls --status error/);
  expect(lines[at(/^TYPE /) + 1]).toMatch(/^lamp +2 +1 +1 +0 +\d+ +dark 2$/);
  expect(lines[at(/^NODE /) + 1]).toMatch(/ok +64 +\d+ /);
  expect([at(/NEEDS YOU/), at(/^TYPE /), at(/^NODE /)]).toEqual(
    [at(/NEEDS YOU/), at(/^TYPE /), at(/^NODE /)].toSorted((a, b) => a - b),
  );
});

test('one look as data has what moves in the second it takes', async () => {
  let busy = 0;
  const look = async () => {
    const looking = perdure(['top', '--json']);
    let done = false;
    void looking.then(() => {
      done = true;
    });
    while (!done) await world.client.start(lamp, { id: `busy-${busy++}`, until: 'committed' });
    return JSON.parse((await looking).stdout);
  };
  // A node that stands still for a moment says nothing of itself within that second.
  const view = await eventually(
    async () => {
      const seen = await look();
      return seen.rate.transitions > 0 && seen;
    },
    { what: 'a rate', timeoutMs: 20_000 },
  );
  expect(view).toMatchObject({
    namespace: world.namespace,
    types: [{ type: 'lamp', counts: { done: 1, error: 1, stopped: 0 } }],
    nodes: [{ state: 'ok', shards: 64, lag: expect.any(Number) }],
    shards: { all: 64, owned: 64, ill: [] },
    trouble: null,
  });
  expect(view.types[0].rate.transitions).toBe(view.rate.transitions);
});

test('without NATS everything that is recorded is shown all the same', async () => {
  const { code, stdout } = await perdure(['top', '--once'], {
    PERDURE_NATS_URL: 'nats://127.0.0.1:1',
  });
  expect(code).toBe(0);
  expect(stdout).toContain('rate not known');
  expect(stdout).toMatch(/^NATS: /m);
  expect(stdout).toMatch(/^lamp .* \? +dark/m);
});

test('without Postgres it is an error', async () => {
  const { code, stderr } = await perdure(['top', '--once'], {
    PERDURE_DATABASE_URL: 'postgres://127.0.0.1:1/none',
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^perdure: store_unavailable: /);
});

/** A way to a server that can be shut. */
async function gate(to: string) {
  const target = new URL(to);
  const lines = new Set<Socket>();
  let isOpen = true;
  const server = createServer((client) => {
    if (!isOpen) return client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      lines.add(one);
      one.on('error', () => {}).on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = new URL(to);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  const shut = () => {
    isOpen = false;
    for (const line of lines) line.destroy();
  };
  const open = () => {
    isOpen = true;
  };
  const close = () => {
    shut();
    return new Promise((done) => server.close(done));
  };
  return { url: url.href, shut, open, close };
}

describe('in a terminal', () => {
  const ENTER = '\u001b[?1049h';
  const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';

  /** `script` gives it one. */
  function inTerminal(more: NodeJS.ProcessEnv = {}): {
    running: ChildProcess;
    said(): string;
    ended: Promise<number | null>;
  } {
    const command = `stty rows 20 cols 60; exec ${process.execPath} ${MAIN} top --interval 0.1`;
    const running = spawn('script', ['-qefc', command, '/dev/null'], { env: environment(more) });
    let said = '';
    running.stdout?.setEncoding('utf8');
    running.stdout?.on('data', (chunk) => {
      said += chunk;
    });
    const ended = new Promise<number | null>((done) => running.once('close', done));
    return { running, said: () => said, ended };
  }

  const shows = (said: () => string, text: string) =>
    eventually(async () => said().includes(text), { what: text });

  test.each([
    ['q', 'q'],
    ['Ctrl-C', '\u0003'],
  ])('it is drawn again and again, and %s gives the terminal back', async (_name, key) => {
    const { running, said, ended } = inTerminal();
    await shows(said, 'NEEDS YOU');
    expect(said().startsWith(ENTER)).toBe(true);
    const seen = said().split('NEEDS YOU').length;
    await world.client.start(lamp, { id: `new-${key.charCodeAt(0)}`, until: 'committed' });
    await eventually(async () => said().split('NEEDS YOU').length > seen + 1, {
      what: 'drawn again',
    });
    running.stdin?.write(key);
    expect(await ended).toBe(0);
    expect(said().endsWith(LEAVE)).toBe(true);
    const drawn = said().slice(said().lastIndexOf('\u001b[H'), said().lastIndexOf(LEAVE));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
    const lines = drawn.replace(/\u001b\[[\d;?]*[A-Za-z]/g, '').split(/\r+\n/);
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(Math.max(...lines.map(({ length }) => length))).toBe(60);
  });

  test('servers that go, and come back, are told of and do not end it', async () => {
    const nats = await gate(world.natsUrl);
    const postgres = await gate(world.databaseUrl);
    nats.shut();
    const { running, said, ended } = inTerminal({
      PERDURE_NATS_URL: nats.url,
      PERDURE_DATABASE_URL: postgres.url,
    });
    try {
      await shows(said, 'rate not known');
      nats.open();
      await shows(said, 'transitions/s');
      expect(said()).not.toContain('not as it is now');
      postgres.shut();
      await shows(said, 'not as it is now: ');
      postgres.open();
      await eventually(
        async () => !said().slice(said().lastIndexOf('\u001b[H')).includes('not as'),
        {
          what: 'as it is now',
        },
      );
    } finally {
      running.stdin?.write('q');
      expect(await ended).toBe(0);
      await Promise.all([nats.close(), postgres.close()]);
    }
  });
});
