/**
 * The log of what was asked, and every other word spoken over NATS, as the engine sees it. Two
 * implementations pass the same contract suite (`test/contract/bus.contract.ts`): JetStream and the
 * in-memory twin.
 *
 *  B1  A reader hands over the messages of its shard in log order, each once, from `startSeq` on.
 *  B2  What it cannot hand over in unbroken order (a gap, a lost consumer) is a surprise: it says so once, then
 *      hands over nothing more.
 *  B3  Messages are acknowledged in log order: one, and with it all before it. What is not acknowledged comes back to the next
 *      reader that starts at or below it.
 *  B4  At most `pendingMax` messages are handed over and not acknowledged; waiting longer than the server's
 *      ack-wait is no surprise.
 *  B5  `publish` resolves only on the stream's acknowledgement.
 */
export interface Bus {
  /** Whether the connection stands, as far as is known now. */
  readonly connected: boolean;
  /** Whether the server answers within `timeoutMs`. Never rejects. */
  probe(timeoutMs: number): Promise<boolean>;
  /** Identity of the log: stream name and creation time. Differs once the stream was recreated. */
  logId(): Promise<string>;
  /** Last sequence of the log. */
  logEnd(): Promise<number>;
  /** Drops log messages up to and including `seq`; they were applied and the replay window is over. */
  trimLog(seq: number): Promise<void>;

  /** Reads one shard of the log. Replaces the shard's consumer of an earlier epoch. */
  openReader(options: ReaderOptions): Promise<LogReader>;

  /** Publishes to a stream. @throws PerdureError `bus_unavailable`, `timeout`, `body_too_large`, `log_full`. */
  publish(
    subject: string,
    body: Uint8Array | string,
    options?: PublishOptions,
  ): Promise<PublishAck>;
  /** Publishes on core NATS: whoever listens now hears it; dropped while disconnected. */
  broadcast(subject: string, body: Uint8Array | string): void;
  /** Listens on core NATS. Returns the way to stop. */
  listen(subject: string, handler: (subject: string, body: Uint8Array) => void): () => void;
  /** Answers requests on a subject; nodes share the work through one queue group. Returns the way to stop. */
  answer(
    subject: string,
    handler: (subject: string, body: Uint8Array) => Promise<string>,
  ): () => void;
  /** Asks and waits for one answer. @throws PerdureError `bus_unavailable` (nobody answers), `timeout`. */
  request(subject: string, body: string, timeoutMs: number): Promise<Uint8Array>;
  /** A fresh subject only this process listens on, for replies. */
  inbox(): string;

  /** Flushes and closes. */
  close(): Promise<void>;
}

export interface ReaderOptions {
  shard: number;
  epoch: number;
  /** First log sequence to hand over; earlier ones are done. */
  startSeq: number;
  pendingMax: number;
  ackWaitMs: number;
  onMessage(message: LogMessage): void;
  /** The reader is finished; the shard must be opened again. */
  onSurprise(reason: string): void;
}

export interface LogReader {
  /** Messages of the shard that the server has not delivered yet, and the log's end when it was asked. */
  lag(): Promise<{ waiting: number; logEnd: number }>;
  /** Stops handing over; un-acknowledged messages come back to the next reader. */
  stop(): Promise<void>;
}

export interface LogMessage {
  shard: number;
  /** Sequence in the log. */
  seq: number;
  /** As published: `jobs.order.o-1`, without the shard and the namespace. */
  subject: string;
  body: Uint8Array;
  /** Nats-Msg-Id, or null when the publisher gave none. */
  messageId: string | null;
  /** When the log took it, on the server's clock, ms since 1970; null when that is not known any more. */
  publishedAt: number | null;
  header(name: string): string | null;
  /** Every header, for dead letters. */
  headers(): Record<string, string>;
  /** Tells JetStream that the commits of this message, and of all the reader handed over before it, have landed: not earlier. */
  ack(): void;
}

export interface PublishOptions {
  messageId?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
}

export interface PublishAck {
  seq: number;
  /** JetStream had seen the message id within its window. */
  duplicate: boolean;
}
