import type { AnyStateMachine, InputFrom } from 'xstate';
import type { SearchableWrite } from '../store/elsewhere.ts';
import type { Address } from '../store/store.ts';
import { refuse } from './refusals.ts';

/** Values an actor can be found by. */
type Findable = string | number | boolean | null | undefined;

type FieldsOf<Input> = Input extends object
  ? { [K in keyof Input & string]-?: Input[K] extends Findable ? K : never }[keyof Input & string]
  : never;

/** A top-level field of the machine's input with a text, a number or a boolean in it; any name where the input has no type. */
export type SearchableField<M extends AnyStateMachine> =
  unknown extends InputFrom<M> ? string : FieldsOf<InputFrom<M>>;

/** Each is a row for each actor. */
const FIELDS_MAX = 8;
/** Longer texts are written by people for people, and nobody types them to find something. */
const VALUE_MAX = 256;
/** What can stand in a URL and on a command line before an equals sign. */
const NAME = /^[A-Za-z_$][A-Za-z0-9_$-]{0,63}$/;

/** @throws PerdureError `bad_definition` */
export function checkSearchable(name: string, fields: unknown): readonly string[] {
  if (fields === undefined) return [];
  if (!Array.isArray(fields))
    refuse(name, 'searchable', 'it is no list', "Write searchable: ['customerId'].");
  for (const field of fields as unknown[]) {
    if (typeof field !== 'string' || !NAME.test(field))
      refuse(
        name,
        'searchable',
        `${JSON.stringify(field)} cannot name a field`,
        'Name fields at the top of the input: a letter, _ or $, then up to 63 letters, digits, _, $ or -; what lies deeper must be copied there by whoever starts the actor.',
      );
  }
  const names = fields as string[];
  if (new Set(names).size < names.length)
    refuse(name, 'searchable', 'a field is named twice', 'Name each once.');
  if (names.length > FIELDS_MAX)
    refuse(
      name,
      'searchable',
      `${names.length} fields are too many`,
      `Mark at most ${FIELDS_MAX}: each is one more row for each actor.`,
    );
  return Object.freeze([...names]);
}

/**
 * What an actor is found by. What is no text, number or boolean, is empty or is too long, is left out: nobody's work is
 * refused because it could not be found by one of its fields.
 */
export function searchableIn(
  fields: readonly string[],
  { type, id }: Address,
  input: unknown,
): SearchableWrite[] {
  if (typeof input !== 'object' || input === null) return [];
  const found: SearchableWrite[] = [];
  for (const field of fields) {
    const given = Object.hasOwn(input, field) ? (input as Record<string, unknown>)[field] : null;
    if (!['string', 'number', 'boolean'].includes(typeof given)) continue;
    const value = String(given);
    if (value !== '' && value.length <= VALUE_MAX) found.push({ type, id, field, value });
  }
  return found;
}
