import { MIGRATE } from '../actors/versions.ts';
import type { ActorDetail, HistoryRow, ReadStore } from '../store/read.ts';
import { isWrappedValue } from '../textCodec.ts';
import { HttpError } from './httpError.ts';
import { REDACTED } from './redaction.ts';

/** Transitions that are in one test, at most; and how long its text may become, characters. */
const TRANSITIONS_MAX = 1_000;
const TEXT_MAX = 1_000_000;
const PAGE = 100;

/** Codes it is refused with, besides `not_found`. */
export const TEST_CASE_REFUSALS = { history_incomplete: 409, history_too_long: 413 } as const;

/** A file of a test. */
export interface TestCase {
  file: string;
  text: string;
}

/**
 * The history of an actor, up to one of its transitions, as a test that gives it to the machine anew. What the store hides
 * stays hidden in it.
 * @throws HttpError `not_found`, `history_incomplete`, `history_too_long`
 */
export async function testCaseOf(
  store: ReadStore,
  type: string,
  id: string,
  given?: number,
): Promise<TestCase> {
  const actor = await store.actor(type, id);
  const seq = given ?? actor?.seq ?? 0;
  if (!actor || seq > actor.seq)
    throw new HttpError(404, 'not_found', `There is no transition ${seq} of ${type}/${id}.`);
  if (seq > TRANSITIONS_MAX)
    throw refusal('history_too_long', `More than ${TRANSITIONS_MAX} transitions make no test`);
  const rows: HistoryRow[] = [];
  let length = 0;
  while (rows.length < seq) {
    const page = { fromSeq: rows.length + 1, limit: Math.min(PAGE, seq - rows.length) };
    const found = await store.history(type, id, page);
    if (found[0]?.seq !== page.fromSeq || found.at(-1)?.seq !== rows.length + found.length)
      throw refusal('history_incomplete', `Transition ${page.fromSeq} has been deleted`);
    if (found.some(({ event }) => isWrappedValue(event)))
      throw refusal('history_incomplete', 'The inspector has not the codec that wrote it');
    length += found.reduce((all, { event }) => all + JSON.stringify(event).length, 0);
    if (length > TEXT_MAX)
      throw refusal('history_too_long', `Its events have more than ${TEXT_MAX} characters`);
    rows.push(...found);
  }
  const path = await store.pathOf(type, id);
  const text = textOf(actor, path, rows);
  return { file: `${type}.${id}.${seq}.test.ts`.replaceAll(/[^\w.-]/g, '_'), text };
}

const refusal = (code: keyof typeof TEST_CASE_REFUSALS, why: string) =>
  new HttpError(
    TEST_CASE_REFUSALS[code],
    code,
    `${why}; perdure export and perdure replay do without a test.`,
  );

function textOf(actor: ActorDetail, path: readonly string[], rows: readonly HistoryRow[]): string {
  const last = rows.at(-1) as HistoryRow;
  const name = nameOf(actor.type);
  const migrated = rows.some(({ event_type }) => event_type === MIGRATE);
  const events = rows.map((row) => `      ${source(recorded(row))},`);
  // Where an actor is in its past it was active: nothing comes after an end.
  const { status, output, error } =
    last.seq === actor.seq ? actor : { status: 'active', output: null, error: null };
  const expected = [
    ['state', last.to_state],
    ['status', status],
    ...(status === 'done' ? [['output', output]] : []),
    ...(error === null ? [] : [['error', error]]),
  ] as [string, unknown][];
  const isHidden = (value: unknown) => JSON.stringify(value ?? null).includes(REDACTED);
  const hides = rows.some(({ event }) => isHidden(event)) || isHidden(output) || isHidden(error);
  return `${[
    `import { replayEvents } from 'perdure/testing';`,
    `import { expect, test } from 'vitest';`,
    `// The actor type, wherever it is in your code.`,
    `import { ${name} as actorType } from './${actor.type}.ts';`,
    '',
    ...(hides
      ? [
          `// What stands as ${REDACTED} is not shown by the inspector: put in what the machine needs.`,
        ]
      : []),
    ...(migrated
      ? ['// It was taken over from another version on its way; here one machine goes all of it.']
      : []),
    `test(${source(`${actor.type}/${actor.id} as recorded up to #${last.seq}`)}, () => {`,
    `  const actor = replayEvents(actorType, {`,
    `    id: ${source(actor.id)},`,
    ...(path.length > 0 ? [`    path: ${source(path)},`] : []),
    '    events: [',
    ...events,
    '    ],',
    '  });',
    ...expected
      .filter(([, value]) => !isHidden(value))
      .map(([of, value]) => `  expect(actor.${of}).toEqual(${source(value)});`),
    '});',
  ].join('\n')}\n`;
}

/** As `replayEvents` wants it; what is the default is left out. */
function recorded({ event, origin, event_id }: HistoryRow) {
  const timer = origin === 'timer' ? /^!timer:\d+:(.*)$/s.exec(event_id ?? '')?.[1] : undefined;
  if (timer !== undefined) return { event, timer };
  return origin === 'event' ? { event } : { event, origin };
}

/** JSON is TypeScript, but for one key that would not be a key there. */
const source = (value: unknown): string =>
  JSON.stringify(value ?? null).replaceAll(/(?<!\\)"__proto__":/g, '["__proto__"]:');

/** What the actor type is likely to be called in code. */
const nameOf = (type: string): string =>
  type
    .replace(/[^A-Za-z0-9]+(\w?)/g, (_, next: string) => next.toUpperCase())
    .replace(/^(?![A-Za-z])/, '_');
