import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * When the line is cut:
 *  - `before`: the statement never reaches Postgres;
 *  - `during`: it has been sent, and nobody waits for what becomes of it;
 *  - `after`: it has been executed, its answer is lost;
 *  - `stall`: it never reaches Postgres, and nobody is told: the line stays, as if the node had stopped right there.
 */
export type Cut = 'before' | 'during' | 'after' | 'stall';

/** A line to Postgres that can be cut at the one moment that matters, between a statement and its answer. */
export interface CutProxy {
  /** The database URL that goes through it. */
  readonly url: string;
  /**
   * Cuts the next `count` executions of prepared statements with such a name, of portals where the statement has none, or
   * of queries with such a text.
   * `told` is called at that moment, before anybody can have noticed.
   */
  cut(when: Cut, statement: (name: string) => boolean, count?: number, told?: () => void): void;
  /** Cuts there have been, each with the name of its statement. */
  readonly cuts: readonly string[];
  /** Plans no more cuts. */
  heal(): void;
  /** Cuts every line now. */
  cutAll(): void;
  close(): Promise<void>;
}

/**
 * Source: PostgreSQL documentation, "Message Formats". A frontend message is a type byte and a length that counts
 * itself; only the first message of a session has no type. Every statement of ours is Bind … Execute, Sync.
 */
export async function startCutProxy(databaseUrl: string): Promise<CutProxy> {
  const target = new URL(databaseUrl);
  const lines = new Set<{ end(): void }>();
  const cuts: string[] = [];
  let plan: (Planned & { statement: (name: string) => boolean; left: number }) | undefined;

  function planned(name: string): Planned | undefined {
    if (!plan || plan.left <= 0 || !plan.statement(name)) return undefined;
    plan.left--;
    cuts.push(name);
    return plan;
  }

  const server: Server = createServer((client) => {
    const upstream = connect(Number(target.port || 5432), target.hostname);
    const line = {
      end() {
        lines.delete(line);
        client.destroy();
        upstream.destroy();
      },
    };
    lines.add(line);
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    client.on('error', line.end).on('close', line.end);
    upstream.on('error', line.end).on('close', line.end);
    relay(client, upstream, line.end, planned);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as { port: number }).port);
  return {
    url: url.href,
    cuts,
    cut(when, statement, count = 1, told = () => {}) {
      plan = { when, statement, told, left: count };
    },
    heal() {
      plan = undefined;
    },
    cutAll() {
      for (const line of lines) line.end();
    },
    async close() {
      for (const line of lines) line.end();
      await new Promise((done) => server.close(done));
    },
  };
}

const BIND = 0x42;
const QUERY = 0x51;
const SYNC = 0x53;
const READY = 0x5a;

interface Planned {
  when: Cut;
  told: () => void;
}

function relay(
  client: Socket,
  upstream: Socket,
  end: () => void,
  planned: (name: string) => Planned | undefined,
): void {
  let fromClient = Buffer.alloc(0);
  let started = false;
  let cut: Planned | undefined;
  /** Answers that are complete, of those that were asked for: the first is to the beginning of the session. */
  let answered = 0;
  let asked = 1;
  /** How many are complete when the one that is lost is. */
  let due = Number.POSITIVE_INFINITY;

  client.on('data', (chunk) => {
    fromClient = Buffer.concat([fromClient, chunk]);
    let at = 0;
    let keep = 0;
    for (;;) {
      const head = started ? 1 : 0;
      if (fromClient.length < at + head + 4) break;
      const length = head + fromClient.readUInt32BE(at + head);
      if (fromClient.length < at + length) break;
      const type = started ? fromClient[at] : undefined;
      started = true;
      if ((type === BIND || type === QUERY) && cut === undefined) {
        const message = fromClient.subarray(at, at + length);
        cut = planned(type === BIND ? nameIn(message) : message.toString('utf8', 5, length - 1));
        due = asked + 1;
        if (cut?.when === 'before' || cut?.when === 'stall') {
          upstream.write(fromClient.subarray(keep, at));
          cut.told();
          if (cut.when === 'before') return end();
          client.removeAllListeners('data').resume();
          return;
        }
      }
      at += length;
      const isAsked = type === SYNC || type === QUERY;
      if (isAsked) asked++;
      if (isAsked && cut?.when === 'during' && asked === due) {
        upstream.write(fromClient.subarray(keep, at));
        cut.told();
        upstream.end();
        client.destroy();
        return;
      }
    }
    upstream.write(fromClient.subarray(keep, at));
    keep = at;
    fromClient = fromClient.subarray(at);
  });

  const count = messages((type) => {
    if (type === READY) answered++;
  });
  upstream.on('data', (chunk) => {
    count(chunk);
    if (cut === undefined) return void client.write(chunk);
    // Nothing of the answer is passed on; once it is complete the transaction is over.
    if (cut.when !== 'after' || answered < due) return;
    cut.told();
    end();
  });
}

/** Tells the type of each message of a server, however it is cut into chunks. */
function messages(tell: (type: number) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  /** Bytes of the last message that are still to come. */
  let skip = 0;
  return (chunk) => {
    const begins = Math.min(skip, chunk.length);
    skip -= begins;
    rest = Buffer.concat([rest, chunk.subarray(begins)]);
    let at = 0;
    while (rest.length >= at + 5) {
      tell(rest[at] as number);
      at += 1 + rest.readUInt32BE(at + 1);
    }
    skip += Math.max(0, at - rest.length);
    rest = rest.subarray(at);
  };
}

/** Bind is: type, length, name of the portal, name of the prepared statement, … */
function nameIn(bind: Buffer): string {
  const from = bind.indexOf(0, 5) + 1;
  return bind.toString('utf8', from, bind.indexOf(0, from)) || bind.toString('utf8', 5, from - 1);
}
