import { describe, expect, test } from 'vitest';
import { stringify } from '../../src/actors/codec.ts';
import { REDACTED, redactingReadStore, redactionsOf } from '../../src/inspect/redaction.ts';
import type { DeadLetterDetail } from '../../src/store/letters.ts';
import type { ActorDetail, HistoryRow, ReadStore } from '../../src/store/read.ts';

// Only what is asked of the store here; a class with its methods on the prototype, as the real ones are.
class OneActor {
  readonly type: string;
  constructor(type: string) {
    this.type = type;
  }

  async actor(): Promise<Partial<ActorDetail>> {
    return {
      type: this.type,
      id: 'a',
      output: null,
      context: JSON.parse(stringify({ last: declined(), total: 3 }, 'context', 64)),
      snapshot: JSON.stringify({ snapshot: { context: {} } }),
      error: { name: 'Declined', message: 'card 4111 was declined', code: 'declined' },
      retries: { pay: { attempt: 2, nextAt: 0, error: { name: 'Declined', message: '4111' } } },
      timers: [],
    };
  }

  async history(): Promise<Partial<HistoryRow>[]> {
    const event = { type: 'xstate.error.actor.pay', error: declined() };
    return [
      {
        event: JSON.parse(stringify(event, 'event', 64)),
        snapshot: JSON.stringify({ snapshot: { context: {} } }),
        failed_attempts: [
          {
            ...{ invoke_id: 'pay', attempt: 1, at: '', ran_ms: 1, node_id: 'n' },
            error: { name: 'Declined', message: 'card 4111 was declined', code: 'declined' },
          },
        ],
      },
    ];
  }

  async deadLetters(): Promise<Partial<DeadLetterDetail>[]> {
    return [
      { subject: `events.${this.type}.a`, reason: 'bad_body', detail: '"4111" is no JSON' },
      {
        subject: `events.${this.type}.a`,
        reason: 'unknown_actor',
        detail: 'There is no such one.',
      },
    ];
  }
}

const declined = () => Object.assign(new Error('card 4111 was declined'), { card: '4111' });

function reading(type: string) {
  const missing = async () => [];
  const store = new Proxy(new OneActor(type), {
    get: (target, name) => Reflect.get(target, name) ?? missing,
  });
  return redactingReadStore(store as unknown as ReadStore, redactionsOf(['order:card']));
}

describe('messages of errors, which may quote what is hidden', () => {
  test('are hidden where the type has a rule; names and codes are not', async () => {
    const store = reading('order');
    const actor = await store.actor('order', 'a');
    expect(actor?.error).toEqual({ name: 'Declined', message: REDACTED, code: 'declined' });
    expect(actor?.retries).toMatchObject({
      pay: { attempt: 2, error: { name: 'Declined', message: REDACTED } },
    });
    expect(actor?.context).toMatchObject({ total: 3, last: { v: { message: REDACTED } } });
    const all = [actor, await store.history('order', 'a'), await store.deadLetters({})];
    expect(JSON.stringify(all)).not.toContain('4111');
    expect(JSON.stringify(all)).toContain('There is no such one.');
  });

  test('are shown of a type that has none', async () => {
    const store = reading('mail');
    const all = [
      await store.actor('mail', 'a'),
      await store.history('mail', 'a'),
      await store.deadLetters({}),
    ];
    expect(JSON.stringify(all).match(/4111/g)?.length).toBeGreaterThanOrEqual(6);
  });
});

test('a letter to what can be no actor is hidden as its type says, though its id has dots', async () => {
  const letter = { subject: 'events.order.me@example.com', body: Buffer.from('{"card":"4111"}') };
  const store = redactingReadStore(
    { ...reading('order'), deadLetter: async () => letter } as unknown as ReadStore,
    redactionsOf(['order:card']),
  );
  const found = await store.deadLetter('1');
  expect(Buffer.from(found?.body ?? []).toString()).not.toContain('4111');
});
