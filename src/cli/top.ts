import { type Command, Option } from 'commander';
import { sleep, systemClock } from '../clock.ts';
import { namespace } from '../config.ts';
import { asError } from '../errors.ts';
import { Counts } from '../inspect/counts.ts';
import { seconds } from './arguments.ts';
import { type ConnectionFlags, connectionOptions } from './connection.ts';
import { endpointOf } from './endpoints.ts';
import { NatsSide } from './natsSide.ts';
import { Screen } from './screen.ts';
import { withReadStore } from './session.ts';
import { stopRequest } from './stopRequest.ts';
import { printJson } from './table.ts';
import { frameOf } from './topFrame.ts';
import { lookAtAll, Rates, type TopView } from './topView.ts';

interface Flags extends ConnectionFlags {
  interval: number;
  once?: true;
  json?: true;
}

/** How long one frame alone listens, ms: each node tells of its last second once in a second. */
const SAMPLE_MS = 1_250;

/** A look that takes longer is told of, ms: what is shown is old. */
const LOOK_MAX_MS = 3_000;

/** `perdure top`. */
export function register(program: Command): void {
  connectionOptions(program.command('top'))
    .description(
      'Watch everything at once: what needs you, how much goes on, actors, nodes and shards.',
    )
    .addOption(
      new Option('--interval <seconds>', 'between two looks')
        .argParser(seconds)
        .default(2_000, '2'),
    )
    .option('--once', 'print one look and end; so it is, too, when the output is no terminal')
    .option('--json', 'print one look as a JSON document')
    .addHelpText(
      'after',
      `
q or Ctrl-C ends it. Transitions are counted as the nodes tell of them over NATS; one look alone counts for a second.
What is counted in Postgres looks at every actor there is, and rests for 50 times as long as it took. LAG is as in
perdure shards. NO_COLOR=1 leaves colors out.

Examples:
  $ perdure top
  $ perdure top --once
  $ perdure top --json | jq .needs`,
    )
    .action(top);
}

async function top(flags: Flags): Promise<void> {
  const { namespace: name } = endpointOf('database', flags);
  const space = namespace(name).name;
  const nats = new NatsSide('perdure top', flags);
  const rates = new Rates();
  try {
    await withReadStore(flags, async (store) => {
      const look = { store, counts: new Counts(store), nats, rates };
      const isLive = process.stdout.isTTY && !flags.once && !flags.json;
      nats.listen((word) => rates.hear(word));
      if (isLive) return watchAll(() => lookAtAll(space, look), flags.interval);
      await nats.answers();
      await sleep(systemClock, SAMPLE_MS);
      const view = await lookAtAll(space, look);
      if (flags.json) return printJson(view);
      process.stdout.write(`${frameOf(view, { color: false }).join('\n').trimEnd()}\n`);
    });
  } finally {
    await nats.close();
  }
}

/** Until it is ended; a look that fails leaves the one before, and says why. */
async function watchAll(look: () => Promise<TopView>, intervalMs: number): Promise<void> {
  const asked = stopRequest(() => process.exit(1));
  const quit = new AbortController();
  const ended = AbortSignal.any([asked, quit.signal]);
  const screen = new Screen((key) => {
    if (key === 'q' || key === 'ctrl-c') quit.abort();
  });
  let view: TopView | undefined;
  let notice: string | undefined;
  const draw = () => {
    if (view) screen.draw(frameOf(view, { ...screen.size, color: !process.env.NO_COLOR, notice }));
    else screen.draw([notice ?? 'looking …']);
  };
  screen.onResize(draw);
  draw();
  const abandoned = new Promise<void>((resolve) =>
    ended.addEventListener('abort', () => resolve(), { once: true }),
  );
  try {
    while (!ended.aborted) {
      const attempt = look().then(
        (seen) => {
          view = seen;
          notice = undefined;
        },
        (thrown: unknown) => {
          notice = `not as it is now: ${asError(thrown).message}`;
        },
      );
      // Whoever wants to leave does not wait for a server that is away.
      await saying(
        () => {
          notice = 'not as it is now: Postgres does not answer';
          draw();
        },
        Promise.race([attempt, abandoned]),
      );
      if (ended.aborted) break;
      draw();
      await sleep(systemClock, intervalMs, ended);
    }
  } finally {
    screen.close();
  }
}

/** Waits for the work; says so when that takes long. */
async function saying(waits: () => void, work: Promise<void>): Promise<void> {
  const timer = setTimeout(waits, LOOK_MAX_MS);
  await work.finally(() => clearTimeout(timer));
}
