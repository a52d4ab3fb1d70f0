import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { toxicKinds } from './toxics.ts';
import type { Toxic } from './toxiproxyLink.ts';
import { ToxicProxy } from './toxiproxyProxy.ts';

/** The version of the API. */
const VERSION = '2.12.0';

class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Answer {
  status: number;
  body?: unknown;
}

type Handler = (it: {
  proxies: Map<string, ToxicProxy>;
  body: string;
  /** The names in the path. */
  name: string;
  toxic: string;
}) => Answer | Promise<Answer>;

const ok = (body: unknown): Answer => ({ status: 200, body });
const done: Answer = { status: 204 };

/** Source: Shopify/toxiproxy, README.md "HTTP API" and api.go. */
const routes: [path: RegExp, methods: Record<string, Handler>][] = [
  [/^\/version$/, { GET: () => ok({ version: VERSION }) }],
  [/^\/reset$/, { POST: reset }],
  [/^\/populate$/, { POST: populate }],
  [
    /^\/proxies$/,
    {
      GET: ({ proxies }) =>
        ok(Object.fromEntries([...proxies].map(([name, proxy]) => [name, shown(proxy)]))),
      POST: create,
    },
  ],
  [
    /^\/proxies\/([^/]+)$/,
    { GET: (it) => ok(shown(proxyOf(it))), POST: update, PATCH: update, DELETE: remove },
  ],
  [
    /^\/proxies\/([^/]+)\/toxics$/,
    { GET: (it) => ok(shown(proxyOf(it)).toxics), POST: createToxic },
  ],
  [
    /^\/proxies\/([^/]+)\/toxics\/([^/]+)$/,
    {
      GET: (it) => ok(shownToxic(toxicOf(it))),
      POST: updateToxic,
      PATCH: updateToxic,
      DELETE: removeToxic,
    },
  ],
];

/** toxiproxy in this process, on a free port of the loopback device. */
export async function startToxiproxy(): Promise<{ url: string; close(): Promise<void> }> {
  const proxies = new Map<string, ToxicProxy>();
  // One request at a time, as nothing here is slow and a proxy must not start while it stops.
  let turn: Promise<unknown> = Promise.resolve();
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const answering = turn.then(() => answer(proxies, request.method ?? 'GET', path, body));
    turn = answering;
    const { status, body: content } = await answering;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(content === undefined ? undefined : `${JSON.stringify(content)}\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      await Promise.all([...proxies.values()].map((proxy) => proxy.stop()));
    },
  };
}

async function answer(
  proxies: Map<string, ToxicProxy>,
  method: string,
  path: string,
  body: string,
): Promise<Answer> {
  try {
    for (const [pattern, methods] of routes) {
      const match = pattern.exec(path);
      if (match === null) continue;
      const handler = methods[method];
      if (handler === undefined) throw new ApiError(405, 'method not allowed');
      const [name = '', toxic = ''] = match.slice(1).map(decodeURIComponent);
      return await handler({ proxies, body, name, toxic });
    }
    throw new ApiError(404, '404 page not found');
  } catch (error) {
    return failure(error);
  }
}

function failure(thrown: unknown): { status: number; body: { error: string; status: number } } {
  const status = thrown instanceof ApiError ? thrown.status : 500;
  const error = thrown instanceof Error ? thrown.message : String(thrown);
  return { status, body: { error, status } };
}

async function reset({ proxies }: Parameters<Handler>[0]): Promise<Answer> {
  for (const proxy of proxies.values()) {
    await proxy.start();
    for (const toxic of proxy.toxics) proxy.removeToxic(toxic);
  }
  return done;
}

const proxyShape = {
  name: 'string',
  listen: 'string',
  upstream: 'string',
  enabled: 'boolean',
} as const;

async function create({ proxies, body }: Parameters<Handler>[0]): Promise<Answer> {
  const { name, listen = '', upstream, enabled = true } = fields(parsed(body), proxyShape);
  if (!name) throw new ApiError(400, 'missing required field: name');
  if (!upstream) throw new ApiError(400, 'missing required field: upstream');
  if (proxies.has(name)) throw new ApiError(409, 'proxy already exists');
  const proxy = new ToxicProxy(name, listen, upstream);
  if (enabled) await proxy.start();
  proxies.set(name, proxy);
  return { status: 201, body: shown(proxy) };
}

async function populate({ proxies, body }: Parameters<Handler>[0]): Promise<Answer> {
  const populated: ReturnType<typeof shown>[] = [];
  try {
    const list = parsed(body);
    if (!Array.isArray(list)) throw bad('the body is not a list');
    const wanted = list.map((entry) => fields(entry, proxyShape));
    for (const [i, { name, upstream }] of wanted.entries()) {
      if (!name) throw new ApiError(400, `missing required field: name at proxy ${i + 1}`);
      if (!upstream) throw new ApiError(400, `missing required field: upstream at proxy ${i + 1}`);
    }
    for (const { name = '', listen = '', upstream = '', enabled = true } of wanted) {
      let proxy = proxies.get(name);
      if (proxy === undefined || (await proxy.differs(listen, upstream))) {
        await proxy?.stop();
        proxy = new ToxicProxy(name, listen, upstream);
        if (enabled) await proxy.start();
        proxies.set(name, proxy);
      }
      populated.push(shown(proxy));
    }
    return { status: 201, body: { proxies: populated } };
  } catch (thrown) {
    const { status, body } = failure(thrown);
    return { status, body: { ...body, proxies: populated } };
  }
}

async function update(it: Parameters<Handler>[0]): Promise<Answer> {
  const proxy = proxyOf(it);
  const { enabled: before } = proxy;
  const { listen, upstream, enabled = before } = fields(parsed(it.body), proxyShape);
  const next = { listen: listen ?? proxy.listen, upstream: upstream ?? proxy.upstream };
  if (await proxy.differs(next.listen, next.upstream)) {
    await proxy.stop();
    Object.assign(proxy, next);
  }
  if (enabled) await proxy.start();
  else await proxy.stop();
  return ok(shown(proxy));
}

async function remove(it: Parameters<Handler>[0]): Promise<Answer> {
  await proxyOf(it).stop();
  it.proxies.delete(it.name);
  return done;
}

function createToxic(it: Parameters<Handler>[0]): Answer {
  const proxy = proxyOf(it);
  const given = fields(parsed(it.body), {
    name: 'string',
    type: 'string',
    stream: 'string',
    toxicity: 'number',
    attributes: 'object',
  });
  const { type = '', toxicity = 1, attributes = {} } = given;
  const stream = (given.stream ?? 'downstream').toLowerCase();
  if (stream !== 'upstream' && stream !== 'downstream')
    throw new ApiError(400, 'stream was invalid, can be either upstream or downstream');
  const name = given.name || `${type}_${stream}`;
  if (!Object.hasOwn(toxicKinds, type)) throw new ApiError(400, 'invalid toxic type');
  if (proxy.toxics.some((toxic) => toxic.name === name))
    throw new ApiError(409, 'toxic already exists');
  const toxic = { name, type, stream, toxicity, attributes: {} } satisfies Toxic;
  toxic.attributes = { ...toxicKinds[type]?.attributes, ...attributesOf(type, attributes) };
  proxy.addToxic(toxic);
  return ok(shownToxic(toxic));
}

function updateToxic(it: Parameters<Handler>[0]): Answer {
  const toxic = toxicOf(it);
  const given = fields(parsed(it.body), { toxicity: 'number', attributes: 'object' });
  Object.assign(toxic.attributes, attributesOf(toxic.type, given.attributes ?? {}));
  toxic.toxicity = given.toxicity ?? toxic.toxicity;
  proxyOf(it).changeToxic(toxic);
  return ok(shownToxic(toxic));
}

function removeToxic(it: Parameters<Handler>[0]): Answer {
  proxyOf(it).removeToxic(toxicOf(it));
  return done;
}

function proxyOf({
  proxies,
  name,
}: {
  proxies: Map<string, ToxicProxy>;
  name: string;
}): ToxicProxy {
  const proxy = proxies.get(name);
  if (proxy === undefined) throw new ApiError(404, 'proxy not found');
  return proxy;
}

function toxicOf(it: { proxies: Map<string, ToxicProxy>; name: string; toxic: string }): Toxic {
  const toxic = proxyOf(it).toxics.find((each) => each.name === it.toxic);
  if (toxic === undefined) throw new ApiError(404, 'toxic not found');
  return toxic;
}

function shown({ name, listen, upstream, enabled, toxics }: ToxicProxy) {
  return { name, listen, upstream, enabled, toxics: toxics.map(shownToxic) };
}

function shownToxic({ attributes, name, type, stream, toxicity }: Toxic) {
  return { attributes, name, type, stream, toxicity };
}

function attributesOf(type: string, given: object): Record<string, number> {
  const names = Object.keys(toxicKinds[type]?.attributes ?? {});
  const shape = Object.fromEntries(names.map((name) => [name, 'integer' as const]));
  return fields(given, shape) as Record<string, number>;
}

interface Kinds {
  string: string;
  boolean: boolean;
  number: number;
  integer: number;
  object: object;
}

const bad = (why: string) => new ApiError(400, `bad request body: ${why}`);

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error));
  }
}

/** The fields of the shape that are given; others are ignored, and null is not given. */
function fields<S extends Record<string, keyof Kinds>>(
  value: unknown,
  shape: S,
): { [K in keyof S]?: Kinds[S[K]] } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad('not an object');
  const given: [string, unknown][] = [];
  for (const [name, kind] of Object.entries(shape)) {
    const field = (value as Record<string, unknown>)[name] ?? undefined;
    if (field === undefined) continue;
    const right =
      kind === 'integer' ? Number.isInteger(field) : !Array.isArray(field) && typeof field === kind;
    if (!right) throw bad(`field ${name} is not of type ${kind}`);
    given.push([name, field]);
  }
  return Object.fromEntries(given) as { [K in keyof S]?: Kinds[S[K]] };
}
