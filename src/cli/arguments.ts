import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { parse } from '../actors/codec.ts';
import { isChildRow, rootOf } from '../actors/kin.ts';
import { TOKEN } from '../bus/subjects.ts';
import { asError, PerdureError } from '../errors.ts';

/** The name of a type or an id of an actor. */
export function token(text: string): string {
  if (TOKEN.test(text)) return text;
  throw new InvalidArgumentError('Use 1 to 128 of A-Z a-z 0-9 _ and -.');
}

/** The id of an actor, or of a machine of its family: `o-1.ship-3`. */
export function rowId(text: string): string {
  if (isRowId(text)) return text;
  throw new InvalidArgumentError(
    'Use an actor’s id (1 to 128 of A-Z a-z 0-9 _ and -), or one of its machines as show names it: o-1.ship-3.',
  );
}

/** The id of an actor. That of a machine inside of one is let through: what to say of it (`assertRoot`) needs the type. */
export const rootId = (text: string): string => (isRowId(text) ? text : token(text));

/** @throws PerdureError `bad_options` for a machine inside of an actor, which nobody outside of it can address */
export function assertRoot(type: string, id: string, can: string): void {
  const address = { type, id };
  if (!isChildRow(address)) return;
  const root = `${type}/${rootOf(address).id}`;
  throw new PerdureError(
    'bad_options',
    `${id} is a machine inside of ${root}: only ${root} can be ${can}.`,
  );
}

function isRowId(text: string): boolean {
  const [root = '', ...below] = text.split('.');
  return TOKEN.test(root) && below.every((part) => /^[\w:~-]+-\d+$/.test(part));
}

/** A whole number. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** `customerId=42`, as often as it is given. */
export function fieldAndValue(text: string, before: [string, string][] = []): [string, string][] {
  const [, field, value] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (field === undefined || value === undefined)
    throw new InvalidArgumentError('Write FIELD=VALUE, such as customerId=42.');
  if (before.some(([name]) => name === field))
    throw new InvalidArgumentError(`${field} is given twice.`);
  return [...before, [field, value]];
}

/** Seconds as milliseconds. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value <= 2_000_000) return Math.ceil(value * 1_000);
  throw new InvalidArgumentError('It must be a number of seconds above 0.');
}

/**
 * JSON given on the command line: the text itself, `@file`, or `-` for standard input. What the engine writes for
 * dates and the like ({"$perdure": …}) is understood.
 * @throws PerdureError `bad_options`
 */
export function jsonArgument(option: string, text: string): unknown {
  const source = text === '-' || text.startsWith('@') ? read(option, text) : text;
  try {
    return parse(source);
  } catch (error) {
    throw new PerdureError(
      'bad_options',
      `${option} is not JSON: ${asError(error).message}. Write it as '{"key": 1}', in single quotes for the shell.`,
    );
  }
}

function read(option: string, text: string): string {
  try {
    return readFileSync(text === '-' ? 0 : text.slice(1), 'utf8');
  } catch (error) {
    throw new PerdureError('bad_options', `${option} ${text}: ${asError(error).message}.`);
  }
}
