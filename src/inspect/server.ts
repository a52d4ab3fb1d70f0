import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../clock.ts';
import { namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { openReadStore } from '../store/postgres.ts';
import type { ReadStore } from '../store/read.ts';
import { unwrappingReadStore } from '../store/unwrapping.ts';
import type { TextCodec } from '../textCodec.ts';
import { actRoutes } from './actRoutes.ts';
import { Acts } from './acts.ts';
import { harden, readBody, sendError, sendFile, sendJson } from './answering.ts';
import { Charts } from './charts.ts';
import { Counts } from './counts.ts';
import { type Engine, engineOver, noEngine } from './engine.ts';
import { assertRole, cookieFor, Guard, type Tokens } from './guard.ts';
import { asHttpError, HttpError } from './httpError.ts';
import { Live } from './live.ts';
import { openApiOf } from './openapi.ts';
import { pageFiles } from './pageFiles.ts';
import { readRoutes } from './readRoutes.ts';
import { type Redactions, redactingReadStore, redactionsOf } from './redaction.ts';
import { CHEAP, Rested } from './rested.ts';
import { ANSWERED, checkBody, find, Query, type Route, readPath } from './route.ts';
import { SharedReads } from './sharedReads.ts';
import { Vocabulary } from './vocabulary.ts';

export interface InspectServerOptions {
  databaseUrl: string;
  /** Without it the inspector can neither act nor tell what happens now. */
  natsUrl?: string | undefined;
  /** Name of the namespace. */
  namespace: string;
  /** Default: a free one. */
  port?: number | undefined;
  /** Address to listen on. Default 127.0.0.1. */
  host?: string | undefined;
  /** Names it may be called by besides those of this machine. */
  names?: readonly string[] | undefined;
  /** Left out: whoever reaches it may do everything; only where nobody but this machine does. */
  tokens?: Tokens | undefined;
  log?: Logger;
  /** What is not shown, each `TYPE:PATH`. */
  redact?: readonly string[] | undefined;
  /** Opens what was recorded through it. */
  codec?: TextCodec | undefined;
  /** Gives the waiting for Postgres up. */
  signal?: AbortSignal | undefined;
}

export interface InspectServer {
  readonly url: string;
  /** Rules that hide nothing, since there is no such type yet: what to say of each. */
  readonly idleRules: readonly string[];
  close(): Promise<void>;
}

/**
 * Serves the inspector: the page, and the HTTP API it is made of (docs/inspect-api.md).
 * Waits for Postgres as long as it takes.
 * @throws PerdureError `wrong_credentials`, `schema_missing`, `bad_options` for a door that would be open by accident,
 *   or when it cannot listen there; `store_unavailable` when `signal` aborts
 */
export async function startInspectServer(options: InspectServerOptions): Promise<InspectServer> {
  const { host = '127.0.0.1', names, tokens } = options;
  const guard = new Guard({ host, names, tokens });
  const redactions = redactionsOf(options.redact ?? []);
  const log = options.log ?? createLogger({ level: 'warn' });
  const space = namespace(options.namespace);
  const { databaseUrl, signal } = options;
  const opened = await openReadStore({
    databaseUrl,
    namespace: space,
    log,
    ...(signal && { signal }),
  });
  const store = unwrappingReadStore(opened, options.codec);
  const engine = options.natsUrl
    ? engineOver({ natsUrl: options.natsUrl, namespace: space, log }, store, redactions.size > 0)
    : noEngine();
  // What is published again is published as it was.
  const shown = redactingReadStore(store, redactions);
  const site = new Site({ store: shown, engine, guard, namespace: space.name, log });
  try {
    const idleRules = await idleRulesOf(redactions, store);
    const url = await site.listen(options.port ?? 0, host);
    site.getReady();
    return {
      url,
      idleRules,
      async close() {
        await site.close();
        await engine.close();
        await opened.close();
      },
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** A type that is misspelt would leave open what was meant to be hidden. */
async function idleRulesOf(rules: Redactions, store: ReadStore): Promise<string[]> {
  const vocabulary = new Vocabulary(store);
  const found: string[] = [];
  for (const type of rules.keys()) {
    const missing = type === '*' ? undefined : await vocabulary.missing(type);
    if (missing) found.push(`--redact ${type}:… hides nothing. ${missing.message}`);
  }
  return found;
}

export interface SiteParts {
  store: ReadStore;
  engine: Engine;
  guard: Guard;
  namespace: string;
  log: Logger;
}

/** The inspector on HTTP, over whatever store and engine it is given. */
export class Site {
  readonly #guard: Guard;
  readonly #log: Logger;
  readonly #live: Live;
  readonly #charts: Charts;
  readonly #routes: readonly Route[];
  readonly #reads = new SharedReads();
  readonly #store: ReadStore;
  readonly #server = createServer(
    { requestTimeout: 10_000, headersTimeout: 10_000 },
    (request, response) => void this.#respond(request, response),
  );

  constructor({ store, engine, guard, namespace: name, log }: SiteParts) {
    this.#guard = guard;
    this.#log = log;
    this.#store = store;
    this.#live = new Live(engine, log);
    const charts = new Charts(store);
    this.#charts = charts;
    const vocabulary = new Vocabulary(store);
    const readers = new Rested(() => engine.readers(), systemClock, CHEAP);
    const sources = {
      ...{ store, charts, vocabulary, counts: new Counts(store), live: this.#live },
      readers: () => readers.get(),
      mailbox: engine.mailbox,
    };
    this.#routes = [
      ...readRoutes({ ...sources, namespace: name, locked: guard.locked }),
      ...actRoutes({ store, vocabulary, engine, acts: new Acts(store, charts, engine) }),
    ];
    this.#server.maxConnections = 256;
  }

  /** The table of routes, for the documents. */
  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** @throws PerdureError `bad_options` */
  async listen(port: number, host: string): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve());
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another process has the port' : error.message;
      throw new PerdureError('bad_options', `Cannot listen on ${host} port ${port}: ${why}.`, {
        cause: error,
      });
    });
    const address = this.#server.address() as AddressInfo;
    return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
  }

  /** Makes what a browser asks for first and waits for longest, while somebody is opening one. */
  getReady(): void {
    pageFiles();
    void this.#charts.drawAhead();
  }

  async close(): Promise<void> {
    this.#live.close();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    harden(response);
    try {
      await this.#answer(request, response);
    } catch (thrown) {
      const error = asHttpError(thrown, this.#log);
      if (response.headersSent) return void response.destroy();
      sendError(request, response, error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#guard.assertPlace(request);
    const url = new URL(request.url ?? '/', 'http://inspector');
    const { pathname } = url;
    const method = request.method ?? 'GET';
    const looks = method === 'GET' || method === 'HEAD';
    if (looks && pathname === '/livez') return sendJson(request, response, 200, { live: true });
    const file = pageFiles().get(pathname);
    if (file && looks) {
      // A machine recorded since then is drawn while the browser reads the page.
      if (pathname === '/') void this.#charts.drawAhead();
      return sendFile(request, response, file);
    }
    if (pathname === '/session') return this.#session(request, response);
    // Nobody learns what there is who may not see it.
    const role = this.#guard.roleOf(request);
    if (looks && pathname === '/readyz') {
      await this.#reads.share('/readyz', () => this.#store.nodes());
      return sendJson(request, response, 200, { ready: true });
    }
    if (looks && pathname === '/openapi.json')
      return sendJson(request, response, 200, openApiOf(this.#routes));

    const found = find(this.#routes, method, pathname);
    if ('other' in found) {
      if (found.other.length === 0)
        throw new HttpError(
          404,
          'not_found',
          'There is nothing here; /openapi.json has what there is.',
        );
      throw new HttpError(
        405,
        'method_not_allowed',
        `Only ${found.other.join(', ')}.`,
        found.other,
      );
    }
    const { route } = found;
    assertRole(role, route.role);
    const path = readPath(found.path);
    const query = new Query(url.searchParams, route.query ?? {});
    const body = route.method === 'POST' ? await readBody(request) : {};
    if (route.body) checkBody(body, route.body);
    const ask = () => route.answer({ path, query, body, role, request, response });
    // What many pages ask at once is asked once.
    const shared = route.method === 'GET' && pathname !== '/api/live' && pathname !== '/api/me';
    const answer = await (shared ? this.#reads.share(`${pathname}${url.search}`, ask) : ask());
    if (answer !== ANSWERED) sendJson(request, response, 200, answer);
  }

  /** Trades the token for a cookie, so that the page keeps it nowhere. */
  async #session(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'DELETE')
      return sendJson(request, response, 200, {}, { 'set-cookie': cookieFor(null) });
    if (request.method !== 'POST')
      throw new HttpError(405, 'method_not_allowed', 'Only POST and DELETE.', ['POST', 'DELETE']);
    const { token } = await readBody(request);
    const role = typeof token === 'string' ? this.#guard.roleFor(token) : undefined;
    if (role === undefined)
      throw new HttpError(401, 'token_wrong', 'This token is not known here.');
    sendJson(request, response, 200, { role }, { 'set-cookie': cookieFor(token as string) });
  }
}
