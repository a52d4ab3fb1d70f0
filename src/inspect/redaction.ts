import { TAG } from '../actors/codec.ts';
import { PerdureError } from '../errors.ts';
import type { DeadLetterDetail, DeadLetterRow } from '../store/letters.ts';
import type { ReadStore } from '../store/read.ts';
import type { ActorSearch } from '../store/search.ts';
import { isWrapped } from '../textCodec.ts';

/** What stands where something is not shown. */
export const REDACTED = '(redacted)';

/** By actor type: paths of keys below its context, its input, its events and its output. */
export type Redactions = ReadonlyMap<string, readonly (readonly string[])[]>;

/**
 * `order:card.number`: of actors of type order, what is called so in context, input, events and output. `*` is any key,
 * and any type.
 * @throws PerdureError `bad_options`
 */
export function redactionsOf(rules: readonly string[]): Redactions {
  const found = new Map<string, string[][]>();
  for (const rule of rules) {
    const [, type, path] = /^([A-Za-z0-9_*-]+):([^:]+)$/.exec(rule) ?? [];
    if (type === undefined || path === undefined)
      throw new PerdureError(
        'bad_options',
        `${JSON.stringify(rule)} is no redaction: write TYPE:PATH, such as order:card.number.`,
      );
    found.set(type, [...(found.get(type) ?? []), path.split('.')]);
  }
  return found;
}

const pathsOf = (rules: Redactions, type: string): (readonly string[])[] => [
  ...(rules.get(type) ?? []),
  ...(rules.get('*') ?? []),
];

/** The value without what is not to be shown; the value itself where no rule is for it. */
function redacted(value: unknown, paths: readonly (readonly string[])[]): unknown {
  return paths.length === 0 ? value : without(value, paths);
}

function without(value: unknown, paths: readonly (readonly string[])[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => without(item, paths));
  const fields = value as Record<string, unknown>;
  if (fields[TAG] === 'Error') return { ...fields, v: withoutWords(fields.v) };
  const shown = (key: string, inner: unknown): unknown => {
    const below = paths.filter(([first]) => first === key || first === '*');
    if (below.some(({ length }) => length === 1)) return REDACTED;
    return without(
      inner,
      below.map((path) => path.slice(1)),
    );
  };
  // A key may be `__proto__`, which an assignment would not make one.
  return Object.fromEntries(Object.entries(fields).map(([key, inner]) => [key, shown(key, inner)]));
}

/** An error's message may quote anything, and what else it carries is anything: its name and code say what it was. */
function withoutWords(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return error;
  const { name, code } = error as { name?: unknown; code?: unknown };
  return { name, message: REDACTED, ...(code !== undefined && { code }) };
}

/** The reading side without what is not to be shown. */
export function redactingReadStore(store: ReadStore, rules: Redactions): ReadStore {
  if (rules.size === 0) return store;
  const hide = (type: string, value: unknown) => redacted(value, pathsOf(rules, type));
  const isRuled = (type: string) => pathsOf(rules, type).length > 0;
  const output = <R extends { type: string; output: unknown; error: unknown }>(row: R): R => ({
    ...row,
    output: hide(row.type, row.output),
    error: isRuled(row.type) ? withoutWords(row.error) : row.error,
  });
  const letter = <R extends DeadLetterRow>(row: R): R =>
    // What cannot be read is quoted there.
    row.reason === 'bad_body' && isRuled(typeIn(row.subject)) ? { ...row, detail: REDACTED } : row;
  /** Input stands one level below the event that begins an actor. */
  const event = (type: string, value: unknown) => {
    const shown = hide(type, value) as Record<string, unknown> | null;
    return typeof shown === 'object' && shown !== null && 'input' in shown
      ? { ...shown, input: hide(type, shown.input) }
      : shown;
  };
  return {
    ...passed(store),
    listActors: async (filter) => (await store.listActors(filter)).map(output),
    async searchActors(search, page) {
      refuseHidden(rules, search);
      const found = await store.searchActors(search, page);
      return { ...found, actors: found.actors.map(output) };
    },
    async countActors(search, page) {
      refuseHidden(rules, search);
      return store.countActors(search, page);
    },
    async actor(type, id) {
      const row = await store.actor(type, id);
      return (
        row && {
          ...output(row),
          context: hide(type, row.context),
          retries: isRuled(type) ? withoutReasons(row.retries) : row.retries,
          snapshot: withoutSecrets(row.snapshot, (context) => hide(type, context)),
          timers: row.timers.map((timer) => ({ ...timer, event: event(type, timer.event) })),
        }
      );
    },
    history: async (type, id, options) =>
      (await store.history(type, id, options)).map((row) => ({
        ...row,
        event: event(type, row.event),
        snapshot: withoutSecrets(row.snapshot, (context) => hide(type, context)),
        failed_attempts: isRuled(type)
          ? row.failed_attempts.map((one) => ({ ...one, error: withoutWords(one.error) }))
          : row.failed_attempts,
      })),
    deadLetters: async (filter) => (await store.deadLetters(filter)).map(letter),
    async deadLetter(id) {
      const found = await store.deadLetter(id);
      return found && { ...letter(found), body: bodyOf(found, rules) };
    },
  };
}

/** Who may not see a value could find it by asking for one after the other. @throws PerdureError `bad_options` */
function refuseHidden(rules: Redactions, { type, fields = {} }: ActorSearch): void {
  const paths = type === undefined ? [...rules.values()].flat() : pathsOf(rules, type);
  for (const name of Object.keys(fields))
    if (paths.some(([first]) => first === name || first === '*'))
      throw new PerdureError(
        'bad_options',
        `Nobody can be found by ${name} here: it is redacted${type === undefined ? ' for some type; name another one' : ''}.`,
      );
}

/** Methods of a class are not its own properties. */
const passed = (store: ReadStore) => ({
  population: store.population.bind(store),
  machine: store.machine.bind(store),
  machines: store.machines.bind(store),
  pathOf: store.pathOf.bind(store),
  deadLetterReasons: store.deadLetterReasons.bind(store),
  markRedriven: store.markRedriven.bind(store),
  counts: store.counts.bind(store),
  shards: store.shards.bind(store),
  nodes: store.nodes.bind(store),
  quarantined: store.quarantined.bind(store),
  lateOutbox: store.lateOutbox.bind(store),
  parked: store.parked.bind(store),
  mayBeParked: store.mayBeParked.bind(store),
  parkedFor: store.parkedFor.bind(store),
});

/** Of a snapshot only what the inspector shows is kept; children and histories may hold anything. */
function withoutSecrets(snapshot: string, hide: (context: unknown) => unknown): string {
  if (isWrapped(snapshot)) return snapshot;
  const envelope = JSON.parse(snapshot) as { snapshot?: { context?: unknown } };
  return JSON.stringify({
    ...envelope,
    snapshot: { context: hide(envelope.snapshot?.context ?? null) },
  });
}

/** Why attempts of invokes have failed. */
function withoutReasons(retries: unknown): unknown {
  const known = Object.entries((retries ?? {}) as Record<string, { error?: unknown }>);
  return Object.fromEntries(
    known.map(([id, retry]) => [
      id,
      retry.error === undefined ? retry : { ...retry, error: withoutWords(retry.error) },
    ]),
  );
}

/** What an id may not be has any number of dots. */
const typeIn = (subject: string): string => subject.split('.')[1] ?? '';

function bodyOf({ subject, body }: DeadLetterDetail, rules: Redactions): Uint8Array {
  const paths = pathsOf(rules, typeIn(subject));
  if (paths.length === 0) return body;
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return Buffer.from(JSON.stringify(redacted(value, paths)));
  } catch {
    // Nobody knows what it says.
    return Buffer.from(REDACTED);
  }
}
