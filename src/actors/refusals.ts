import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { LIMITS } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import { encode } from './codec.ts';
import { childrenOf, type StateNodeOf } from './states.ts';

/** What is wrong with a machine that could not survive a crash: where, what, and what to do. */
export function refuse(name: string, place: string, problem: string, cure: string): never {
  throw new PerdureError('bad_definition', `Actor type ${name}, ${place}: ${problem}. ${cure}`);
}

/** What a state says of itself that no row can hold, or that is somebody else's. @throws PerdureError `bad_definition` */
export function checkState(name: string, node: StateNodeOf): void {
  const place = `state #${node.id}`;
  for (const event of Object.keys((node.config.on as object | undefined) ?? {})) {
    if (event.startsWith('perdure.'))
      refuse(
        name,
        place,
        `event ${JSON.stringify(event)} is Perdure's own`,
        'Call it something that does not begin with "perdure.".',
      );
    if (event.startsWith('xstate.') && !OF_CHILDREN.test(event))
      refuse(
        name,
        place,
        `event ${JSON.stringify(event)} is XState's own`,
        'Use after, onDone, entry or exit; of XState’s events only those of children (xstate.done.*, xstate.error.*, xstate.snapshot.*) may be handled by name.',
      );
  }
  for (const { id, input } of node.invoke)
    checkValue(name, place, `input of ${id}`, input, 'Give an input of plain data.');
  checkValue(name, place, 'output', node.output, 'Give an output of plain data.');
}

/** Events that tell of children; XState's own documentation has them handled by name. */
const OF_CHILDREN = /^xstate\.(?:done|error|snapshot)\./;

/** What stands in an action and can be seen without running it. @throws PerdureError `bad_definition` */
export function checkWrittenAction(name: string, place: string, action: unknown): void {
  if (typeof action !== 'function' || !('type' in action)) return;
  const { type, event, input } = action as { type?: unknown; event?: unknown; input?: unknown };
  if (type === 'xstate.raise' || type === 'xstate.sendTo') {
    checkValue(name, place, 'an event that is sent', event, 'Send plain data.');
    const sent = (event as { type?: unknown } | undefined)?.type;
    if (type === 'xstate.raise' && typeof sent === 'string' && sent.startsWith('perdure.'))
      refuse(
        name,
        place,
        `raises ${JSON.stringify(sent)}, which is Perdure's own`,
        'Call it something that does not begin with "perdure.".',
      );
  }
  if (type === 'xstate.spawnChild')
    checkValue(name, place, 'input of spawnChild', input, 'Give an input of plain data.');
  for (const written of functionsOf(action)) {
    const creator = IN_PLACE.exec(withoutComments(String(written)))?.[1];
    if (creator)
      refuse(
        name,
        place,
        `spawn is given logic in place (${creator}), which no other process could find again after a crash`,
        'Give the logic a name in setup({ actors }) and spawn it by that name.',
      );
  }
}

/**
 * As it is written, or as compilers write it: `(0, xstate_1.fromPromise)(…)`. Logic behind a variable of the function's own is found when it
 * is spawned.
 */
const IN_PLACE =
  /\bspawn(?:Child)?\(\s*(?:\(0,\s*)?(?:[\w$]+\.)?(from(?:Promise|Callback|Observable|EventObservable|Transition|Steps|Outcome|Ask|Transaction)|createMachine)\b/;

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/[^\n]*/g, ' ');

function functionsOf(action: object): unknown[] {
  const { assignment, collect } = action as { assignment?: unknown; collect?: unknown };
  const assigned =
    typeof assignment === 'object' && assignment !== null
      ? Object.values(assignment)
      : [assignment];
  return [...assigned, collect].filter((value) => typeof value === 'function');
}

function checkValue(name: string, place: string, what: string, value: unknown, cure: string): void {
  if (typeof value === 'function' || value === undefined) return;
  try {
    encode(value, what, LIMITS.nestingMax);
  } catch (error) {
    refuse(name, place, asError(error).message.replace(/\.$/, ''), cure);
  }
}

/** Children go by the ids of their invokes: two that can run at once would be one. @throws PerdureError `bad_definition` */
export function checkInvokeIds(name: string, machine: AnyStateMachine): void {
  const known = new Map<string, StateNodeOf[]>();
  const look = (node: StateNodeOf): void => {
    for (const { id } of node.invoke) {
      const others = known.get(id) ?? [];
      const other = others.find((one) => one === node || canBeActiveTogether(one, node));
      if (other)
        refuse(
          name,
          `state #${node.id}`,
          other === node
            ? `two invokes have the id ${JSON.stringify(id)}`
            : `the id ${JSON.stringify(id)} is that of an invoke of state #${other.id}, too, and both can run at once`,
          'Give each an id of its own: it is what results and messages go by.',
        );
      known.set(id, [...others, node]);
    }
    childrenOf(node).forEach(look);
  };
  look(machine.root as StateNodeOf);
}

/** One is in the other, or they are in different regions of a parallel state. */
function canBeActiveTogether(one: StateNodeOf, other: StateNodeOf): boolean {
  const above = new Set<StateNodeOf>();
  for (let at: StateNodeOf | undefined = one; at; at = at.parent as StateNodeOf | undefined)
    above.add(at);
  let shared: StateNodeOf = other;
  while (!above.has(shared)) shared = shared.parent as StateNodeOf;
  return shared === one || shared === other || shared.type === 'parallel';
}

/**
 * What stands in a snapshot and could not be seen beforehand: a child whose logic has no name. XState's production build would write
 * it, and never find it again.
 */
export function childInPlace(
  name: string,
  { children, value }: AnyMachineSnapshot,
): PerdureError | undefined {
  for (const id in children) {
    const child = children[id] as (AnyActorRef & { src: unknown }) | undefined;
    if (!child || typeof child.src === 'string') continue;
    return new PerdureError(
      'not_serialisable',
      `Actor type ${name}, on the way to state ${JSON.stringify(value)}: child ${child.id} was spawned with logic in place, which no other process could find again after a crash. Give the logic a name in setup({ actors }) and spawn it by that name.`,
    );
  }
  return undefined;
}
