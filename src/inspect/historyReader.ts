import { isDeepStrictEqual } from 'node:util';
import { asError, PerdureError } from '../errors.ts';
import {
  type ActorLine,
  FORMAT,
  fingerprint,
  type Head,
  type HistoryLine,
  type TransitionLine,
} from './historyFile.ts';

/**
 * The lines of an exported history, each checked for what its place in the file must be. `name` is what errors call it.
 * @throws PerdureError `bad_options` with the number of the first line that is wrong
 */
export async function* readHistoryFile(
  name: string,
  lines: AsyncIterable<string>,
): AsyncGenerator<HistoryLine> {
  const place = new Place();
  let number = 0;
  for await (const text of lines) {
    number++;
    if (text.trim() === '') continue;
    let line: HistoryLine;
    try {
      line = parsed(text);
      place.take(line);
    } catch (thrown) {
      throw damaged(`${name}, line ${number}: ${asError(thrown).message}`);
    }
    yield line;
  }
  if (!place.isWhole) throw damaged(`${name} ends with line ${number}, in the middle: ${CUT}`);
}

const CUT = 'the line of kind end is missing. Export the actor again.';

const damaged = (problem: string) => new PerdureError('bad_options', problem);

function parsed(text: string): HistoryLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is not JSON: ${asError(error).message}.`);
  }
  if (typeof value === 'object' && value !== null && 'kind' in value) return value as HistoryLine;
  throw new Error('it is no object with a kind.');
}

/** Types of what is needed of each kind; more may be there. */
const FIELDS: Record<HistoryLine['kind'], Record<string, string>> = {
  'perdure.history': { format: 'number', type: 'string', id: 'string' },
  machine: { type: 'string', version: 'string', fingerprint: 'string' },
  actor: { type: 'string', id: 'string', version: 'string', seq: 'number' },
  transition: {
    ...{ seq: 'number', event_type: 'string', event: 'object', origin: 'string', at: 'string' },
    ...{ edges: 'array', actions: 'number', snapshot: 'object' },
  },
  end: { actors: 'number', transitions: 'number' },
};

/** Where in the file we are. */
class Place {
  #head: Head | undefined;
  #actor: ActorLine | undefined;
  #seq = 0;
  /** Where the transition before has led to. */
  #state: unknown = null;
  #actors = 0;
  #transitions = 0;
  isWhole = false;

  /** @throws Error what is wrong with it */
  take(line: HistoryLine): void {
    const fields = Object.hasOwn(FIELDS, line.kind) ? FIELDS[line.kind] : undefined;
    if (!fields)
      throw new Error(`nothing is known of a line of kind ${JSON.stringify(line.kind)}.`);
    for (const [field, type] of Object.entries(fields)) {
      const value = (line as unknown as Record<string, unknown>)[field];
      const found = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
      if (found !== type)
        throw new Error(`${field} of a line of kind ${line.kind} must be of type ${type}.`);
    }
    if (this.isWhole) throw new Error('nothing may follow the line of kind end.');
    if (line.kind === 'perdure.history') return this.#begin(line);
    if (!this.#head)
      throw new Error('an exported history begins with a line of kind perdure.history.');
    if (line.kind === 'actor') this.#next(line);
    if (line.kind === 'transition') this.#step(line);
    if (
      line.kind === 'machine' &&
      fingerprint(JSON.stringify(line.definition)) !== line.fingerprint
    )
      throw new Error(
        `the definition of ${line.type} version ${line.version} is not the one its fingerprint is of.`,
      );
    if (line.kind !== 'end') return;
    this.#ended();
    if (line.actors !== this.#actors || line.transitions !== this.#transitions)
      throw new Error(
        `${line.transitions} transitions of ${line.actors} actors were exported, and ${this.#transitions} of ${this.#actors} are here.`,
      );
    this.isWhole = true;
  }

  #begin(head: Head): void {
    if (this.#head) throw new Error('a second line of kind perdure.history.');
    if (head.format !== FORMAT)
      throw new Error(`the file is of format ${head.format}; this perdure reads ${FORMAT}.`);
    this.#head = head;
  }

  #next(actor: ActorLine): void {
    this.#ended();
    this.#actor = actor;
    this.#seq = 0;
    this.#state = null;
    this.#actors++;
  }

  #step({ seq, event_type, event, from_state, to_state }: TransitionLine): void {
    if (!this.#actor) throw new Error('a transition before the line of its actor.');
    if (seq !== this.#seq + 1)
      throw new Error(`transition ${this.#seq + 1} must be here, and it is ${seq}.`);
    const { type } = event as { type?: unknown };
    if (typeof type === 'string' && type !== event_type)
      throw new Error(
        `event_type of transition ${seq} is ${event_type}, and its event is ${type}.`,
      );
    if (!isDeepStrictEqual(from_state, this.#state))
      throw new Error(
        `transition ${seq} begins in ${JSON.stringify(from_state)}, and the one before has led to ${JSON.stringify(this.#state)}.`,
      );
    this.#state = to_state;
    this.#seq = seq;
    this.#transitions++;
  }

  /** All of the actor before has been here. */
  #ended(): void {
    const actor = this.#actor;
    if (actor && actor.seq !== this.#seq)
      throw new Error(
        `transitions of ${actor.type}/${actor.id} end with ${this.#seq}; there must be ${actor.seq}.`,
      );
    if (actor && !isDeepStrictEqual(actor.state, this.#state))
      throw new Error(
        `${actor.type}/${actor.id} is said to be in ${JSON.stringify(actor.state)}, and its last transition has led to ${JSON.stringify(this.#state)}.`,
      );
  }
}
