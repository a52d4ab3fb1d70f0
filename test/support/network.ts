import { randomBytes } from 'node:crypto';
import { type Proxy as Proxied, Toxiproxy } from 'toxiproxy-node-client';
import { toxiproxy } from './toxiproxy.ts';

/** The lines between nodes and their servers, each of which can be troubled alone. */
export interface Network {
  /** A node's own lines to each NATS server and to Postgres. The same node gets the same ones. */
  line(node: string): Promise<Line>;
  /** Every line of every node works again. */
  heal(): Promise<void>;
  close(): Promise<void>;
}

export type What = 'nats' | 'postgres' | 'both';

/**
 *  - `blackhole`: nothing comes through in either direction, not even that somebody has closed; what was sent is lost,
 *    so that healing closes every connection there is;
 *  - `to`: only what the node sends gets lost;
 *  - `from`: only what the node is sent gets lost;
 *  - `stall`: nothing comes through until it heals, then everything does: a gap that TCP survives, with old news after it;
 *  - `refuse`: connections are closed, and new ones refused.
 */
export type How = 'blackhole' | 'to' | 'from' | 'stall' | 'refuse';

export interface Line {
  /** One URL for each server, separated by commas; servers must not advertise the way around it (`no_advertise`). */
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** Default: a blackhole. */
  cut(what: What, how?: How): Promise<void>;
  /** Delays every byte in each direction. */
  latency(what: What, ms: number, jitterMs?: number): Promise<void>;
  /** Limits each direction of each connection to so many kB/s. */
  bandwidth(what: What, rate: number): Promise<void>;
  /** Sends bytes in small pieces of about `size`. */
  slicer(what: What, size: number): Promise<void>;
  /** Resets every connection now; new ones work. */
  reset(what: What): Promise<void>;
  heal(): Promise<void>;
  /** Ends it for good. */
  remove(): Promise<void>;
}

export interface Upstreams {
  natsUrls: string[];
  databaseUrl: string;
}

/** Nothing that is closed is seen to be so for this long: longer than any test. */
const HOLD_MS = 3_600_000;

export async function openNetwork(upstreams: Upstreams): Promise<Network> {
  const running = await toxiproxy();
  const client = new Toxiproxy(running.url);
  const id = randomBytes(4).toString('hex');
  const lines = new Map<string, Promise<Line>>();
  const each = async (act: (line: Line) => Promise<void>) => {
    await Promise.all([...lines.values()].map(async (line) => act(await line)));
  };
  return {
    line(node) {
      const known = lines.get(node);
      if (known) return known;
      const line = openLine(client, `${id}-${node}`, upstreams, () => lines.delete(node));
      lines.set(node, line);
      return line;
    },
    heal: () => each((line) => line.heal()),
    async close() {
      await each((line) => line.remove());
      await running.close();
    },
  };
}

async function openLine(
  client: Toxiproxy,
  name: string,
  upstreams: Upstreams,
  onRemove: () => void,
): Promise<Line> {
  const nats = await Promise.all(
    upstreams.natsUrls.map((url, i) => Strand.open(client, `${name}-nats-${i}`, url, '4222')),
  );
  const postgres = await Strand.open(client, `${name}-postgres`, upstreams.databaseUrl, '5432');
  const all = [...nats, postgres];
  const on = async (what: What, act: (strand: Strand) => Promise<void>) => {
    await Promise.all((what === 'both' ? all : what === 'nats' ? nats : [postgres]).map(act));
  };
  return {
    natsUrl: nats.map((strand) => strand.url).join(','),
    databaseUrl: postgres.url,
    cut: (what, how = 'blackhole') => on(what, (strand) => strand.cut(how)),
    latency: (what, latency, jitter = 0) =>
      on(what, (strand) => strand.poison('latency', BOTH, { latency, jitter })),
    bandwidth: (what, rate) => on(what, (strand) => strand.poison('bandwidth', BOTH, { rate })),
    slicer: (what, size) =>
      on(what, (strand) =>
        strand.poison('slicer', BOTH, {
          average_size: size,
          size_variation: Math.floor(size / 2),
          delay: 0,
        }),
      ),
    reset: (what) => on(what, (strand) => strand.reset()),
    heal: () => on('both', (strand) => strand.heal()),
    async remove() {
      onRemove();
      await on('both', (strand) => strand.remove());
    },
  };
}

type Direction = 'upstream' | 'downstream';

const BOTH: readonly Direction[] = ['upstream', 'downstream'];

/** One proxy: a node's way to one server. */
class Strand {
  /** The server's URL, by this way. */
  readonly url: string;
  readonly #proxy: Proxied;
  /** Toxics on it, by name, in the order they were added. */
  readonly #toxics = new Map<string, { remove(): Promise<void> }>();
  #enabled = true;

  private constructor(proxy: Proxied, url: string) {
    this.#proxy = proxy;
    this.url = url;
  }

  static async open(client: Toxiproxy, name: string, url: string, port: string): Promise<Strand> {
    const target = new URL(url);
    const proxy = await client.createProxy({
      name,
      // On whichever address toxiproxy itself is reached.
      listen: `${new URL(client.host).hostname}:0`,
      upstream: `${target.hostname}:${target.port || port}`,
    });
    const at = new URL(`tcp://${proxy.listen}`);
    target.hostname = at.hostname;
    target.port = at.port;
    return new Strand(proxy, target.href);
  }

  async cut(how: How): Promise<void> {
    if (how === 'refuse') return this.#enable(false);
    const streams = how === 'to' ? BOTH.slice(0, 1) : how === 'from' ? BOTH.slice(1) : BOTH;
    // A timeout alone would still tell the one side that the other has closed.
    await this.poison('slow_close', streams, { delay: HOLD_MS });
    if (how === 'stall') await this.poison('bandwidth', streams, { rate: 0 });
    else await this.poison('timeout', streams, { timeout: 0 });
  }

  /** Adds a toxic, in place of one of the same type. */
  async poison(type: ToxicType, streams: readonly Direction[], attributes: object): Promise<void> {
    for (const stream of streams) {
      const name = `${type}_${stream}`;
      await this.#toxics.get(name)?.remove();
      this.#toxics.set(
        name,
        await this.#proxy.addToxic({ name, type, stream, toxicity: 1, attributes }),
      );
    }
  }

  async reset(): Promise<void> {
    const resets = await Promise.all(
      BOTH.map((stream) =>
        this.#proxy.addToxic({
          name: `reset_${stream}`,
          type: 'reset_peer',
          stream,
          toxicity: 1,
          attributes: { timeout: 0 },
        }),
      ),
    );
    // The toxic waits for a byte; this does not.
    const enabled = this.#enabled;
    await this.#enable(false);
    for (const toxic of resets) await toxic.remove();
    await this.#enable(enabled);
  }

  async heal(): Promise<void> {
    for (const [name, toxic] of this.#toxics) {
      await toxic.remove();
      this.#toxics.delete(name);
    }
    await this.#enable(true);
  }

  async remove(): Promise<void> {
    await this.#proxy.remove();
  }

  async #enable(enabled: boolean): Promise<void> {
    if (enabled === this.#enabled) return;
    const { listen, upstream } = this.#proxy;
    await this.#proxy.update({ enabled, listen, upstream });
    this.#enabled = enabled;
  }
}

type ToxicType = 'latency' | 'bandwidth' | 'slicer' | 'slow_close' | 'timeout';
