import { createActor, type EventObject } from 'xstate';
import { lowerActions } from '../src/actors/lower.ts';
import { transition } from '../src/actors/microstep.ts';
import { createStepScope } from '../src/actors/scope.ts';
import { firstStep, type Live, nextStep, systemIds } from '../src/actors/step.ts';
import { LIMITS } from '../src/config.ts';
import { type ActorType, defineActor } from '../src/index.ts';
import { type Course, courses } from './stepMachines.ts';

/**
 * What a step costs beside `actor.send` of XState: the same machines and events in one process, turn about, so that a
 * machine that is slow for a while is slow for all. Alone: `node bench/step.ts`; `--max 2` exits with 1 when the pure part
 * takes more than twice as much as XState.
 */
export interface StepCost {
  machine: string;
  /** CPU of one event under XState, µs. */
  plainUs: number;
  /** What the step takes beside it, medians over the rounds: without its row's texts, and with them. */
  pure: number;
  written: number;
}

type Run = (events: number) => void;

const ADDRESS = { type: 'bench', id: 'one' };

export function stepCosts(rounds = 30, events = 2_000): StepCost[] {
  return courses.map((course) => {
    const type = defineActor('bench', { machine: course.machine });
    const runs = [plain(course), pure(course, type), written(course, type)];
    for (const run of runs) run(events * 3);
    const taken = Array.from({ length: rounds }, (_, round) => {
      const us: number[] = [];
      // Nobody always comes after the same one: each leaves its garbage to the next.
      for (let n = 0; n < runs.length; n++) {
        const at = (n + round) % runs.length;
        us[at] = cpuUs(() => runs[at]?.(events)) / events;
      }
      return us as [number, number, number];
    });
    return {
      machine: course.name,
      plainUs: median(taken.map(([plainUs]) => plainUs)),
      pure: median(taken.map(([plainUs, pureUs]) => pureUs / plainUs)),
      written: median(taken.map(([plainUs, , writtenUs]) => writtenUs / plainUs)),
    };
  });
}

function plain({ machine, events }: Course): Run {
  const actor = createActor(machine).start();
  let at = 0;
  return (count) => {
    for (let n = 0; n < count; n++) actor.send(events[at++ % events.length] as EventObject);
  };
}

/** What `nextStep` does but for its texts. */
function pure({ events }: Course, type: ActorType): Run {
  const scope = createStepScope(ADDRESS);
  let { live } = firstStep(type, ADDRESS, scope, undefined, LIMITS);
  let at = 0;
  return (count) => {
    for (let n = 0; n < count; n++) live = advance(events[at++ % events.length] as EventObject);
  };

  function advance(event: EventObject): Live {
    scope.begin(live.book, systemIds(live.snapshot));
    const snapshot = transition(type.machine, live.snapshot, event, scope);
    const { actions, book } = scope.collected;
    const seq = live.seq + 1;
    const { started, timers, machines } = lowerActions(
      {
        address: ADDRESS,
        seq,
        before: live,
        previous: live.snapshot,
        snapshot,
        self: scope.self,
        limits: LIMITS,
      },
      actions,
    );
    return { snapshot, seq, book, started, timers, machines, path: [], envelope: '' };
  }
}

function written({ events }: Course, type: ActorType): Run {
  const scope = createStepScope(ADDRESS);
  let { live } = firstStep(type, ADDRESS, scope, undefined, LIMITS);
  let at = 0;
  return (count) => {
    for (let n = 0; n < count; n++) {
      const event = events[at++ % events.length] as EventObject;
      ({ live } = nextStep(type, ADDRESS, scope, live, { event, origin: 'event' }, LIMITS));
    }
  };
}

function cpuUs(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

export const costLine = ({ machine, plainUs, pure, written }: StepCost): string =>
  `step, ${machine.padEnd(18)} ${pure.toFixed(2)} × actor.send (${plainUs.toFixed(1)} µs), with its row's texts ${written.toFixed(2)} ×`;

if (import.meta.main) {
  const max = process.argv[2] === '--max' ? Number(process.argv[3]) : Infinity;
  const costs = stepCosts();
  for (const cost of costs) console.log(costLine(cost));
  const over = costs.filter(({ pure }) => pure > max);
  if (over.length > 0) {
    console.error(`More than ${max} × actor.send: ${over.map((cost) => cost.machine).join('; ')}.`);
    process.exitCode = 1;
  }
}
