import { PerdureError } from '../errors.ts';
import type { ActorSearch, Reach } from '../store/search.ts';
import type { Field, Query } from './route.ts';

/** What actors can be found by; the same in a URL and in the filter of a bulk operation. */
export const FILTER: Readonly<Record<string, Field>> = {
  type: { kind: 'text', about: 'Actor type.' },
  status: { kind: 'text', about: 'How it is.', oneOf: ['active', 'done', 'error', 'stopped'] },
  state: { kind: 'text', about: 'A state, or the dotted path of one: open.waiting.' },
  tag: { kind: 'text', about: 'A tag of an active state.' },
  version: { kind: 'text', about: 'Version of the actor type.' },
  node: {
    kind: 'text',
    about: 'The node that owns its shard: its id, how that begins, or its name.',
  },
  text: { kind: 'text', about: 'Somewhere in its id.' },
  idle: { kind: 'whole', about: 'No transition for so many seconds.', max: 10_000_000_000 },
  quarantined: { kind: 'yes', about: 'true: only those in quarantine.' },
  paused: { kind: 'yes', about: 'true: only those that are paused.' },
  'field.{name}': {
    kind: 'text',
    about: 'Value of a field of its input that its type marks as searchable: field.customerId=42.',
  },
  children: { kind: 'yes', about: 'true: also machines that other machines have started.' },
};

/** The filter in a URL. @throws PerdureError `bad_options` */
export function searchIn(query: Query): ActorSearch {
  const idle = query.whole('idle');
  const texts = ['type', 'status', 'state', 'tag', 'version', 'node', 'text'] as const;
  const search: ActorSearch = {};
  for (const name of texts) {
    const value = query.text(name);
    if (value !== undefined) search[name] = value;
  }
  const fields = query.named('field');
  if (Object.keys(fields).length > 0) search.fields = fields;
  if (idle !== undefined) search.idleMs = idle * 1_000;
  if (query.yes('quarantined')) search.quarantined = true;
  if (query.yes('paused')) search.paused = true;
  if (query.yes('children')) search.children = 'all';
  return search;
}

/** The filter in a body, as it would stand in a URL. @throws PerdureError `bad_options` */
export function asParameters(filter: Readonly<Record<string, unknown>>): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (!['string', 'number', 'boolean'].includes(typeof value))
      throw new PerdureError(
        'bad_options',
        `${name.slice(0, 64)} in the filter must be a plain value.`,
      );
    params.set(name, String(value));
  }
  return params;
}

/** How far a search has got, as it is told: complete means that all there are have been looked at. */
export const reachOf = ({ searched, next }: Reach) => ({
  searched,
  complete: next === null,
  next: next ? `${next.type}/${next.id}` : null,
});

/** Where it goes on: the type and the id of the last actor that was looked at. */
export function afterIn(text: string | undefined): { type: string; id: string } | undefined {
  if (text === undefined) return undefined;
  const [, type, id] = /^([^/]+)\/(.+)$/.exec(text) ?? [];
  if (type === undefined || id === undefined)
    throw new PerdureError('bad_options', 'after must be what next was: TYPE/ID.');
  return { type, id };
}
