import type { IncomingMessage, ServerResponse } from 'node:http';
import { TOKEN } from '../bus/subjects.ts';
import { PerdureError } from '../errors.ts';
import type { Role } from './guard.ts';

/** What is known of a parameter, or of a field of a body: for who asks, and for the OpenAPI document. */
export interface Field {
  about: string;
  kind: 'text' | 'whole' | 'yes' | 'object' | 'texts';
  oneOf?: readonly string[];
  max?: number;
  needed?: true;
}

/** One thing that can be asked. The table of these is what is served, documented and tested. */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  /** `/api/actors/{type}/{id}`. */
  path: string;
  role: Role;
  about: string;
  query?: Readonly<Record<string, Field>>;
  body?: Readonly<Record<string, Field>>;
  /** Codes it may refuse with, besides those any route may. */
  refuses?: Readonly<Record<string, number>>;
  answer(asked: Asked): Promise<unknown>;
}

/** A route that looks and changes nothing. */
export const get = (
  path: string,
  about: string,
  answer: Route['answer'],
  query: Readonly<Record<string, Field>> = {},
): Route => ({ method: 'GET', path, role: 'read', about, query, answer });

export const LIMIT: Field = { kind: 'whole', about: 'At most so many; default 50.', max: 1_000 };

/** A question that has been let in. */
export interface Asked {
  path: Readonly<Record<string, string>>;
  query: Query;
  body: Readonly<Record<string, unknown>>;
  role: Role;
  request: IncomingMessage;
  response: ServerResponse;
}

/** What an answer is when the route has written the response itself. */
export const ANSWERED = Symbol('answered');

/** What may stand in a path: how it must be, in words, and the code it is refused with otherwise. */
interface Form {
  form: RegExp;
  words: string;
  code: 'bad_subject' | 'bad_options';
}

const NAME = '1 to 128 of A-Z a-z 0-9 _ and -';
const NUMBER: Form = {
  form: /^\d{1,15}$/,
  words: 'a whole number of at most 15 digits',
  code: 'bad_options',
};
/** A machine's row has dots in its id. */
const FORMS: Readonly<Record<string, Form>> = {
  type: { form: TOKEN, words: NAME, code: 'bad_subject' },
  id: {
    form: /^[A-Za-z0-9_-]{1,128}(?:\.[\w:~-]{1,300}-\d{1,15})*$/,
    words: `${NAME}, or a machine of its family such as o-1.ship-3`,
    code: 'bad_subject',
  },
  version: {
    form: /^[\x21-\x7e]{1,64}$/,
    words: '1 to 64 visible ASCII characters',
    code: 'bad_options',
  },
  seq: NUMBER,
  letter: NUMBER,
};

/** Finds the route of a path. `other`: methods there are for it, when this is none of them. */
export function find(
  routes: readonly Route[],
  method: string,
  pathname: string,
): { route: Route; path: Record<string, string> } | { other: string[] } {
  const parts = pathname.split('/');
  const other = new Set<string>();
  for (const route of routes) {
    const path = match(route.path.split('/'), parts);
    if (!path) continue;
    if (route.method === method || (method === 'HEAD' && route.method === 'GET'))
      return { route, path };
    other.add(route.method);
  }
  return { other: [...other] };
}

function match(pattern: string[], parts: string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) return undefined;
  const found: Record<string, string> = {};
  for (const [at, part] of pattern.entries()) {
    const given = parts[at] as string;
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined) {
      if (part !== given) return undefined;
    } else found[name] = given;
  }
  return found;
}

/** The parts of a path as they were meant. @throws PerdureError `bad_subject` for a type or an id, else `bad_options` */
export function readPath(path: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(path).map(([name, written]) => {
      const value = decoded(written);
      assertForm(name, value, written);
      return [name, value];
    }),
  );
}

function assertForm(
  name: string,
  value: string | undefined,
  written: string,
): asserts value is string {
  const known = FORMS[name];
  if (!known) throw new Error(`nobody has said what a ${name} may be`);
  if (value === undefined || !known.form.test(value))
    throw new PerdureError(
      known.code,
      `${JSON.stringify(written.slice(0, 140))} cannot be the ${name}: use ${known.words}.`,
    );
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The parameters of a URL; each is asked for by name, and one that is misspelt or given twice is refused. */
export class Query {
  readonly #params: URLSearchParams;
  readonly #known: Readonly<Record<string, Field>>;

  /** @throws PerdureError `bad_options` */
  constructor(params: URLSearchParams, known: Readonly<Record<string, Field>>) {
    this.#params = params;
    this.#known = known;
    for (const name of params.keys()) {
      if (!this.#fieldOf(name))
        throw new PerdureError(
          'bad_options',
          `Unknown parameter ${JSON.stringify(name.slice(0, 64))}; known here: ${Object.keys(known).join(', ') || 'none'}.`,
          { allowed: Object.keys(known) },
        );
      if (params.getAll(name).length > 1)
        throw new PerdureError('bad_options', `${name} is given more than once.`);
    }
  }

  text(name: string): string | undefined {
    const value = this.#params.get(name);
    if (value === null) return undefined;
    // A script's variable that is not set: without the filter it would find, or act on, everyone.
    if (value === '')
      throw new PerdureError('bad_options', `${name.slice(0, 64)} is empty; leave it out for any.`);
    const { oneOf } = this.#field(name);
    if (oneOf && !oneOf.includes(value))
      throw new PerdureError('bad_options', `${name} must be one of ${oneOf.join(', ')}.`, {
        allowed: oneOf,
      });
    if (value.length > TEXT_MAX || value.includes('\u0000'))
      throw new PerdureError(
        'bad_options',
        `${name} has at most ${TEXT_MAX} characters, and no NUL.`,
      );
    return value;
  }

  /** A type or an id. @throws PerdureError `bad_subject` */
  token(name: 'type' | 'id'): string | undefined {
    const value = this.text(name);
    if (value !== undefined) assertForm(name, value, value);
    return value;
  }

  whole(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const { max = Number.MAX_SAFE_INTEGER } = this.#field(name);
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new PerdureError('bad_options', `${name} must be a whole number from 1 to ${max}.`);
    return value;
  }

  yes(name: string): boolean | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (text !== 'true' && text !== 'false')
      throw new PerdureError('bad_options', `${name} must be true or false.`);
    return text === 'true';
  }

  /** What is given as `what.NAME`, by name. Any name is one, also `__proto__`: a filter that got lost would match everyone. */
  named(what: string): Record<string, string> {
    const found = new Map<string, string>();
    for (const name of this.#params.keys()) {
      const value = name.startsWith(`${what}.`) ? this.text(name) : undefined;
      if (value !== undefined) found.set(name.slice(what.length + 1), value);
    }
    return Object.fromEntries(found);
  }

  /** `field.{name}` stands for any name. */
  #fieldOf(name: string): Field | undefined {
    if (Object.hasOwn(this.#known, name)) return this.#known[name];
    const [what, rest] = name.split(/\.(.*)/s, 2);
    return rest && !/[{}]/.test(rest) ? this.#known[`${what}.{name}`] : undefined;
  }

  #field(name: string): Field {
    const field = this.#fieldOf(name);
    if (!field) throw new Error(`route asks for ${name}, which it does not declare`);
    return field;
  }
}

const TEXT_MAX = 1_024;

/** @throws PerdureError `bad_options` for a field that is missing, unknown or of another kind */
export function checkBody(
  body: Readonly<Record<string, unknown>>,
  known: Readonly<Record<string, Field>>,
): void {
  for (const name of Object.keys(body))
    if (!Object.hasOwn(known, name))
      throw new PerdureError(
        'bad_options',
        `Unknown field ${JSON.stringify(name.slice(0, 64))}; known here: ${Object.keys(known).join(', ') || 'none'}.`,
      );
  for (const [name, field] of Object.entries(known)) {
    const value = body[name];
    if (value === undefined) {
      if (field.needed) throw new PerdureError('bad_options', `${name} is missing: ${field.about}`);
    } else if (!isKind(value, field))
      throw new PerdureError('bad_options', `${name} must be ${kindText(field)}: ${field.about}`);
  }
}

const KINDS: Record<Field['kind'], string> = {
  text: 'text',
  whole: 'a whole number of 0 or more',
  yes: 'true or false',
  object: 'an object',
  texts: 'a list of texts',
};

const kindText = ({ kind, oneOf }: Field): string =>
  oneOf ? `one of ${oneOf.join(', ')}` : KINDS[kind];

function isKind(value: unknown, { kind, oneOf }: Field): boolean {
  switch (kind) {
    case 'text':
      return typeof value === 'string' && (!oneOf || oneOf.includes(value));
    case 'whole':
      return Number.isInteger(value) && (value as number) >= 0;
    case 'yes':
      return typeof value === 'boolean';
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'texts':
      return Array.isArray(value) && value.every((one) => typeof one === 'string');
  }
}
