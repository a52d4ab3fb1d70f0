import { describe, expect, test } from 'vitest';
import { effectsThen, type Moment } from '../../src/inspect/effectsThen.ts';
import type { FailedAttemptRow, HistoryRow } from '../../src/store/read.ts';

const at = (seconds: number) => new Date(1_000 * seconds).toISOString();

const failure = (attempt: number, seconds: number, invoke_id = 'charge'): FailedAttemptRow => ({
  ...{ invoke_id, attempt, at: at(seconds), ran_ms: 40, node_id: 'n' },
  error: { name: 'Error', message: `no ${attempt}` },
});

const row = (seq: number, started: object, more: Partial<HistoryRow> = {}): HistoryRow => ({
  ...{ seq, epoch: 1, node_id: 'n', event_type: 'PAY', event: {}, event_id: null, origin: 'event' },
  ...{ from_state: 'a', to_state: 'b', edges: [], actions: 0, at: at(seq), failed_attempts: [] },
  snapshot: JSON.stringify({ started, snapshot: {} }),
  ...more,
});

const none = async () => undefined;
const moment = (before: HistoryRow, now: HistoryRow, next?: HistoryRow): Moment => ({
  before,
  row: now,
  next,
});

describe('what ran at a moment of the past', () => {
  const start = row(2, { charge: 2 }, { failed_attempts: [failure(1, 3), failure(2, 9)] });

  test('is told with the attempts that had failed until the next transition', async () => {
    const [early] = await effectsThen(moment(row(1, {}), start, row(5, { charge: 2 })), none);
    expect(early).toMatchObject({
      id: 'charge',
      how: 'running',
      started_seq: 2,
      ms: 0,
      attempt: 2,
    });
    expect(early?.failed_attempts).toEqual([failure(1, 3)]);
    const [last] = await effectsThen(moment(row(1, {}), start), none);
    expect(last).toMatchObject({ attempt: 3, failed_attempts: [{ attempt: 1 }, { attempt: 2 }] });
  });

  test.each([
    ['xstate.done.actor.charge', 'invoke', 'done'],
    ['xstate.error.actor.charge', 'invoke', 'failed'],
    ['xstate.done.actor.other', 'invoke', 'left'],
    ['xstate.done.actor.charge', 'event', 'left'],
    ['CANCEL', 'event', 'left'],
  ])('has ended by %s from %s: %s', async (event_type, origin, how) => {
    const end = row(12, {}, { event_type, origin });
    const found = await effectsThen(moment(row(11, { charge: 2 }), end), async (seq) =>
      seq === 2 ? start : undefined,
    );
    expect(found).toMatchObject([{ how, started_at: at(2), ms: 10_000, attempt: 3 }]);
  });

  test('one that is entered anew is another one', async () => {
    const again = row(3, { charge: 3 });
    const found = await effectsThen(moment(start, again), none);
    expect(found).toMatchObject([
      { started_seq: 2, how: 'left', ms: 1_000 },
      { started_seq: 3, how: 'running', attempt: 1, failed_attempts: [] },
    ]);
  });

  test('attempts of another invoke of the same transition are not its own', async () => {
    const both = row(
      2,
      { charge: 2, ship: 2 },
      { failed_attempts: [failure(1, 3, 'ship'), failure(1, 4)] },
    );
    const found = await effectsThen(moment(row(1, {}), both), none);
    expect(found.map(({ id, failed_attempts }) => [id, failed_attempts.length])).toEqual([
      ['charge', 1],
      ['ship', 1],
    ]);
  });

  test('is not known where a codec’s key is missing, or the start', async () => {
    const closed = row(3, {}, { snapshot: '{"$perdure":"wrapped","v":"x"}' });
    expect(await effectsThen(moment(closed, row(4, {})), none)).toEqual([]);
    expect(await effectsThen(moment(row(11, { charge: 2 }), row(12, {})), none)).toEqual([]);
  });
});
