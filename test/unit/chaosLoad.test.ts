import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type AnyActorRef, createActor, fromPromise, SimulatedClock } from 'xstate';
import { type Fault, judgeFacts, type RunEvidence } from '../chaos/invariants.ts';
import { type Facts, readFacts } from '../chaos/judge/facts.ts';
import { atRest, createLoad } from '../chaos/load/load.ts';
import { flowMachine } from '../chaos/load/machine.ts';
import { expectationOf } from '../chaos/load/model.ts';
import {
  type JobInput,
  MODULUS,
  PURSE_START,
  PURSES,
  programsOf,
  REGISTERS,
  workResult,
} from '../chaos/load/program.ts';
import { type PurseContext, purseMachine } from '../chaos/load/purse.ts';
import type { WorkInput } from '../chaos/load/work.ts';
import { Journal, randomFrom, until } from '../support/cluster.ts';
import { useWorld } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { seed } from '../support/services.ts';

type InvokeLine = Extract<JournalLine, { kind: 'invoke' }>;

const base = seed();

test('the same seed makes the same programs, another one others', () => {
  expect(programsOf(base)).toEqual(programsOf(base));
  expect(programsOf(base)).not.toEqual(programsOf(base + 1));
});

test('60 seeds have every kind of op, and every kind of work', () => {
  const seen = new Set<string>();
  for (let n = 0; n < 60; n++)
    JSON.stringify(programsOf(base + n), (key, value) => {
      if (key === 'op' || key === 'kind') seen.add(value);
      return value;
    });
  expect([...seen].sort()).toEqual([
    'abandon',
    'choose',
    'compute',
    'doomed',
    'flaky',
    'note',
    'pay',
    'raise',
    'receive',
    'repeat',
    'rest',
    'stuck',
    'together',
    'work',
  ]);
});

/** All jobs and purses of a seed under plain XState, in one world of their own. */
async function runPlain(number: number) {
  const random = randomFrom(number ^ 0x91a1);
  const whole = (below: number) => Math.floor(random() * below);
  const clock = new SimulatedClock();
  const actors = new Map<string, AnyActorRef>();
  const find = (type: string, id: string) => actors.get(`${type}/${id}`) as AnyActorRef;
  const quiet = { note: () => {} };
  const never = fromPromise<number, WorkInput>(() => new Promise(() => {}));
  const fails = fromPromise<number, WorkInput>(() => Promise.reject(new Error('as it must')));
  const works = fromPromise<number, WorkInput>(async ({ input }) =>
    workResult(input.value, input.salt),
  );
  const implementations = {
    actions: quiet,
    actors: { work: works, flaky: works, doomed: fails, stuck: fails, endless: never },
  };
  for (let n = 0; n < PURSES; n++) {
    const actor = createActor(purseMachine(find).provide({ actions: quiet }), {
      id: `p${n}`,
      clock,
    });
    actors.set(`purse/p${n}`, actor.start());
  }
  const jobs = programsOf(number).flatMap((program) =>
    [0, 1].map((copy) => {
      const input: JobInput = {
        regs: Array.from({ length: REGISTERS }, () => whole(MODULUS)),
        from: `p${whole(PURSES)}`,
        to: `p${whole(PURSES)}`,
      };
      const gifts = Array.from({ length: program.gifts }, () => whole(1_000));
      const id = `${program.name}-${copy}`;
      const machine = flowMachine(program, find).provide(implementations as never);
      const actor = createActor(machine, { id, input, clock });
      actors.set(`${program.name}/${id}`, actor);
      return { program, input, gifts, actor };
    }),
  );
  for (const { actor } of jobs) actor.start();
  const left = jobs.flatMap(({ gifts, actor }) => gifts.map((amount) => ({ actor, amount })));
  for (let round = 0; round < 300; round++) {
    // Gifts come whenever they come; those of one job in their order.
    for (let given = 0; given < 2 && left.length > 0; given++) {
      const next = left[whole(left.length)] as (typeof left)[number];
      const first = left.findIndex(({ actor }) => actor === next.actor);
      const [gift] = left.splice(first, 1);
      gift?.actor.send({ type: 'GIVE', amount: gift.amount });
    }
    await new Promise(setImmediate);
    clock.increment(whole(1_500));
    if (left.length === 0 && jobs.every(({ actor }) => actor.getSnapshot().status !== 'active'))
      break;
  }
  return { jobs, actors };
}

test('the model and plain XState agree', { timeout: 60_000 }, async () => {
  for (let n = 0; n < 60; n++) {
    const { jobs, actors } = await runPlain(base + n);
    const balances = new Map<string, number>();
    for (const { program, input, gifts, actor } of jobs) {
      const model = expectationOf(program, input, gifts);
      const { status, output, value } = actor.getSnapshot();
      const told = `seed ${base + n}, ${actor.id} in ${JSON.stringify(value)}`;
      expect({ told, status, output }).toEqual({ told, status: 'done', output: model.output });
      expect(model.finished).toBe(true);
      for (const { from, to, amount } of model.payments) {
        balances.set(from, (balances.get(from) ?? PURSE_START) - amount);
        balances.set(to, (balances.get(to) ?? PURSE_START) + amount);
      }
    }
    for (const [id, balance] of balances) {
      const { context } = (actors.get(`purse/${id}`) as AnyActorRef).getSnapshot() as {
        context: PurseContext;
      };
      expect(context.balance).toBe(balance);
    }
  }
});

describe('the judge', () => {
  // Fixed, so that there is always something of each kind to damage.
  const SEED = 3;
  const JOBS = 25;
  const world = useWorld();
  let facts: Facts;
  let evidence: RunEvidence;

  beforeAll(async () => {
    const env = { PERDURE_CHAOS_SEED: `${SEED}` };
    await world.spawn({}, env, join(import.meta.dirname, '../chaos/load/actors.ts'));
    const load = await createLoad({ ...world, seed: SEED });
    load.start(20);
    const count = async () => {
      const [row] = await world.sql.query<{ n: number }>('SELECT count(*)::int AS n FROM actor');
      return row?.n ?? 0;
    };
    await until('jobs are there', async () => (await count()) >= PURSES + JOBS, 30_000);
    const accepted = await load.stop();
    await until('rest', async () => (await atRest(world.sql, accepted)).done, 40_000);
    const journal = new Journal<JournalLine>(join(world.dir, 'journal.jsonl')).read();
    evidence = { load, accepted, journal, faults: [], quiescent: true };
    facts = await readFacts(world);
  });

  test('a real run is sound', () => {
    const { violations, table } = judgeFacts(facts, evidence);
    expect(violations).toEqual([]);
    expect(table['jobs finished']).toBe(evidence.accepted.jobs.length);
    expect(evidence.accepted.jobs.length).toBeGreaterThanOrEqual(JOBS);
  });

  type Plant = (facts: Facts, evidence: RunEvidence) => void;

  function judged(plant: Plant, faults: Fault[] = []): string {
    const { load, ...rest } = evidence;
    const [copy, given] = structuredClone([facts, rest] as const);
    const planted = { ...given, load, faults };
    plant(copy, planted);
    return judgeFacts(copy, planted).violations.join('\n');
  }

  const some = <T>(items: readonly T[], fits: (item: T) => boolean = () => true): T => {
    const found = items.find(fits);
    if (found === undefined) throw new Error('nothing to damage');
    return found;
  };
  const start = (journal: JournalLine[]) =>
    some(journal, (line) => line.kind === 'invoke' && line.phase === 'start') as InvokeLine;
  /** Lets everything the actor does from this transition on happen later. */
  const delay = (copy: Facts, origin: string, ms: number) => {
    const first = some(
      copy.history.transitions,
      (row) => row.origin === origin && row.type !== 'purse',
    );
    for (const row of copy.history.transitions)
      if (row.type === first.type && row.id === first.id && row.seq >= first.seq) row.at += ms;
    return first;
  };

  const plants: Record<string, [Plant, RegExp]> = {
    'a job that ends otherwise than the model says': [
      (_, { accepted }) => {
        const { input } = some(accepted.jobs);
        input.regs = input.regs.map((value) => value + 1);
      },
      /^1 no loss: flow.* ended with .* the model says/m,
    ],
    'a gift that was applied and never sent': [
      (_, { accepted }) => {
        accepted.events.splice(
          accepted.events.indexOf(some(accepted.events, ({ type }) => type !== 'purse')),
          1,
        );
      },
      /^1 no loss: flow.* ended with/m,
    ],
    'a gift that makes no transition': [
      (copy) => {
        const gift = some(copy.history.transitions, ({ eventType }) => eventType === 'GIVE');
        gift.origin = 'self';
      },
      /^1 no loss: flow.* made transitions by/m,
    ],
    'a job that never ends': [
      (copy) => {
        some(copy.history.actors, ({ type }) => type !== 'purse').status = 'active';
      },
      /^1 no loss: flow.* was accepted with all it needs and is active/m,
    ],
    'a publish that was refused': [
      (_, { accepted }) => {
        accepted.refused.push({ type: 'flow0', id: 'x', messageId: 'x', reason: 'actor_exists' });
      },
      /^1 no loss: flow0\/x: x was refused/m,
    ],
    'a dead letter': [
      (copy) => {
        copy.history.deadLetters.push({
          subject: 's',
          reason: 'bad_body',
          messageId: 'm',
          headers: {},
        });
      },
      /^1 no loss: s: m became a dead letter/m,
    ],
    'a tally that is not counted': [
      (_, { accepted }) => {
        accepted.events.push({
          type: 'purse',
          id: 'p0',
          eventId: 'x',
          amount: 1,
          srcSeq: 999,
          ackedAt: 0,
        });
      },
      /^1 no loss: purse\/p0 has \d+ tallies/m,
    ],
    'money that is made': [
      (copy) => {
        const purse = some(copy.history.actors, ({ type }) => type === 'purse');
        purse.snapshot = purse.snapshot.replace(/"balance":/, '"balance":1');
      },
      /^2 no duplicate: the purses hold/m,
    ],
    'an actor nobody asked for': [
      (_, { accepted }) => {
        accepted.jobs.pop();
      },
      /^7 no invention: flow.* nobody asked for it/m,
    ],
    'a commit that was told and is not there': [
      (_, { accepted }) => {
        some(accepted.committed).messageId = 'another';
      },
      /^8 read your commit: .* is not there/m,
    ],
    'a commit that was told and stands elsewhere': [
      (_, { accepted }) => {
        const receipt = some(accepted.committed, ({ seq }) => seq !== undefined);
        receipt.seq = (receipt.seq ?? 0) + 1;
      },
      /^8 read your commit: .* was told to be committed as/m,
    ],
    'a message that left without a commit': [
      (copy) => {
        copy.messages.push({ ...some(copy.messages), outboxId: 'purse/p0/99999/0' });
      },
      /^9 outbox causality: purse\/p0\/99999\/0 stands in the log/m,
    ],
    'a message that left with two texts': [
      (copy) => {
        copy.messages.push({ ...some(copy.messages), body: '{}' });
      },
      /^9 outbox causality: .* with two texts/m,
    ],
    'an outbox row without a transition': [
      (copy) => {
        copy.history.outbox.push({ messageId: 'flow0/none/1/0', kind: 'send' });
      },
      /^9 outbox causality: flow0\/none\/1\/0 is in the outbox, and/m,
    ],
    'an outcome without a commit': [
      (copy) => {
        copy.outcomes.push({ ...some(copy.outcomes), seq: 999 });
      },
      /^9 outbox causality: .* was published and not committed/m,
    ],
    'an outcome that says something else': [
      (copy) => {
        some(copy.outcomes).output = { given: -1 };
      },
      /^9 outbox causality: .* is not the output that was committed/m,
    ],
    'a key with two results': [
      (_, { journal }) => {
        const end = some(journal, (line) => line.kind === 'invoke' && line.phase === 'end');
        journal.push({ ...end, result: -1 } as JournalLine);
      },
      /^10 effects once for each key: .* and then -1/m,
    ],
    'a run that is repeated for no reason': [
      (_, { journal }) => {
        journal.push({ ...start(journal), at: start(journal).at + 50 });
      },
      /^10 effects once for each key: .* no fault was near/m,
    ],
    'an attempt that is not the first': [
      (_, { journal }) => {
        start(journal).attempt = 3;
      },
      /^10 effects once for each key: .* (ran first as attempt 3|as attempt 3 on)/m,
    ],
    'a timer that fires late': [
      (copy) => void delay(copy, 'timer', 40_000),
      /^11 timers: .* fired late/m,
    ],
    'a timer that does not fire': [
      (copy) => {
        const { type, id } = some(copy.history.actors);
        copy.history.timers.push({
          type,
          id,
          timerId: 't',
          armedSeq: 1,
          fireAt: copy.readAt - 40_000,
        });
      },
      /^11 timers: .* has not fired/m,
    ],
    'an event that overtakes another': [
      (copy) => {
        const second = some(copy.history.transitions, ({ event }) => /"srcSeq":2\b/.test(event));
        second.event = second.event.replace('"srcSeq":2', '"srcSeq":1');
      },
      /^12 first in, first out: load → .* number 1 was applied after 1/m,
    ],
    'tallies in another order': [
      (_, { accepted }) => {
        const tally = ({ type }: { type: string }) => type === 'purse';
        const second = some(accepted.events, (event) => tally(event) && event.srcSeq === 2);
        const first = some(accepted.events, (event) => tally(event) && event.id === second.id);
        [first.srcSeq, second.srcSeq] = [second.srcSeq, first.srcSeq];
      },
      /^12 first in, first out: purse\/p\d+ has the tally/m,
    ],
    'an actor that stands still although an event is there': [
      (copy) => void delay(copy, 'event', 40_000),
      /^13 bounded recovery: .* was due and waited/m,
    ],
    'an actor that stands still for ever': [
      (copy) => {
        some(copy.history.actors, ({ type }) => type !== 'purse').status = 'active';
        copy.readAt += 60_000;
      },
      /^13 bounded recovery: .* has stood still for/m,
    ],
    'a shard of a dead node': [
      (copy) => {
        some(copy.cluster.shards).live = false;
      },
      /^14 convergence: shard 0 belongs to .*, which is dead/m,
    ],
    'a shard of nobody': [
      (copy) => {
        some(copy.cluster.shards).owner = null;
      },
      /^14 convergence: nobody owns shard 0/m,
    ],
    'a message that was never acknowledged': [
      (copy) => {
        some(copy.cluster.consumers).unacked = 1;
      },
      /^14 convergence: .* 0 not delivered, 1 not acknowledged/m,
    ],
    'an actor in quarantine': [
      (copy) => {
        copy.cluster.quarantined.push({ type: 'flow0', id: 'j0' });
      },
      /^15 poison contained: flow0\/j0 is in quarantine/m,
    ],
    // Those of `judgeHistory` have tests of their own; here it is only the number that counts.
    'a gap in a log': [
      (copy) => {
        copy.history.transitions = copy.history.transitions.filter(
          ({ id, seq }) => id !== 'p0' || seq !== 1,
        );
      },
      /^3 dense log: purse\/p0/m,
    ],
    'a fork': [
      (copy) => {
        const row = some(copy.history.transitions, ({ seq, type }) => seq > 1 && type !== 'purse');
        row.snapshot = row.snapshot.replace('"paid":', '"paid":1');
      },
      /^4 no fork: .* the snapshot differs/m,
    ],
    'a run before its commit': [
      (_, { journal }) => {
        start(journal).committed = false;
      },
      /^10 effects once for each key: .* ran before its transition could be seen/m,
    ],
  };

  test.each(Object.keys(plants))('sees %s', (name) => {
    const [plant, complaint] = plants[name] as [Plant, RegExp];
    expect(judged(plant)).toMatch(complaint);
  });

  test('a fault excuses what happens near it, and no longer', () => {
    const { journal } = evidence;
    const { at } = start(structuredClone(journal));
    const again: Plant = (_, { journal: lines }) =>
      void lines.push({ ...start(lines), at: start(lines).at + 50 });
    const fault = (fromMs: number): Fault => ({
      kind: 'kill',
      node: 'n1',
      fromMs,
      untilMs: fromMs + 1_000,
    });
    expect(judged(again, [fault(at + 10)])).toBe('');
    expect(judged(again, [fault(at - 20_000)])).toBe('');
    expect(judged(again, [fault(at - 22_000)])).toMatch(/^10 /m);
    const slow: Plant = (copy) => void delay(copy, 'timer', 40_000);
    const { at: late } = delay(structuredClone(facts), 'timer', 0);
    expect(judged(slow, [fault(late)])).not.toMatch(/^1[13] /m);
    expect(judged(slow, [fault(late - 60_000)])).toMatch(/^11 /m);
  });
});
