import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { asError, PerdureError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Readiness } from './health.ts';

/** Where a node answers probes. */
export interface HttpOptions {
  /** 0: any free one; `NodeStatus.httpUrl` tells which. */
  port: number;
  /** Default 127.0.0.1. Probes of an orchestrator need `0.0.0.0` or `::`. */
  host?: string;
}

export interface NodeServer {
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|::1)$/i;
const LOOPBACK_HEADER = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i;

/**
 * Answers `/livez`, `/readyz` and `/metrics` of one node. None of them asks a server or shows what actors hold, and
 * `/livez` looks at nothing at all: a node that waits for Postgres must not be killed for it. On a loopback address
 * only callers by a name of this machine are answered, so that no web page can look in (DNS rebinding).
 * @throws PerdureError `bad_options` when it cannot listen there
 */
export async function startNodeServer(
  options: HttpOptions & { readiness: () => Readiness; metrics: Registry; log: Logger },
): Promise<NodeServer> {
  const { port, host = '127.0.0.1', log } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new PerdureError('bad_options', 'http.port must be a whole number from 0 to 65535.');
  const local = LOOPBACK.test(host);

  async function answer(request: IncomingMessage): Promise<Answer> {
    if (local && !LOOPBACK_HEADER.test(request.headers.host ?? ''))
      return failure(403, 'host_not_allowed', 'Ask for 127.0.0.1 or localhost.');
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return failure(405, 'method_not_allowed', 'Only GET and HEAD: nothing can be changed here.');
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === '/livez') return json(200, { live: true });
    if (path === '/readyz') {
      const readiness = options.readiness();
      return json(readiness.ready ? 200 : 503, readiness);
    }
    if (path === '/metrics')
      return {
        status: 200,
        type: options.metrics.contentType,
        body: await options.metrics.metrics(),
      };
    return failure(404, 'not_found', 'There are /livez, /readyz and /metrics.');
  }

  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 10_000 },
    (request, response) => {
      answer(request)
        .catch((thrown) => {
          log.error({ error: asError(thrown).stack }, 'http: request failed');
          return failure(500, 'unexpected', 'Something went wrong; the log says what.');
        })
        .then((found) => send(request, response, found));
    },
  );
  server.maxConnections = 256;
  await listen(server, port, host);
  const address = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(
  server: ReturnType<typeof createServer>,
  port: number,
  host: string,
): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (thrown) {
    const error = asError(thrown) as NodeJS.ErrnoException;
    const why =
      error.code === 'EADDRINUSE' ? 'the port is taken by another process' : error.message;
    throw new PerdureError(
      'bad_options',
      `Cannot listen on ${host} port ${port} (option http): ${why}. Port 0 takes any free one.`,
      { cause: thrown },
    );
  }
}

const json = (status: number, body: unknown): Answer => ({
  status,
  type: JSON_TYPE,
  body: `${JSON.stringify(body)}\n`,
});

const failure = (status: number, code: string, message: string): Answer =>
  json(status, { error: { code, message } });

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(answer.status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}
