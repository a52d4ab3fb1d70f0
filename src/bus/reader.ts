import type { ConsumerInfo } from '@nats-io/jetstream';
import { createInbox, type Msg } from '@nats-io/transport-node';
import type { Cancel, Clock } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { LogReader, ReaderOptions } from './bus.ts';
import type { Connection } from './connection.ts';
import { type Delivery, DeliveryParser, JetStreamMessage } from './message.ts';

/** A pull request ends after this, ms; then the reader pulls again. */
const PULL_EXPIRES_MS = 5_000;
/** The server speaks at least this often while a pull request waits, ms. */
const HEARTBEAT_MS = 1_000;
/**
 * Beats of silence after which the reader pulls anew, and after which it gives up: later than the connection
 * notices a cut line, which is the better answer to that.
 */
const SILENT_REPULL = 2;
const SILENT_SURPRISE = 5;
/** Pause before pulling again when the server turned a pull down, ms. */
const REPULL_MS = 250;
/** "No responders" in a row after which the consumer counts as gone. */
const GONE_AFTER = 3;
/** How long a delivery may be under way after a reconnect before it counts as lost, ms. */
const IN_FLIGHT_MS = 500;

const ACK = '+ACK';
const WORKING = '+WPI';

/** The log as its leader saw it. */
export interface LogSample {
  /** Reading of `Clock.monotonic`, ms. */
  at: number;
  lastSeq: number;
  /** Server that leads the stream; null when the stream has one copy only. */
  leader: string | null;
}

/** What a reader needs of the bus that opened it. */
export interface ReaderPort {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Logger;
  readonly stream: string;
  /** @throws PerdureError */
  consumerInfo(name: string): Promise<ConsumerInfo>;
  deleteConsumer(name: string): Promise<void>;
  sampleLog(): Promise<LogSample>;
  /** The log's end that the consumer's server knew of when it counted. */
  knownEnd(sample: LogSample, consumer: ConsumerInfo): number;
}

/**
 * Pulls one shard of the log through a consumer that belongs to this reader alone.
 *
 * The pull loop is written on core NATS and not on the client's `consume()`, which would pull on over a lost
 * consumer, needs two missed heartbeats after every 409, and costs a JsMsg, a clock reading and two status
 * objects per message where 64 readers share one thread.
 */
export class ShardReader implements LogReader {
  readonly #port: ReaderPort;
  readonly #options: ReaderOptions;
  readonly #consumer: string;
  readonly #inbox = createInbox();
  readonly #nextSubject: string;
  readonly #parser = new DeliveryParser();
  /** Handed over and not acknowledged, oldest first. The messages themselves are let go of. */
  readonly #held: Delivery[] = [];
  /** The newest that was acknowledged. */
  #acknowledged: Delivery | undefined;
  readonly #settle = (seq: number) => this.#acknowledge(seq);
  readonly #undo = new Set<Cancel>();
  #beat: Cancel = () => {};
  #keepAlive: Cancel = () => {};
  #stopped = false;
  /** Last sequence handed over. */
  #lastSeq: number;
  /** Last delivery of the consumer that arrived. */
  #consumerSeq = 0;
  /** Messages the server may still send for pulls that wait there. */
  #wanted = 0;
  #heard = true;
  #silentBeats = 0;
  #refusals = 0;
  /** Last sequence that had been handed over when the server was told last what is being worked on. */
  #toldSeq = 0;

  constructor(port: ReaderPort, options: ReaderOptions, consumer: string) {
    this.#port = port;
    this.#options = options;
    this.#consumer = consumer;
    this.#lastSeq = options.startSeq - 1;
    this.#nextSubject = `$JS.API.CONSUMER.MSG.NEXT.${port.stream}.${consumer}`;
    const { connection } = port;
    this.#undo.add(connection.subscribe(this.#inbox, (error, msg) => this.#onMsg(error, msg)));
    this.#undo.add(
      connection.onChange((connected) => {
        if (connected) void this.#resume();
      }),
    );
    this.#nextBeat();
    this.#nextKeepAlive();
    this.#pull();
  }

  async lag(): Promise<{ waiting: number; logEnd: number }> {
    // In this order: what the log held then is delivered or pending now.
    const sample = await this.#port.sampleLog();
    const info = await this.#port.consumerInfo(this.#consumer);
    // What is on its way to us counts as waiting: nobody may move a cursor past it.
    const onTheWay = Math.max(0, info.delivered.consumer_seq - this.#consumerSeq);
    return { waiting: info.num_pending + onTheWay, logEnd: this.#port.knownEnd(sample, info) };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#end();
    await this.#port.deleteConsumer(this.#consumer);
  }

  #end() {
    this.#stopped = true;
    this.#beat();
    this.#keepAlive();
    for (const undo of this.#undo) undo();
    this.#held.length = 0;
  }

  #surprise(reason: string) {
    if (this.#stopped) return;
    this.#end();
    void this.#port.deleteConsumer(this.#consumer);
    this.#options.onSurprise(reason);
  }

  #onMsg(error: Error | null, msg: Msg) {
    if (this.#stopped) return;
    if (error) return this.#surprise(`the subscription ended: ${error.message}`);
    this.#heard = true;
    if (msg.subject === this.#inbox) return this.#onStatus(msg);
    const delivery = this.#parser.parse(msg.reply ?? '');
    if (delivery === null) return; // somebody wrote to our inbox
    this.#refusals = 0;
    if (delivery.consumerSeq !== this.#consumerSeq + 1)
      return this.#surprise(
        `delivery ${this.#consumerSeq + 1} is missing, got ${delivery.consumerSeq}`,
      );
    this.#consumerSeq = delivery.consumerSeq;
    this.#wanted--;
    const { seq } = delivery;
    if (seq <= this.#lastSeq) {
      // A repeated delivery: still held here, or done and its acknowledgement got lost.
      if (seq <= (this.#acknowledged?.seq ?? 0)) this.#acknowledgeAgain();
    } else if (delivery.count > 1) {
      return this.#surprise(`message ${seq} came again, its first delivery never arrived`);
    } else {
      this.#lastSeq = seq;
      this.#held.push(delivery);
      try {
        this.#options.onMessage(new JetStreamMessage(this.#options.shard, seq, msg, this.#settle));
      } catch (thrown) {
        this.#port.log.error(
          { shard: this.#options.shard, epoch: this.#options.epoch, logSeq: seq, err: thrown },
          'onMessage threw',
        );
        return this.#surprise(`onMessage threw: ${asError(thrown).message}`);
      }
    }
    if (this.#wanted <= this.#options.pendingMax / 2) this.#pull();
  }

  /** Heartbeats and the ends of pull requests. Source: ADR-37 and nats-server, server/consumer.go. */
  #onStatus(msg: Msg) {
    const code = msg.headers?.code ?? 0;
    const text = msg.headers?.description ?? '';
    if (code === 100) return;
    const left = Number(msg.headers?.get('Nats-Pending-Messages') || Number.NaN);
    this.#wanted = Number.isNaN(left) ? 0 : Math.max(0, this.#wanted - left);
    if (code === 408 || code === 404) {
      this.#refusals = 0;
      return this.#pull();
    }
    if (code === 409 && /deleted|shutdown/i.test(text))
      return this.#surprise(`the consumer is gone: ${text}`);
    if (code === 400) return this.#surprise(`the server refuses to deliver: ${text}`);
    if (code === 503) {
      this.#refusals++;
      if (this.#refusals >= GONE_AFTER)
        return this.#surprise('the consumer is gone: no responders');
    }
    // Leadership changes, too many pulls, and whatever later servers say: ask again in a moment.
    this.#later(REPULL_MS, () => this.#pull());
  }

  /** Asks for as many messages as may be held; the server itself stops at max_ack_pending. */
  #pull() {
    const batch = this.#options.pendingMax - this.#wanted;
    if (batch <= 0 || this.#stopped || !this.#port.connection.connected) return;
    this.#wanted += batch;
    const request = `{"batch":${batch},"expires":${PULL_EXPIRES_MS}000000,"idle_heartbeat":${HEARTBEAT_MS}000000}`;
    this.#send(this.#nextSubject, request, this.#inbox);
  }

  /**
   * Takes up again after a reconnect. What the server sent into the dead socket shows as deliveries that it
   * counts and we never saw.
   */
  async #resume() {
    let info: ConsumerInfo;
    try {
      info = await this.#port.consumerInfo(this.#consumer);
    } catch (thrown) {
      if (this.#port.connection.connected)
        this.#surprise(`after a reconnect: ${asError(thrown).message}`);
      return; // gone again: the next reconnect asks again
    }
    if (this.#stopped) return;
    this.#wanted = 0;
    this.#silentBeats = 0;
    this.#refusals = 0;
    // The last word may have got lost.
    this.#acknowledgeAgain();
    this.#pull();
    if (info.delivered.consumer_seq > this.#consumerSeq)
      this.#later(IN_FLIGHT_MS, () => {
        if (info.delivered.consumer_seq > this.#consumerSeq && this.#port.connection.connected)
          this.#surprise('deliveries were lost with the connection');
      });
  }

  #nextBeat() {
    this.#beat = this.#port.clock.after(HEARTBEAT_MS, () => {
      this.#nextBeat();
      if (this.#heard || !this.#port.connection.connected) {
        this.#heard = false;
        this.#silentBeats = 0;
        return;
      }
      this.#silentBeats++;
      if (this.#silentBeats >= SILENT_SURPRISE)
        return this.#surprise(`the server was silent for ${SILENT_SURPRISE} heartbeats`);
      if (this.#silentBeats === SILENT_REPULL) {
        this.#wanted = 0;
        this.#pull();
      }
    });
  }

  /** Tells the server that old messages are still being worked on; new ones need no word. */
  #nextKeepAlive() {
    this.#keepAlive = this.#port.clock.after(this.#options.ackWaitMs / 3, () => {
      this.#nextKeepAlive();
      for (const delivery of this.#held) {
        if (delivery.seq > this.#toldSeq) break; // the rest is younger than one round
        this.#send(this.#parser.ackSubject(delivery), WORKING);
      }
      this.#toldSeq = this.#lastSeq;
    });
  }

  /** One word for it and all before it: shards are worked through in order (ADR 0016). */
  #acknowledge(seq: number) {
    const next = this.#held.findIndex((delivery) => delivery.seq > seq);
    const last = this.#held.splice(0, next < 0 ? this.#held.length : next).at(-1);
    if (last === undefined) return;
    this.#acknowledged = last;
    this.#send(this.#parser.ackSubject(last), ACK);
  }

  /**
   * Not that of the repeated delivery: the server takes an acknowledgement for one of everything it delivered before, and
   * would hear no other of what it delivered meanwhile.
   */
  #acknowledgeAgain() {
    if (this.#acknowledged) this.#send(this.#parser.ackSubject(this.#acknowledged), ACK);
  }

  /** Words that may get lost: an acknowledgement that does is asked for again after ack-wait. */
  #send(subject: string, body: string, reply?: string) {
    const { connection, log } = this.#port;
    if (!connection.connected) return;
    try {
      if (reply === undefined) connection.post(subject, body);
      else connection.nc.publish(subject, body, { reply });
    } catch (thrown) {
      log.debug(
        { shard: this.#options.shard, epoch: this.#options.epoch, err: thrown },
        'could not write to NATS',
      );
    }
  }

  #later(delayMs: number, run: () => void) {
    const cancel = this.#port.clock.after(delayMs, () => {
      this.#undo.delete(cancel);
      if (!this.#stopped) run();
    });
    this.#undo.add(cancel);
  }
}
