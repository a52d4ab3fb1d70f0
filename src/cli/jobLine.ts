import { createHash } from 'node:crypto';
import { parse, stringify } from '../actors/codec.ts';
import { TOKEN } from '../bus/subjects.ts';
import { LIMITS } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';

/** A job, as one line of a file says it. */
export interface Job {
  type: string;
  id: string;
  input: unknown;
  /** Made of all three, so that the same line always asks the same thing. */
  messageId: string;
}

const FIELDS = ['type', 'id', 'input'];

/**
 * Reads one line `{"type"?, "id", "input"?}`.
 * @throws PerdureError `bad_body`, `bad_subject`, `not_serialisable` saying what is wrong with it
 */
export function readJobLine(line: string, defaultType: string | undefined): Job {
  let value: unknown;
  try {
    value = parse(line);
  } catch (error) {
    throw new PerdureError('bad_body', `not JSON: ${asError(error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PerdureError('bad_body', 'not an object such as {"id":"o-1","input":{}}');
  const unknown = Object.keys(value).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined)
    throw new PerdureError(
      'bad_body',
      `unknown field ${JSON.stringify(unknown)}; a line has type, id and input`,
    );
  const { type = defaultType, id, input } = value as Record<string, unknown>;
  if (type === undefined)
    throw new PerdureError('bad_body', 'no type: give one in the line, or as TYPE for all');
  const job = { type: named('type', type), id: named('id', id), input };
  const body = stringify(input, 'input', LIMITS.nestingMax);
  return { ...job, messageId: idOf(job.type, job.id, body) };
}

function named(field: string, value: unknown): string {
  if (typeof value === 'string' && TOKEN.test(value)) return value;
  throw new PerdureError(
    'bad_subject',
    `${field} ${value === undefined ? 'is missing' : JSON.stringify(value)}; use 1 to 128 of A-Z a-z 0-9 _ and -`,
  );
}

/** Types and ids hold no slash, so three parts never read as three others. */
function idOf(type: string, id: string, body: string): string {
  const hash = createHash('sha256').update(`${type}/${id}/${body}`).digest('base64url');
  return `job-${hash}`;
}
