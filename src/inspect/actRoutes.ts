import { PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';
import { type Act, type Acts, BULK_MAX, eventIn, type Telling } from './acts.ts';
import type { Engine } from './engine.ts';
import { afterIn, asParameters, FILTER, searchIn } from './filter.ts';
import { HttpError } from './httpError.ts';
import { assertReason } from './letterReason.ts';
import { type Asked, type Field, Query, type Route } from './route.ts';
import type { Vocabulary } from './vocabulary.ts';

const EVENT: Field = { kind: 'object', about: 'An event: {"type":"PAY"} and what belongs to it.' };
const DO: Field = {
  kind: 'text',
  about: 'What to do to each.',
  oneOf: ['send', 'cancel', 'pause', 'resume', 'release'],
  needed: true,
};
const LETTERS_MAX = 1_000;
const PROBLEMS_MAX = 20;

/** What routes that act need. */
interface ActParts {
  store: ReadStore;
  vocabulary: Vocabulary;
  acts: Acts;
  engine: Engine;
}

/** Everything that changes something. */
export function actRoutes({ store, vocabulary, acts, engine }: ActParts): Route[] {
  const post = (
    path: string,
    about: string,
    body: Readonly<Record<string, Field>>,
    answer: (asked: Asked) => Promise<unknown>,
    refuses: Readonly<Record<string, number>> = {},
  ): Route => ({ method: 'POST', path, role: 'act', about, body, answer, refuses });
  const told = (act: Telling, about: string, refuses: Record<string, number>) =>
    post(
      `/api/actors/{type}/{id}/${act}`,
      about,
      {},
      async ({ path }) => ({
        receipt: await acts.tell(path.type as string, path.id as string, act),
      }),
      { ...refuses, actor_deaf: 409, bus_unavailable: 503, timeout: 504 },
    );

  return [
    post(
      '/api/actors/{type}/{id}/events',
      'Sends an event that the actor handles as it stands.',
      {
        event: { ...EVENT, needed: true },
        until: {
          kind: 'text',
          about: 'accepted: it is in the log; committed (default): it has been done.',
          oneOf: ['accepted', 'committed'],
        },
        message_id: { kind: 'text', about: 'Asking again with the same one changes nothing.' },
      },
      async ({ path, body }) => ({
        receipt: await acts.send(path.type as string, path.id as string, body.event, {
          until: (body.until as 'accepted' | undefined) ?? 'committed',
          ...(typeof body.message_id === 'string' && { messageId: body.message_id }),
        }),
      }),
      {
        bad_event: 400,
        event_not_handled: 409,
        actor_finished: 409,
        actor_deaf: 409,
        bus_unavailable: 503,
        timeout: 504,
      },
    ),
    told('cancel', 'Ends an actor where it stands.', { actor_finished: 409 }),
    told('pause', 'Has nothing be done for an actor and its family; what comes for it waits.', {
      actor_finished: 409,
      actor_quarantined: 409,
      already_paused: 409,
      not_a_root: 409,
    }),
    told('resume', 'Lets a paused actor go on, with what has waited for it.', {
      actor_finished: 409,
      not_a_root: 409,
      not_paused: 409,
    }),
    told('release', 'Takes an actor out of quarantine.', { not_quarantined: 409 }),
    post(
      '/api/dead-letters/{letter}/redrive',
      'Publishes a dead letter again.',
      { again: { kind: 'yes', about: 'true: also when it was redriven before.' } },
      async ({ path, body }) => ({
        redriven: await engine.redrive(path.letter as string, body.again === true),
      }),
      { bus_unavailable: 503 },
    ),
    post(
      '/api/bulk/preview',
      `How many actors a bulk operation would act on, at most ${BULK_MAX}, and the first few, as far as it gets in its time.`,
      {
        filter: { kind: 'object', about: 'As the parameters of GET /api/actors.', needed: true },
        after: { kind: 'text', about: 'What next was; the counts are added up.' },
      },
      async ({ body }) =>
        acts.preview(
          await searchOf(body.filter, vocabulary),
          afterIn(body.after as string | undefined),
        ),
    ),
    post(
      '/api/bulk',
      'Acts on all actors that match, when they are as many as was previewed.',
      {
        filter: { kind: 'object', about: 'As it was previewed.', needed: true },
        do: DO,
        event: EVENT,
        count: { kind: 'whole', about: 'What the preview counted.', needed: true },
      },
      async ({ body }) => ({
        result: await acts.bulk(
          await searchOf(body.filter, vocabulary),
          actOf(body),
          body.count as number,
        ),
      }),
      { bad_event: 400, count_changed: 409, bus_unavailable: 503 },
    ),
    post(
      '/api/dead-letters/redrive',
      'Publishes all dead letters again that wait, the oldest first, when they are as many as was counted.',
      {
        reason: { kind: 'text', about: 'Only those with this code.' },
        count: { kind: 'whole', about: `How many wait, at most ${LETTERS_MAX}.`, needed: true },
      },
      ({ body }) => redriveAll(store, engine, body),
      { count_changed: 409, bus_unavailable: 503 },
    ),
  ];
}

/** A bulk operation without a filter would be one on everything there is. @throws PerdureError `bad_options` */
async function searchOf(filter: unknown, vocabulary: Vocabulary) {
  const params = asParameters(filter as Record<string, unknown>);
  const search = searchIn(new Query(params, FILTER));
  if (search.type === undefined)
    throw new PerdureError('bad_options', 'The filter of a bulk operation must name a type.');
  if (search.children !== undefined)
    throw new PerdureError('bad_options', 'Bulk operations act on roots; leave children out.');
  return vocabulary.understand(search);
}

function actOf(body: Readonly<Record<string, unknown>>): Act {
  if (body.do === 'send') return { do: 'send', event: eventIn(body.event) };
  if (body.event !== undefined)
    throw new PerdureError('bad_options', `${body.do} takes no event; leave it out.`);
  return { do: body.do as Telling };
}

async function redriveAll(
  store: ReadStore,
  engine: Engine,
  body: Readonly<Record<string, unknown>>,
) {
  await assertReason(store, typeof body.reason === 'string' ? body.reason : undefined);
  // Of more than this the oldest are taken, and in their order: what depended on it once still does.
  const letters = await store.deadLetters({
    pending: true,
    oldestFirst: true,
    limit: LETTERS_MAX,
    ...(typeof body.reason === 'string' && { reason: body.reason }),
  });
  if (letters.length !== body.count)
    throw new HttpError(
      409,
      'count_changed',
      `${letters.length} dead letters wait now, not ${body.count}; look again.`,
      [letters.length],
    );
  let redriven = 0;
  const reasons = new Map<string, number>();
  const problems: { dead_letter_id: string; code: string; message: string }[] = [];
  for (const { dead_letter_id } of letters)
    try {
      await engine.redrive(dead_letter_id, false);
      redriven++;
    } catch (thrown) {
      if (!(thrown instanceof PerdureError)) throw thrown;
      const { code, message } = thrown;
      reasons.set(code, (reasons.get(code) ?? 0) + 1);
      if (problems.length < PROBLEMS_MAX) problems.push({ dead_letter_id, code, message });
    }
  return {
    result: {
      matched: letters.length,
      redriven,
      failed: letters.length - redriven,
      /** How many could not be, by code. */
      reasons: Object.fromEntries(reasons),
      /** The first few. */
      problems,
    },
  };
}
