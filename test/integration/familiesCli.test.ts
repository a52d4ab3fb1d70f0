import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { setup } from 'xstate';
import { actorAddress, defineActor, type PerdureNode } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';

// What the command line says of machines inside of machines, and of references to other actors.

const MAIN = join(resolve(import.meta.dirname, '../..'), 'src/cli/main.ts');

const inner = setup({}).createMachine({ on: { PING: {} } });
const mine = defineActor('mine', {
  machine: setup({ actors: { inner } }).createMachine({
    context: ({ self }) => ({ friend: actorAddress('mine', 'm-2'), others: [self] }),
    invoke: { id: 'a', src: 'inner' },
  }),
});

const world = useWorld();
beforeEach(() => printLogOnFailure(world));
let node: PerdureNode;
beforeAll(async () => {
  node = await world.node([mine]);
  await world.client.start(mine, { id: 'm-1', until: 'committed' });
});

function perdure(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const env = {
    ...process.env,
    PERDURE_DATABASE_URL: world.databaseUrl,
    PERDURE_NATS_URL: world.natsUrl,
    PERDURE_NAMESPACE: world.namespace,
  };
  return new Promise((done) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, stdout, stderr) =>
      done({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

test.each([
  ['send', ['PING'], 'only mine/m-1 can be told from outside.'],
  ['cancel', [], 'only mine/m-1 can be cancelled from outside.'],
  [
    'watch',
    [],
    'only mine/m-1 can be watched, which shows its whole family; perdure show mine m-1.a-1 and perdure history mine m-1.a-1 tell of it alone.',
  ],
])(
  '%s of a machine inside of an actor names the actor that can be meant',
  async (command, rest, says) => {
    expect(await perdure(command, 'mine', 'm-1.a-1', ...rest)).toEqual({
      code: 2,
      stdout: '',
      stderr: `perdure: bad_options: m-1.a-1 is a machine inside of mine/m-1: ${says}\n`,
    });
  },
);

test('an id that is none is no machine of a family either', async () => {
  const { code, stderr } = await perdure('send', 'mine', 'not.a.token', 'PING');
  expect(code).toBe(2);
  expect(stderr).toContain('Use 1 to 128 of A-Z a-z 0-9 _ and -.');
});

test('show prints a reference as the actor it names', async () => {
  const { stdout } = await perdure('show', 'mine', 'm-1');
  expect(stdout).toMatch(/^context +\{ friend: → mine\/m-2, others: \[ → mine\/m-1 \] \}$/m);
});

test('an actor is released from quarantine once; one that is in none is an error', async () => {
  const release = (id: string) => perdure('quarantine', 'release', 'mine', id);
  const none = await release('m-1.a-1');
  expect(none).toMatchObject({ code: 1, stdout: '' });
  expect(none.stderr).toMatch(
    /^perdure: not_found: mine\/m-1\.a-1 is not in quarantine \(active, /,
  );
  await node.stop();
  // As after five nodes that died of it.
  await world.sql.query(
    `UPDATE actor SET crashes = 5, quarantined_at = now() WHERE type = 'mine' AND id = 'm-1.a-1'`,
  );
  node = await world.node([mine]);
  expect(await release('m-1')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^committed mine\/m-1 #1: active/),
  });
  expect(await world.sql.query('SELECT FROM quarantined')).toEqual([]);
  expect(await release('m-1')).toMatchObject({ code: 1, stdout: '' });
});
