import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { namespace } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { openReadStore } from '../store/postgres.ts';
import { unwrappingReadStore } from '../store/unwrapping.ts';
import type { TextCodec } from '../textCodec.ts';
import { answer } from './routes.ts';
import { SharedReads } from './sharedReads.ts';

export interface InspectServerOptions {
  databaseUrl: string;
  /** Name of the namespace. */
  namespace: string;
  /** Default: a free one. */
  port?: number;
  log?: Logger;
  /** Opens what was recorded through it. */
  codec?: TextCodec | undefined;
}

export interface InspectServer {
  readonly url: string;
  close(): Promise<void>;
}

/** An error as HTTP: code and words for the body. */
class HttpError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Serves what is recorded, read-only, as JSON on 127.0.0.1. Nobody is asked who they are, so it listens nowhere
 * else, and answers only those who call it by a name of this machine: a page in a browser that has
 * another name pointed here (DNS rebinding) gets nothing.
 * @throws PerdureError `wrong_credentials`, `schema_missing`; Error when the port is taken
 */
export async function startInspectServer(options: InspectServerOptions): Promise<InspectServer> {
  const log = options.log ?? createLogger({ level: 'warn' });
  const store = await openReadStore({
    databaseUrl: options.databaseUrl,
    namespace: namespace(options.namespace),
    log,
  });
  const opened = unwrappingReadStore(store, options.codec);
  const reads = new SharedReads();

  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 10_000 },
    (request, response) => {
      respond(request)
        .then((body) => send(request, response, 200, body))
        .catch((thrown) => {
          const { status, code, message } = asHttpError(thrown, log);
          send(request, response, status, { error: { code, message } });
        });
    },
  );
  server.maxConnections = 256;

  async function respond(request: IncomingMessage): Promise<unknown> {
    assertLocal(request.headers.host);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw new HttpError(
        405,
        'method_not_allowed',
        'Only GET and HEAD: nothing can be changed here.',
      );
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    if (url.pathname === '/livez') return { live: true };
    return reads.share(`${url.pathname}${url.search}`, () => answer(opened, url));
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  }).catch(async (error) => {
    await store.close();
    throw error;
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await store.close();
    },
  };
}

function assertLocal(host: string | undefined): void {
  if (host !== undefined && /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i.test(host)) return;
  throw new HttpError(
    403,
    'host_not_allowed',
    'Ask for 127.0.0.1 or localhost; other names are refused.',
  );
}

const STATUS: Partial<Record<string, number>> = {
  bad_options: 400,
  bad_subject: 400,
  not_found: 404,
  store_unavailable: 503,
  timeout: 503,
};

function asHttpError(
  thrown: unknown,
  log: Logger,
): { status: number; code: string; message: string } {
  if (thrown instanceof HttpError) return thrown;
  if (thrown instanceof PerdureError) {
    const { code, message } = thrown;
    return { status: STATUS[code] ?? 500, code, message };
  }
  // What it says may name places and people; the log is for that.
  log.error({ err: asError(thrown) }, 'inspect: request failed');
  return { status: 500, code: 'unexpected', message: 'Something went wrong; the log says what.' };
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: unknown,
): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-origin',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}
