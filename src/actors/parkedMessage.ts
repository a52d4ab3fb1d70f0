import type { LogMessage } from '../bus/bus.ts';
import type { StoredParked } from '../store/elsewhere.ts';
import { type Address, addressKey } from '../store/store.ts';

/** A message that was parked, as it came from the log. */
export class ParkedMessage implements LogMessage {
  readonly shard: number;
  readonly logId: string;
  readonly seq: number;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly messageId: string | null;
  readonly address: Address;
  /** How long it has waited for a node is another measure. */
  readonly publishedAt = null;
  readonly #headers: Record<string, string>;

  constructor(row: StoredParked) {
    this.shard = row.shard;
    this.logId = row.logId;
    this.seq = row.logSeq;
    this.subject = row.subject;
    this.body = row.body;
    this.messageId = row.messageId;
    this.address = { type: row.type, id: row.id };
    this.#headers = JSON.parse(row.headers) as Record<string, string>;
  }

  /** Of the actor it is for. */
  get key(): string {
    return addressKey(this.address);
  }

  header(name: string): string | null {
    return this.#headers[name] || null;
  }

  headers(): Record<string, string> {
    return { ...this.#headers };
  }

  /** JetStream was told when it was parked. */
  ack(): void {}
}
