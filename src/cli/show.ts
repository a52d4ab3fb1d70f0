import { inspect } from 'node:util';
import type { Command } from 'commander';
import { activeStates, type Chart, machineAt } from '../actors/chart.ts';
import { parse } from '../actors/codec.ts';
import { type Envelope, machinesIn } from '../actors/envelope.ts';
import { PerdureError } from '../errors.ts';
import { reasonText } from '../inspect/reasonText.ts';
import { textChart } from '../inspect/textChart.ts';
import type { ActorDetail, ActorSummary, ParkedFor, ReadStore } from '../store/read.ts';
import { isWrappedValue } from '../textCodec.ts';
import { age, duration } from './age.ts';
import { rowId, token } from './arguments.ts';
import { codecOption } from './codecFile.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';
import { printFields, printJson, visible } from './table.ts';

/** `perdure show TYPE ID`. */
export function register(program: Command): void {
  codecOption(endpointOptions(program.command('show'), 'database'))
    .description('Show everything that is recorded of an actor now.')
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor, or a machine of its family', rowId)
    .option('--no-chart', 'without the statechart')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure show order o-1
  $ perdure show order o-1 --json | jq .context`,
    )
    .action(show);
}

async function show(
  type: string,
  id: string,
  flags: ConnectionFlags & { json?: true; chart: boolean },
): Promise<void> {
  const [actor, below, chart] = await withReadStore(flags, async (store) => {
    const found = await store.actor(type, id);
    if (!found) {
      const parked = await store.parkedFor(type, id);
      const more = parked ? ` ${parkedText(parked)}` : '';
      throw new PerdureError('not_found', `There is no ${type}/${id}.${more}`);
    }
    const lines = flags.chart ? await chartLines(store, found) : [];
    const children = machinesIn(found.snapshot);
    if (Object.keys(children).length === 0) return [found, [], lines] as const;
    const kin = await store.listActors({ type, children: { of: id }, limit: MACHINES_MAX });
    return [found, kin, lines] as const;
  });
  if (flags.json) return printJson(asJson(actor, below));
  printFields(fields(actor, below));
  if (chart.length > 0) process.stdout.write(`\n${chart.map(visible).join('\n')}\n`);
}

/** The statechart with the active states marked; nothing when no node has recorded the machine. */
async function chartLines(store: ReadStore, actor: ActorDetail): Promise<string[]> {
  const row = await store.machine(actor.type, actor.version);
  const path = await store.pathOf(actor.type, actor.id);
  const machine = row && machineAt(JSON.parse(row.definition) as Chart, path);
  if (!machine) return [];
  const active = new Set(activeStates(machine.root, actor.state).map(({ id }) => id));
  return textChart(machine, path.at(-1) ?? actor.type, active);
}

interface Retry {
  attempt: number;
  /** On the database clock, ms since 1970. */
  nextAt: number;
  error?: { name: string; message: string };
  /** Results of the steps that are done, by name. */
  steps?: Record<string, unknown>;
}

/** What runs for the actor: the transition that started it, and its next attempt when it failed. */
function invokes(actor: ActorDetail): { invokeId: string; startedSeq: number; retry?: Retry }[] {
  const { started = {} } = JSON.parse(actor.snapshot) as Partial<Envelope>;
  const retries = (actor.retries ?? {}) as Record<string, Retry>;
  return Object.entries(started).map(([invokeId, startedSeq]) => {
    const retry = retries[invokeId];
    return { invokeId, startedSeq, ...(retry && { retry }) };
  });
}

/** Machines of a family that are shown, at most. */
const MACHINES_MAX = 100;

function asJson(actor: ActorDetail, below: readonly ActorSummary[]): object {
  const { snapshot, retries: _inInvokes, ...rest } = actor;
  const machines = below.map(({ id, status, state, seq }) => ({ id, status, state, seq }));
  return { ...rest, invokes: invokes(actor), machines, snapshot: JSON.parse(snapshot) };
}

function fields(
  actor: ActorDetail,
  below: readonly ActorSummary[],
): [string, string | undefined][] {
  const { type, id, status, error, output } = actor;
  return [
    ['actor', `${type}/${id}`],
    ['status', status],
    ['quarantine', quarantineText(actor)],
    ['paused', pausedText(actor)],
    ['parked', actor.parked && !actor.paused_at ? parkedText(actor.parked) : undefined],
    ['state', stateText(actor.state)],
    ['tags', actor.tags.join(', ') || undefined],
    ['version', actor.version],
    ['seq', String(actor.seq)],
    ['shard', `${actor.shard} (epoch ${actor.epoch})`],
    ['created', `${actor.created_at} (${age(actor.created_at)} ago)`],
    ['changed', `${actor.updated_at} (${age(actor.updated_at)} ago)`],
    ['invokes', invokes(actor).map(invokeText).join('\n') || undefined],
    ['machines', below.map(machineText).join('\n') || undefined],
    ['timers', actor.timers.map(timerText).join('\n') || undefined],
    ['context', readable(actor.context)],
    ['output', status === 'done' ? readable(output) : undefined],
    ['error', error === null ? undefined : readable(error)],
  ];
}

function invokeText({ invokeId, startedSeq, retry }: ReturnType<typeof invokes>[number]): string {
  const since = `${invokeId}, started by #${startedSeq}`;
  if (!retry) return since;
  const { steps } = retry;
  const done = steps ? `, steps done: ${Object.keys(steps).join(', ')}` : '';
  if (!retry.error) return since + done;
  return `${since}${done}, attempt ${retry.attempt} ${due(retry.nextAt)} after ${readable(reasonText(retry.error))}`;
}

const machineText = ({ id, status, state, seq }: ActorSummary): string =>
  `${id}, ${status === 'active' ? '' : `${status} `}in ${stateText(state)}, at #${seq}`;

function pausedText({ type, id, paused_at: since, parked }: ActorDetail) {
  if (since === null) return undefined;
  const waits = parked ? `; ${parked.messages} messages wait` : '';
  return `for ${age(since)}${waits}; perdure resume ${type} ${id}`;
}

function quarantineText({ type, id, crashes, quarantined_at: since }: ActorDetail) {
  if (since === null) return undefined;
  return `for ${age(since)}: ${crashes} nodes died in a row while something ran for it; perdure quarantine release ${type} ${id}`;
}

function parkedText({ messages, since }: ParkedFor): string {
  return `${messages} ${messages === 1 ? 'message waits' : 'messages wait'} for a node that can open it, for ${age(since)}; perdure ls --parked`;
}

function timerText({ timer_id, fire_at }: ActorDetail['timers'][number]): string {
  return `${timer_id} ${due(Date.parse(fire_at))} (${fire_at})`;
}

function due(at: number): string {
  const left = at - Date.now();
  return left > 0 ? `in ${duration(left)}` : `due since ${duration(-left)}`;
}

/** Dates, maps and the like as what they are; strings with their control characters escaped. */
function readable(stored: unknown): string {
  if (isWrappedValue(stored)) return 'recorded through a codec: --codec FILE opens it';
  const value = parse(JSON.stringify(stored) ?? 'null');
  return inspect(value, {
    depth: 10,
    maxArrayLength: 200,
    maxStringLength: 10_000,
    breakLength: 80,
  });
}
