import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Guard } from '../../src/inspect/guard.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { ask, recordingEngine, startSite, TOKEN_ACT, TOKEN_READ } from '../support/inspectSite.ts';

// Who is let in, and what is let in, by the inspector.

const store = createMemoryStore({ clock: systemClock, shards: 2 });
const { engine, told } = recordingEngine();
let locked: Awaited<ReturnType<typeof startSite>>;
let open: Awaited<ReturnType<typeof startSite>>;

beforeAll(async () => {
  locked = await startSite(store, engine, { tokens: { act: TOKEN_ACT, read: TOKEN_READ } });
  open = await startSite(store, engine);
});
afterAll(async () => {
  await locked.close();
  await open.close();
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** A request as it is written, with headers `fetch` does not let us set. */
function raw(
  url: string,
  options: { method?: string; path?: string; headers?: Record<string, string>; body?: string },
): Promise<{ status: number; headers: Record<string, unknown>; code: string | undefined }> {
  const { hostname, port } = new URL(url);
  return new Promise((done, failed) => {
    const { body, ...rest } = options;
    const asked = request({ hostname, port, path: '/api/me', ...rest }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        done({
          status: response.statusCode ?? 0,
          headers: response.headers,
          code: text.startsWith('{') ? JSON.parse(text).error?.code : undefined,
        }),
      );
    });
    asked.once('error', failed);
    asked.end(body);
  });
}

describe('tokens', () => {
  test.each([
    '/api/me',
    '/api/overview',
    '/api/actors',
    '/api/live',
    '/openapi.json',
    '/readyz',
    '/nothing',
  ])('%s tells nothing without one', async (path) => {
    const { status, body, headers } = await ask(locked.url + path);
    expect([status, body.error.code]).toEqual([401, 'token_missing']);
    expect(headers.get('www-authenticate')).toBe('Bearer');
  });

  test('a wrong one is refused, a right one let in, each with its role', async () => {
    const me = (token: string) => ask(`${locked.url}/api/me`, { headers: bearer(token) });
    expect((await me(TOKEN_ACT.replace('a', 'b'))).body.error.code).toBe('token_wrong');
    expect((await me('')).status).toBe(401);
    expect((await me(TOKEN_READ)).body).toMatchObject({ role: 'read', locked: true });
    expect((await me(TOKEN_ACT)).body).toMatchObject({ role: 'act' });
  });

  test('whoever may look cannot act', async () => {
    const routes = locked.site.routes.filter(({ role }) => role === 'act');
    expect(routes.length).toBeGreaterThan(5);
    for (const { path } of routes) {
      const answer = await ask(locked.url + path.replace(/\{\w+\}/g, '1'), {
        json: {},
        headers: bearer(TOKEN_READ),
      });
      expect([answer.status, answer.body.error.code], path).toEqual([403, 'role_read']);
    }
    expect(told).toEqual([]);
  });

  test('every route that is not a GET needs the role to act', () => {
    for (const { method, role, path } of locked.site.routes)
      expect(role === 'act', path).toBe(method !== 'GET');
  });

  test('the page trades it for a cookie that no script and no other site has', async () => {
    const wrong = await ask(`${locked.url}/session`, { json: { token: 'x' } });
    expect([wrong.status, wrong.headers.get('set-cookie')]).toEqual([401, null]);
    const { headers } = await ask(`${locked.url}/session`, { json: { token: TOKEN_READ } });
    const cookie = headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict/);
    const given = { cookie: cookie.split(';')[0] as string };
    expect((await ask(`${locked.url}/api/me`, { headers: given })).body.role).toBe('read');
    const gone = await ask(`${locked.url}/session`, { method: 'DELETE' });
    expect(gone.headers.get('set-cookie')).toContain('Max-Age=0');
  });

  test.each([
    'short',
    'a'.repeat(64),
    '0123456789abcdef'.repeat(1),
    'with a blank in it '.repeat(4),
    'ü'.repeat(40),
  ])('%s is too weak', (token) => {
    expect(() => new Guard({ host: '127.0.0.1', tokens: { act: token } })).toThrow(/too weak/);
    expect(() => new Guard({ host: '127.0.0.1', tokens: { read: token } })).toThrow(/too weak/);
  });

  test('bug: one token for both roles let whoever may look do everything', () => {
    const same = { act: TOKEN_ACT, read: TOKEN_ACT };
    expect(() => new Guard({ host: '127.0.0.1', tokens: same })).toThrow(
      /Both tokens are the same/,
    );
  });

  test('nothing is open to others by accident', () => {
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'db.internal']) {
      expect(() => new Guard({ host }), host).toThrow(/token/);
      expect(() => new Guard({ host, tokens: { act: TOKEN_ACT } }), host).toThrow(/names/);
      new Guard({ host, tokens: { act: TOKEN_ACT }, names: ['perdure.example'] });
    }
    for (const host of ['127.0.0.1', 'localhost', '::1', '127.3.2.1']) new Guard({ host });
  });
});

describe('places', () => {
  test.each([
    'evil.example',
    'evil.example:80',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '0.0.0.0',
    '[::2]:80',
    'a@localhost',
  ])('the name %s is not ours (DNS rebinding)', async (host) => {
    for (const path of ['/', '/api/me', '/livez', '/session'])
      expect((await raw(open.url, { path, headers: { host } })).code, path).toBe(
        'host_not_allowed',
      );
  });

  test.each(['localhost', 'LOCALHOST:1', '127.0.0.1:80', '[::1]:80'])('%s is', async (host) => {
    expect((await raw(open.url, { headers: { host } })).status).toBe(200);
  });

  test.each([
    'http://evil.example',
    'http://localhost:1',
    'null',
    'file://',
    'https://127.0.0.1.evil.example',
  ])('a page of %s is refused', async (origin) => {
    const post = { method: 'POST', path: '/api/dead-letters/1/redrive', body: '{}' };
    const json = { 'content-type': 'application/json' };
    for (const given of [{ path: '/api/me' }, post])
      expect((await raw(open.url, { ...given, headers: { origin, ...json } })).code).toBe(
        'origin_not_allowed',
      );
    expect(told).toEqual([]);
  });

  test('requests a browser marks as coming from elsewhere are refused, visits are not', async () => {
    const crossSite = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'no-cors',
      'sec-fetch-dest': 'script',
    };
    expect((await raw(open.url, { headers: crossSite })).code).toBe('origin_not_allowed');
    const visit = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    };
    expect((await raw(open.url, { path: '/', headers: visit })).status).toBe(200);
    const frame = { ...visit, 'sec-fetch-dest': 'iframe' };
    expect((await raw(open.url, { path: '/', headers: frame })).code).toBe('origin_not_allowed');
  });

  test('a page of ours is let in', async () => {
    const { host } = new URL(open.url);
    const headers = { host, origin: open.url, 'sec-fetch-site': 'same-origin' };
    expect((await raw(open.url, { headers })).status).toBe(200);
  });
});

describe('bodies', () => {
  const path = '/api/actors/order/a-1/events';
  const post = (
    body: string,
    headers: Record<string, string> = { 'content-type': 'application/json' },
  ) => raw(open.url, { method: 'POST', path, body, headers });

  test('what a form of another site could send is no JSON', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
      expect((await post('{}', { 'content-type': type })).code, type).toBe('bad_media_type');
    expect((await post('{}', {})).code).toBe('bad_media_type');
  });

  test('one that is too large is refused, also when it does not say how large it is', async () => {
    const large = JSON.stringify({ event: { type: 'A', text: 'x'.repeat(600_000) } });
    expect(await post(large)).toMatchObject({ status: 413, code: 'body_too_large' });
    const chunked = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' };
    expect(await post(large, chunked)).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  test.each([
    '{"event":{"type":"A","__proto__":{"admin":true}}}',
    '{"__proto__":{}}',
    '{"event":{"a":[{"__proto__":1}]}}',
  ])('no __proto__: %s', async (body) =>
    expect(await post(body)).toMatchObject({ status: 400, code: 'bad_body' }),
  );

  test.each([
    '',
    '[]',
    'null',
    '"x"',
    '{',
    '\u0000',
    '{"event":1}',
    '{"event":{"type":"A"},"more":1}',
    '{"until":"never","event":{"type":"A"}}',
  ])('nonsense is a 400: %j', async (body) => expect((await post(body)).status).toBe(400));
});

describe('paths', () => {
  test.each([
    '/../package.json',
    '/modules/../../../package.json',
    '/modules/inspect/page/../server.ts',
    '/modules/%2e%2e/%2e%2e/package.json',
    '/modules/inspect/page/..%2f..%2fserver.ts',
    '/modules/inspect/server.ts',
    '//etc/passwd',
    '/modules/inspect/page/main.ts%00',
    '/.git/config',
  ])('%s is not there', async (path) => {
    const { status } = await raw(open.url, { path });
    expect(status).toBe(404);
  });

  test.each([
    '/api/actors/a.b/c',
    '/api/actors/order/..%2f..%2fx',
    '/api/actors/order/%00',
    '/api/actors/order/%zz',
    "/api/actors/order/'%3B--",
    `/api/actors/order/${'x'.repeat(2_000)}`,
    '/api/actors/order/a/history/-1',
    '/api/actors?limit=x',
    '/api/actors?limit=0',
    '/api/actors?limit=999999',
    '/api/actors?tpye=order',
    '/api/actors?type=a&type=b',
    '/api/actors?status=sleepy',
    '/api/actors?after=x',
    '/api/actors?text=%00',
    '/api/actors?__proto__=1',
    `/api/actors?text=${'x'.repeat(2_000)}`,
  ])('%s is a 400', async (path) => expect((await raw(open.url, { path })).status).toBe(400));

  test('a method that is not there is a 405 that says which are', async () => {
    const answer = await raw(open.url, { method: 'PUT', path: '/api/actors' });
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET' } });
    expect((await raw(open.url, { path: '/api/bulk' })).headers.allow).toBe('POST');
  });
});

test('every answer says what a browser may do with it', async () => {
  for (const path of ['/', '/modules/style.css', '/api/me', '/nothing']) {
    const { headers } = await raw(open.url, { path });
    const policy = String(headers['content-security-policy']);
    expect(policy, path).toContain(`default-src 'none'`);
    expect(policy, path).not.toMatch(/unsafe|\*|https?:/);
    expect(headers, path).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    });
  }
});

test('the page brings everything along, and nothing of it is inline', async () => {
  const page = await (await fetch(open.url)).text();
  expect(page).not.toMatch(/<style|style=|onclick|https?:/);
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
  const seen = new Set<string>();
  const follow = async (path: string): Promise<void> => {
    if (seen.has(path)) return;
    seen.add(path);
    const response = await fetch(open.url + path);
    expect(response.status, path).toBe(200);
    const text = await response.text();
    if (!path.endsWith('.css'))
      expect(response.headers.get('content-type')).toContain('javascript');
    else expect(text).not.toMatch(/url\((?!["']?data:)|@import/);
    for (const [, from = ''] of text.matchAll(/\bfrom\s*['"]([^'"]+)['"]/g)) {
      expect(from, path).toMatch(/^[./]/);
      await follow(new URL(from, open.url + path).pathname);
    }
  };
  const named = [...page.matchAll(/(?:src|href)="(\/modules\/[^"]+)"/g)].map(
    ([, path = '']) => path,
  );
  for (const path of named) await follow(path);
  expect(seen.size).toBeGreaterThan(8);
  // A module the page does not name is asked for only once another has come.
  expect([...seen].filter((path) => !named.includes(path))).toEqual([]);
});
