import type { IncomingMessage, ServerResponse } from 'node:http';
import { LIMITS } from '../config.ts';
import { HttpError } from './httpError.ts';
import type { PageFile } from './pageFiles.ts';

/** An event as large as the log takes, and what is around it. */
const BODY_MAX_BYTES = LIMITS.bodyMaxBytes + 4_096;

/** Nothing that is written into the page runs, and the page speaks to nobody but us. */
const POLICY = [
  `default-src 'none'`,
  `script-src 'self'`,
  `style-src 'self'`,
  `connect-src 'self'`,
  `img-src 'self' data:`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** Headers every answer has, also one that is written elsewhere. */
export function harden(response: ServerResponse): void {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
}

export function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: unknown,
  more: Record<string, string> = {},
): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...more,
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}

export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  { status, code, message, allowed }: HttpError,
): void {
  // Whoever sends what is not wanted may still be at it.
  const close: Record<string, string> = request.complete ? {} : { connection: 'close' };
  if (status === 405 && allowed) close.allow = allowed.join(', ');
  if (status === 401) close['www-authenticate'] = 'Bearer';
  sendJson(
    request,
    response,
    status,
    { error: { code, message, ...(allowed && { allowed }) } },
    close,
  );
}

export function sendFile(request: IncomingMessage, response: ServerResponse, file: PageFile): void {
  const headers = { 'cache-control': 'no-cache', etag: file.etag };
  if (request.headers['if-none-match'] === file.etag) {
    response.writeHead(304, headers);
    return void response.end();
  }
  response.writeHead(200, {
    ...headers,
    'content-type': file.type,
    'content-length': file.body.byteLength,
  });
  response.end(request.method === 'HEAD' ? undefined : file.body);
}

/**
 * The JSON object in a request.
 * @throws HttpError 415 for what a form of another site could send, 413, 400
 */
export async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
    throw new HttpError(415, 'bad_media_type', 'Send JSON, as content-type application/json.');
  if (Number(request.headers['content-length'] ?? 0) > BODY_MAX_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > BODY_MAX_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return parsed(Buffer.concat(chunks));
}

const tooLarge = () =>
  new HttpError(413, 'body_too_large', `A body has at most ${BODY_MAX_BYTES} bytes.`);

function parsed(bytes: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text === '' ? '{}' : text, refuseProto);
  } catch (thrown) {
    if (thrown instanceof HttpError) throw thrown;
    if (thrown instanceof RangeError)
      throw new HttpError(400, 'bad_body', 'The body is nested too deep.');
    throw new HttpError(400, 'bad_body', 'The body is no JSON.');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new HttpError(400, 'bad_body', 'The body must be a JSON object.');
}

/** The key that turns data into a prototype when it is merged. */
function refuseProto(this: object, key: string, value: unknown): unknown {
  if (key === '__proto__')
    throw new HttpError(400, 'bad_body', 'No object in a body may have the key __proto__.');
  return value;
}
