import { Agent, request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Client, inFlight, type Place } from '../peer.ts';

/** A client's way into Restate, and to the tables it shows of itself. */
export class Ingress {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 100 });
  readonly #place: Place;
  #balancer: Server | undefined;

  constructor(place: Place) {
    this.#place = place;
  }

  /** `/service/handler`, with `/send` at its end for those who do not wait. */
  async call(path: string, body?: unknown): Promise<unknown> {
    return this.#post(`${this.#place.restate.ingress}${path}`, body);
  }

  /** Sends `count` invocations that are all due at one time, and returns at that time. */
  async backlog(count: number, send: (i: number, delay: string) => Promise<unknown>) {
    const dueAt = Date.now() + LEAD_MS + count * SEND_MS;
    await inFlight(count, (i) => send(i, `?delay=${dueAt - Date.now()}ms`));
    const left = dueAt - Date.now();
    if (left < 0)
      throw new Error(`the last of ${count} was sent ${-left} ms after the first was due`);
    await new Promise((resolve) => setTimeout(resolve, left));
  }

  /** Invocations that are not done. */
  async open(where = ''): Promise<number> {
    const query = `SELECT count(*) AS n FROM sys_invocation WHERE status <> 'completed' ${where}`;
    const { rows } = (await this.#post(`${this.#place.restate.admin}/query`, { query })) as {
      rows: { n: number }[];
    };
    return rows[0]?.n ?? 0;
  }

  /** Tells Restate where the handlers are. Two workers are behind one address, as its documentation has it. */
  async register(workers: number): Promise<void> {
    const [first = 0] = this.#place.restate.endpoints;
    const port = workers === 1 ? first : await this.#balance();
    await this.#post(`${this.#place.restate.admin}/deployments`, {
      uri: `http://127.0.0.1:${port}`,
      force: true,
    });
  }

  /** Connections in turn to the workers that answer. */
  async #balance(): Promise<number> {
    const { endpoints } = this.#place.restate;
    let next = 0;
    const open = (socket: Socket, tries: number) => {
      const target = connect(endpoints[next++ % endpoints.length] as number, '127.0.0.1');
      target.once('connect', () => socket.pipe(target).pipe(socket));
      target.once('error', () => (tries > 0 ? open(socket, tries - 1) : socket.destroy()));
      target.once('close', () => target.bytesRead > 0 && socket.destroy());
      socket.on('error', () => target.destroy());
      socket.once('close', () => target.destroy());
    };
    this.#balancer = createServer((socket) => open(socket, endpoints.length));
    await new Promise<void>((resolve) => this.#balancer?.listen(0, '127.0.0.1', resolve));
    return (this.#balancer.address() as { port: number }).port;
  }

  close(): void {
    this.#agent.destroy();
    this.#balancer?.close();
  }

  #post(url: string, body: unknown): Promise<unknown> {
    const text = body === undefined ? '' : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const asked = request(
        url,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            accept: 'application/json',
            ...(text === '' ? {} : { 'content-type': 'application/json' }),
            'content-length': Buffer.byteLength(text),
          },
        },
        (answer) => {
          let said = '';
          answer.setEncoding('utf8').on('data', (part) => {
            said += part;
          });
          answer.once('end', () => {
            if ((answer.statusCode ?? 500) >= 300) reject(new Error(`${url}: ${said}`));
            else resolve(said === '' ? undefined : JSON.parse(said));
          });
          answer.once('error', reject);
        },
      );
      asked.once('error', reject);
      asked.end(text);
    });
  }
}

const LEAD_MS = 1_500;
/** Time given to send one of a backlog; the ingress takes 1 ms and less when the machine is quiet. */
const SEND_MS = 4;

/** The parts of a client that are the same with and without XState. */
export function clientOf(
  place: Place,
  ingress: Ingress,
  put: (i: number, query: string) => Promise<unknown>,
  rest: Pick<Client, 'one' | 'create' | 'send'>,
): Client {
  return {
    bulk: (count) =>
      place.kind === 'slow' || place.kind === 'sleep'
        ? inFlight(count, (i) => put(i, ''))
        : ingress.backlog(count, put),
    each: (count) => inFlight(count, (i) => put(i, '')),
    ...rest,
    finished: async (count) => (await ingress.open()) === (place.kind === 'sleep' ? count : 0),
    async close() {
      ingress.close();
    },
  };
}
