import { messageIdProblem } from './actors/intake.ts';
import type { QueryAnswer } from './actors/queries.ts';
import type { Bus } from './bus/bus.ts';
import { openBus } from './bus/nats.ts';
import { assertToken, REPLY_HEADER, subjects } from './bus/subjects.ts';
import { type Clock, sleep } from './clock.ts';
import { LIMITS, type Namespace, SHARDS } from './config.ts';
import { ERRORS, type ErrorCode, PerdureError } from './errors.ts';
import type { Logger } from './log.ts';
import { publishTraced } from './tracing.ts';

export interface PublishOptions {
  /**
   * When to resolve: `accepted` (default), when JetStream has acknowledged it: it cannot get lost any more (G1);
   * `committed`, when the transition it caused is in Postgres.
   */
  until?: 'accepted' | 'committed';
  /** The message's id: asking again with the same one changes nothing. Default: a fresh UUID. */
  messageId?: string;
  timeoutMs?: number;
}

/** What became of a message. */
export interface Receipt {
  messageId: string;
  /** It had been asked before, with this very id. */
  duplicate: boolean;
  /** With `until: 'committed'`: the transition, and the state after it. */
  seq?: number;
  status?: string;
  state?: unknown;
  /** With `perdure.release` and `until: 'committed'`: whether the actor was in quarantine. */
  released?: boolean;
  /** With `pause` or `resume` and `until: 'committed'`: whether the actor is paused now. */
  paused?: boolean;
}

/**
 * A client's side of the protocol (docs/protocol.md): publish and learn of the commit, ask, and look until something
 * is so. Connects at the first word.
 */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #closing = new AbortController();
  #opening: Promise<Bus> | undefined;

  constructor(options: ConversationOptions) {
    this.#options = options;
  }

  /** @throws PerdureError as `PerdureClient.start` and `send` say. */
  async publish(
    subject: string,
    address: { type: string; id: string },
    body: string,
    given: PublishOptions,
  ): Promise<Receipt> {
    const { clock } = this.#options;
    const messageId = given.messageId ?? clock.uuid();
    const wrongId = messageIdProblem(messageId);
    if (wrongId) throw new PerdureError('bad_event', wrongId);
    const timeoutMs = given.timeoutMs ?? this.#options.timeoutMs;
    const bytes = Buffer.byteLength(body);
    if (bytes > LIMITS.bodyMaxBytes)
      throw new PerdureError(
        'body_too_large',
        `The body has ${bytes} bytes; at most ${LIMITS.bodyMaxBytes} are allowed.`,
      );
    const { until } = given;
    return publishTraced({ ...address, messageId, subject }, (headers) =>
      this.#publish(subject, address, body, { messageId, timeoutMs, until, headers }),
    );
  }

  async #publish(
    subject: string,
    address: { type: string; id: string },
    body: string,
    { messageId, timeoutMs, until, headers }: Sending,
  ): Promise<Receipt> {
    const bus = await this.#bus();
    if (until !== 'committed') {
      const options = { messageId, timeoutMs, ...(headers && { headers }) };
      const { duplicate } = await bus.publish(subject, body, options);
      return { messageId, duplicate };
    }
    const reply = bus.inbox();
    let stop = () => {};
    const answered = new Promise<CommitReply>((resolve) => {
      stop = bus.listen(reply, (_subject, data) => resolve(read(data) as CommitReply));
    });
    const over = new AbortController();
    try {
      const ack = await bus.publish(subject, body, {
        messageId,
        timeoutMs,
        headers: { ...headers, [REPLY_HEADER]: reply },
      });
      // JetStream has it from before and delivers nothing: nobody will reply.
      const again = ack.duplicate;
      const told = await this.#within(
        timeoutMs,
        Promise.race([answered, this.#applied(address, messageId, again, over.signal)]),
        'timeout',
        `The commit of ${messageId} was not confirmed`,
      );
      if (!told.ok) throw refused(told.error);
      const { ok: _ok, type: _type, id: _id, ...rest } = told;
      return { duplicate: again, ...rest, messageId };
    } finally {
      over.abort();
      stop();
    }
  }

  /** The committed row. @throws PerdureError `not_found`, `bus_unavailable`, `timeout` */
  async ask(type: string, id: string, body = ''): Promise<QueryAnswer> {
    assertToken('type', type);
    assertToken('id', id);
    const bus = await this.#bus();
    const data = await this.#question(bus, subjects.query(this.#options.namespace, type, id), body);
    const answer = read(data) as
      | { ok: true; actor: QueryAnswer }
      | { ok: false; error: { code: string; message: string } };
    if (!answer.ok) throw refused(answer.error);
    return answer.actor;
  }

  /** Whichever node gets the question may hang: after a moment another one is asked, too, and the first answer counts. */
  async #question(bus: Bus, subject: string, body: string): Promise<Uint8Array> {
    const { clock, timeoutMs } = this.#options;
    const settled = new AbortController();
    const ask = async (afterMs: number) => {
      if (afterMs > 0) await sleep(clock, afterMs, settled.signal);
      settled.signal.throwIfAborted();
      return bus.request(subject, body, timeoutMs - afterMs);
    };
    try {
      return await Promise.race(ASK_AT_MS.filter((ms) => ms < timeoutMs).map(ask));
    } finally {
      settled.abort();
    }
  }

  /** An actor that was accepted and is not there yet is worth waiting for. */
  async askIfThere(type: string, id: string): Promise<QueryAnswer | undefined> {
    try {
      return await this.ask(type, id);
    } catch (error) {
      if (error instanceof PerdureError && (error.code === 'not_found' || error.retryable))
        return undefined;
      throw error;
    }
  }

  /** Looks whenever the feed says something happened, and now and then in case the feed was not heard. */
  async until<T>(
    type: string,
    id: string,
    timeoutMs: number | undefined,
    look: () => Promise<T | undefined>,
  ): Promise<T> {
    const { clock, namespace } = this.#options;
    const bus = await this.#bus();
    const startedAt = clock.monotonic();
    let wake = () => {};
    const stop = bus.listen(subjects.transition(namespace, type, id), () => wake());
    try {
      for (;;) {
        const happened = new AbortController();
        wake = () => happened.abort();
        const found = await look();
        if (found !== undefined) return found;
        const left = timeoutMs === undefined ? Infinity : startedAt + timeoutMs - clock.monotonic();
        if (left <= 0) {
          const what = `${type}/${id} did not get there within ${timeoutMs} ms.`;
          throw new PerdureError('timeout', what);
        }
        await sleep(clock, Math.min(left, LOOK_AGAIN_MS), happened.signal);
      }
    } finally {
      stop();
    }
  }

  async listen(subject: string, hear: (data: unknown) => void): Promise<() => void> {
    return (await this.#bus()).listen(subject, (_subject, data) => hear(read(data)));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await (await this.#opening?.catch(() => undefined))?.close();
  }

  #bus(): Promise<Bus> {
    const { natsUrl, namespace, clock, log, timeoutMs } = this.#options;
    this.#opening ??= openBus({
      natsUrl,
      namespace,
      shards: SHARDS,
      clock,
      log,
      ensureStreams: false,
      signal: this.#closing.signal,
    });
    this.#opening.catch(() => {
      this.#opening = undefined;
    });
    return this.#within(timeoutMs, this.#opening, 'bus_unavailable', 'NATS could not be reached');
  }

  /** A reply can be lost with the node that owed it; the row cannot. */
  async #applied(
    { type, id }: { type: string; id: string },
    eventId: string,
    again: boolean,
    signal: AbortSignal,
  ): Promise<CommitReply> {
    for (let waitMs = again ? 0 : ASK_AGAIN_MS; ; waitMs = again ? ASK_SOON_MS : ASK_AGAIN_MS) {
      await sleep(this.#options.clock, waitMs, signal);
      if (signal.aborted) return new Promise(() => {});
      const answer = await this.ask(type, id, JSON.stringify({ eventId })).catch(() => undefined);
      if (answer?.applied) return { ok: true, status: answer.status, state: answer.state };
    }
  }

  async #within<T>(ms: number, work: Promise<T>, code: ErrorCode, what: string): Promise<T> {
    const over = new AbortController();
    const late = sleep(this.#options.clock, ms, over.signal).then(() => {
      if (!over.signal.aborted) throw new PerdureError(code, `${what} within ${ms} ms.`);
      return work;
    });
    return Promise.race([work, late]).finally(() => over.abort());
  }
}

interface Sending {
  messageId: string;
  timeoutMs: number;
  until: PublishOptions['until'];
  headers: Record<string, string> | undefined;
}

export interface ConversationOptions {
  natsUrl: string;
  namespace: Namespace;
  clock: Clock;
  log: Logger;
  /** For connecting, and for each question. */
  timeoutMs: number;
}

/** When a question that has no answer yet is asked, ms. */
const ASK_AT_MS = [0, 500, 1_000, 2_000, 4_000, 8_000];
/** Ask about a commit whose reply has not come, this often, ms. */
const ASK_AGAIN_MS = 2_000;
/** The same when no reply can come, because the message is a repetition. */
const ASK_SOON_MS = 100;
/** Look again although the feed is silent, this often, ms. */
const LOOK_AGAIN_MS = 1_000;

type CommitReply =
  | {
      ok: true;
      type?: string;
      id?: string;
      duplicate?: boolean;
      seq?: number;
      status?: string;
      state?: unknown;
      released?: boolean;
      paused?: boolean;
    }
  | { ok: false; error: { code: string; message: string } };

function refused({ code, message }: { code: string; message: string }): PerdureError {
  return new PerdureError(code in ERRORS ? (code as ErrorCode) : 'step_failed', message);
}

const read = (data: Uint8Array): unknown => JSON.parse(Buffer.from(data).toString());
