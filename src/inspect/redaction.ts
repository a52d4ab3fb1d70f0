import { PerdureError } from '../errors.ts';
import type { DeadLetterDetail, ReadStore } from '../store/read.ts';
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

/** The value without what is not to be shown; the value itself when that is all of it. */
function redacted(value: unknown, paths: readonly (readonly string[])[]): unknown {
  if (typeof value !== 'object' || value === null || paths.length === 0) return value;
  if (Array.isArray(value)) return value.map((item) => redacted(item, paths));
  const copy: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const below = paths.filter(([first]) => first === key || first === '*');
    copy[key] = below.some(({ length }) => length === 1)
      ? REDACTED
      : redacted(
          inner,
          below.map((path) => path.slice(1)),
        );
  }
  return copy;
}

/** The reading side without what is not to be shown. */
export function redactingReadStore(store: ReadStore, rules: Redactions): ReadStore {
  if (rules.size === 0) return store;
  const hide = (type: string, value: unknown) => redacted(value, pathsOf(rules, type));
  const output = <R extends { type: string; output: unknown }>(row: R): R => ({
    ...row,
    output: hide(row.type, row.output),
  });
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
    searchActors: async (search, page) => (await store.searchActors(search, page)).map(output),
    async actor(type, id) {
      const row = await store.actor(type, id);
      return (
        row && {
          ...output(row),
          context: hide(type, row.context),
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
      })),
    async deadLetter(id) {
      const letter = await store.deadLetter(id);
      return letter && { ...letter, body: bodyOf(letter, rules) };
    },
  };
}

/** Methods of a class are not its own properties. */
const passed = (store: ReadStore) => ({
  countActors: store.countActors.bind(store),
  population: store.population.bind(store),
  machine: store.machine.bind(store),
  machines: store.machines.bind(store),
  pathOf: store.pathOf.bind(store),
  deadLetters: store.deadLetters.bind(store),
  markRedriven: store.markRedriven.bind(store),
  counts: store.counts.bind(store),
  shards: store.shards.bind(store),
  nodes: store.nodes.bind(store),
  quarantined: store.quarantined.bind(store),
  parked: store.parked.bind(store),
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

function bodyOf({ subject, body }: DeadLetterDetail, rules: Redactions): Uint8Array {
  const type = subject.split('.').at(-2) ?? '';
  const paths = pathsOf(rules, type);
  if (paths.length === 0) return body;
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return Buffer.from(JSON.stringify(redacted(value, paths)));
  } catch {
    // Nobody knows what it says.
    return Buffer.from(REDACTED);
  }
}
