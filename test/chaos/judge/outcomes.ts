import { isDeepStrictEqual } from 'node:util';
import type { Envelope } from '../../../src/actors/envelope.ts';
import { addressKey } from '../../../src/store/store.ts';
import type { History } from '../../support/history.ts';
import type { Accepted, AcceptedEvent } from '../load/load.ts';
import { type Expectation, expectationOf, tallyOf } from '../load/model.ts';
import { type Program, PURSE_START, PURSES } from '../load/program.ts';
import type { PurseContext } from '../load/purse.ts';
import type { Complaints } from './complaints.ts';

type Row = History['actors'][number];

export interface Sums {
  finished: number;
  /** Money in all purses, and what must be there. */
  held: number;
  owed: number;
  /** Payments that have left a purse. */
  transfers: number;
}

/** What was accepted against what is there: the model says how each job must end (1), and what the purses hold. */
export function judgeOutcomes(
  history: History,
  accepted: Accepted,
  programs: readonly Program[],
  quiescent: boolean,
  complaints: Complaints,
): Sums {
  const events = groupEvents(accepted.events);
  const payments = judgeJobs(history, accepted, events, programs, complaints);
  judgeStrangers(history, accepted, complaints);
  const purses = new Map(
    history.actors.filter(({ type }) => type === 'purse').map((row) => [row.id, contextOf(row)]),
  );
  if (quiescent) judgePurses(purses, accepted, events, payments, complaints);
  return {
    finished: history.actors.filter(({ status }) => status !== 'active').length,
    held: heldBy(purses),
    owed: purses.size * PURSE_START,
    transfers: [...purses.values()].reduce((sum, { paid }) => sum + paid, 0),
  };
}

/** Returns what the model says was paid. */
function judgeJobs(
  history: History,
  accepted: Accepted,
  events: ReadonlyMap<string, AcceptedEvent[]>,
  programs: readonly Program[],
  complaints: Complaints,
): Expectation['payments'] {
  const rows = new Map(history.actors.map((row) => [addressKey(row), row]));
  const byName = new Map(programs.map((program) => [program.name, program]));
  const causes = countOrigins(history);
  return accepted.jobs.flatMap((job) => {
    const name = addressKey(job);
    const row = rows.get(name);
    const program = byName.get(job.type);
    // One that is missing altogether is told by `judgeHistory`.
    if (!row || !program || !job.complete) return [];
    const gifts = (events.get(name) ?? []).map(({ amount }) => amount);
    const model = expectationOf(program, job.input, gifts);
    if (row.status === 'done') judgeEnd(name, row, model);
    else
      complaints.add(
        1,
        `${name} was accepted with all it needs and is ${row.status} in ${row.state}`,
      );
    return model.payments;
  });

  function judgeEnd(name: string, row: Row, model: Expectation): void {
    const output = outputOf(row);
    if (!isDeepStrictEqual(output, model.output))
      complaints.add(1, `${name} ended with ${text(output)}, the model says ${text(model.output)}`);
    const must = {
      start: 1,
      event: model.gifts,
      invoke: model.settled,
      timer: model.timers,
      actor: model.payments.length,
    };
    const is = { event: 0, invoke: 0, timer: 0, actor: 0, ...causes.get(name) };
    if (!isDeepStrictEqual(is, must))
      complaints.add(1, `${name} made transitions by ${text(is)}, the model says ${text(must)}`);
  }
}

/** Nothing is there that nobody asked for, and nothing that was asked for was turned away. */
function judgeStrangers(history: History, accepted: Accepted, complaints: Complaints): void {
  const asked = new Set([...accepted.jobs, ...accepted.unknown].map(addressKey));
  for (const row of history.actors)
    if (row.type !== 'purse' && !asked.has(addressKey(row)))
      complaints.add(7, `${addressKey(row)} is there and nobody asked for it`);
  for (const { type, id, messageId, reason } of accepted.refused)
    complaints.add(1, `${type}/${id}: ${messageId} was refused: ${reason}`);
  for (const { subject, reason, messageId } of history.deadLetters)
    complaints.add(1, `${subject}: ${messageId} became a dead letter (${reason})`);
}

function judgePurses(
  purses: ReadonlyMap<string, PurseContext>,
  accepted: Accepted,
  events: ReadonlyMap<string, AcceptedEvent[]>,
  payments: Expectation['payments'],
  complaints: Complaints,
): void {
  const [held, owed] = [heldBy(purses), PURSES * PURSE_START];
  if (held !== owed) complaints.add(2, `the purses hold ${held}, at first they held ${owed}`);
  const unknown = new Set(accepted.unknown.map(addressKey));
  // Nobody can say what jobs have paid that may be there or not.
  const certain = unknown.size === 0 && accepted.jobs.every(({ complete }) => complete);
  const balances = new Map<string, number>();
  const move = (id: string, amount: number) =>
    balances.set(id, (balances.get(id) ?? PURSE_START) + amount);
  for (const { from, to, amount } of payments) {
    move(from, -amount);
    move(to, amount);
  }
  for (const [id, { balance, tallies, tally }] of purses) {
    const name = `purse/${id}`;
    const must = balances.get(id) ?? PURSE_START;
    if (certain && balance !== must)
      complaints.add(1, `${name} holds ${balance}, the model says ${must}`);
    if (unknown.has(name)) continue;
    const amounts = (events.get(name) ?? []).map(({ amount }) => amount);
    const inOrder = tallyOf(amounts);
    if (tallies !== amounts.length)
      complaints.add(1, `${name} has ${tallies} tallies, it was sent ${amounts.length}`);
    else if (tally !== inOrder)
      complaints.add(12, `${name} has the tally ${tally}, in order it is ${inOrder}`);
  }
}

const heldBy = (purses: ReadonlyMap<string, PurseContext>): number =>
  [...purses.values()].reduce((sum, { balance }) => sum + balance, 0);

const text = (value: unknown): string => JSON.stringify(value) ?? 'nothing';

const snapshotOf = (row: Row) =>
  (JSON.parse(row.snapshot) as Envelope).snapshot as { context?: unknown; output?: unknown };
export const outputOf = (row: Row): unknown => snapshotOf(row).output;
const contextOf = (row: Row) => snapshotOf(row).context as PurseContext;

/** How many transitions of each origin an actor has. */
function countOrigins(history: History): Map<string, Record<string, number>> {
  const counts = new Map<string, Record<string, number>>();
  for (const transition of history.transitions) {
    const key = addressKey(transition);
    const count = counts.get(key) ?? {};
    counts.set(key, count);
    count[transition.origin] = (count[transition.origin] ?? 0) + 1;
  }
  return counts;
}

/** In the order in which they were sent. */
function groupEvents(events: readonly AcceptedEvent[]): Map<string, AcceptedEvent[]> {
  const groups = new Map<string, AcceptedEvent[]>();
  for (const event of [...events].sort((a, b) => a.srcSeq - b.srcSeq)) {
    const group = groups.get(addressKey(event));
    if (group) group.push(event);
    else groups.set(addressKey(event), [event]);
  }
  return groups;
}
