import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * When the line is cut:
 *  - `before`: the statement never reaches Postgres;
 *  - `during`: it has been sent, and nobody waits for what becomes of it;
 *  - `after`: it has been executed, its answer is lost.
 */
export type Cut = 'before' | 'during' | 'after';

/** A line to Postgres that can be cut at the one moment that matters, between a statement and its answer. */
export interface CutProxy {
  /** The database URL that goes through it. */
  readonly url: string;
  /** Cuts the next `count` executions of prepared statements with such a name. */
  cut(when: Cut, statement: (name: string) => boolean, count?: number): void;
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
  let plan: { when: Cut; statement: (name: string) => boolean; left: number } | undefined;

  function planned(name: string): Cut | undefined {
    if (!plan || plan.left <= 0 || !plan.statement(name)) return undefined;
    plan.left--;
    cuts.push(name);
    return plan.when;
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
    cut(when, statement, count = 1) {
      plan = { when, statement, left: count };
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
const SYNC = 0x53;
const READY = 0x5a;

function relay(
  client: Socket,
  upstream: Socket,
  end: () => void,
  planned: (name: string) => Cut | undefined,
): void {
  let fromClient = Buffer.alloc(0);
  let fromServer = Buffer.alloc(0);
  let started = false;
  let cut: Cut | undefined;

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
      if (type === BIND && cut === undefined) {
        cut = planned(statementOf(fromClient.subarray(at, at + length)));
        if (cut === 'before') {
          upstream.write(fromClient.subarray(keep, at));
          return end();
        }
      }
      at += length;
      if (type === SYNC && cut === 'during') {
        upstream.write(fromClient.subarray(keep, at));
        upstream.end();
        client.destroy();
        return;
      }
    }
    upstream.write(fromClient.subarray(keep, at));
    keep = at;
    fromClient = fromClient.subarray(at);
  });

  upstream.on('data', (chunk) => {
    if (cut === undefined) return void client.write(chunk);
    if (cut !== 'after') return;
    // Nothing of the answer is passed on; once it is complete the transaction is over.
    fromServer = Buffer.concat([fromServer, chunk]);
    for (let at = 0; fromServer.length >= at + 5; ) {
      if (fromServer[at] === READY) return end();
      at += 1 + fromServer.readUInt32BE(at + 1);
    }
  });
}

/** Bind is: type, length, name of the portal, name of the prepared statement, … */
function statementOf(bind: Buffer): string {
  const from = bind.indexOf(0, 5) + 1;
  return bind.toString('utf8', from, bind.indexOf(0, from));
}
