import type { Bus } from '../bus/bus.ts';
import { subjects } from '../bus/subjects.ts';
import type { Clock } from '../clock.ts';
import type { Namespace } from '../config.ts';

/** `renewed`: the sender's lease goes on, so Postgres answers it. `look`: shards are free, or somebody has joined. */
type Word = 'renewed' | 'look';

interface Beats {
  last: number;
  before: number;
}

/**
 * What the nodes call out to each other over core NATS. Only hints: a lost word makes somebody look a moment later,
 * a wrong one makes somebody look for nothing.
 */
export class Peers {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #subject: string;
  readonly #nodeId: string;
  /** Last two renewals of each other node, monotonic, ms. */
  readonly #beats = new Map<string, Beats>();
  #silence: () => void = () => {};

  constructor(bus: Bus, clock: Clock, namespace: Namespace, nodeId: string) {
    this.#bus = bus;
    this.#clock = clock;
    this.#subject = subjects.nodes(namespace);
    this.#nodeId = nodeId;
  }

  listen(onLook: () => void): void {
    this.#silence = this.#bus.listen(this.#subject, (_subject, body) => {
      const said = read(body);
      if (!said || said.node === this.#nodeId) return;
      if (said.word === 'look') return onLook();
      const before = this.#beats.get(said.node)?.last ?? Number.NEGATIVE_INFINITY;
      this.#beats.set(said.node, { last: this.#clock.monotonic(), before });
      if (this.#beats.size > KNOWN_MAX) this.#forgetOldest();
    });
  }

  tell(word: Word): void {
    this.#bus.broadcast(this.#subject, JSON.stringify({ node: this.#nodeId, word }));
  }

  /**
   * Whether another node renews its lease regularly, as of now: then Postgres works, and who cannot reach it is cut
   * off alone. One renewal is not enough: after an outage of Postgres somebody has to be the first.
   */
  someoneRenews(everyMs: number): boolean {
    const now = this.#clock.monotonic();
    for (const { last, before } of this.#beats.values())
      if (now - last < 1.5 * everyMs && now - before < 3 * everyMs && last - before > everyMs / 2)
        return true;
    return false;
  }

  stop(): void {
    this.#silence();
  }

  #forgetOldest(): void {
    const [oldest] = [...this.#beats].sort(([, a], [, b]) => a.last - b.last);
    if (oldest) this.#beats.delete(oldest[0]);
  }
}

const KNOWN_MAX = 1_000;

function read(body: Uint8Array): { node: string; word: Word } | undefined {
  try {
    const { node, word } = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;
    if (typeof node === 'string' && (word === 'renewed' || word === 'look')) return { node, word };
  } catch {
    // Somebody else's words.
  }
  return undefined;
}
