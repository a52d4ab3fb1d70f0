import { randomBytes } from 'node:crypto';
import { type ToxicType, Toxiproxy } from 'toxiproxy-node-client';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/services.ts';
import { startToxiproxy } from '../support/toxiproxy.ts';
import {
  client,
  create,
  dial,
  echo,
  lastSeen,
  pause,
  poison,
  prefix,
  running,
  STREAMS,
  type Stream,
  said,
  talk,
  useToxiproxy,
} from './toxiproxyWorld.ts';

useToxiproxy();

async function api(method: string, path: string, body?: unknown) {
  const response = await fetch(`${running.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
}

describe('HTTP API', () => {
  test('tells its version', async () => {
    expect(JSON.parse(await client.getVersion())).toEqual({ version: expect.any(String) });
  });

  test('makes, shows, changes and removes proxies', async () => {
    const proxy = await create();
    expect(proxy.listen).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    const whole = {
      name: proxy.name,
      listen: proxy.listen,
      upstream: echo.address,
      enabled: true,
      toxics: [],
    };
    const path = `/proxies/${proxy.name}`;
    expect(await api('GET', path)).toEqual({ status: 200, body: whole });
    expect((await api('GET', '/proxies')).body[proxy.name]).toEqual(whole);
    const off = { status: 200, body: { ...whole, enabled: false } };
    expect(await api('PATCH', path, { enabled: false })).toEqual(off);
    expect(await api('POST', path, { enabled: true })).toEqual({ status: 200, body: whole });
    expect(await api('DELETE', path)).toEqual({ status: 204, body: undefined });
    expect(await api('GET', path)).toEqual(error(404, 'proxy not found'));
    expect(await api('DELETE', path)).toEqual(error(404, 'proxy not found'));
    expect(await api('POST', path, {})).toEqual(error(404, 'proxy not found'));
  });

  test('refuses proxies that make no sense', async () => {
    const proxy = await create();
    const again = { name: proxy.name, listen: '127.0.0.1:0', upstream: echo.address };
    expect(await api('POST', '/proxies', again)).toEqual(error(409, 'proxy already exists'));
    const name = `${prefix}x`;
    expect(await api('POST', '/proxies', { upstream: 'x:1' })).toEqual(
      error(400, 'missing required field: name'),
    );
    expect(await api('POST', '/proxies', { name })).toEqual(
      error(400, 'missing required field: upstream'),
    );
    const bad = error(400, expect.stringMatching(/^bad request body: ./));
    expect(await api('POST', '/proxies', '{')).toEqual(bad);
    expect(await api('POST', '/proxies', { name, upstream: 'x:1', enabled: 'yes' })).toEqual(bad);
    const taken = { name, listen: proxy.listen, upstream: echo.address };
    expect(await api('POST', '/proxies', taken)).toEqual(error(500, expect.any(String)));
    expect(await api('GET', `/proxies/${name}`)).toEqual(error(404, 'proxy not found'));
  });

  test('populates, and leaves alone what is there already', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const { name, listen, upstream } = proxy;
    const other = { name: `${prefix}other`, listen: '127.0.0.1:0', upstream, enabled: false };
    const both = await client.populate([{ name, listen, upstream }, other]);
    expect(Object.keys(both)).toEqual([name, other.name]);
    expect(both[other.name]?.enabled).toBe(false);
    await said(peer, 'still here');
    expect(await api('POST', '/populate', [{ name }])).toEqual({
      status: 400,
      body: {
        ...error(400, 'missing required field: upstream at proxy 1').body,
        proxies: expect.toBeOneOf([[], null]),
      },
    });
  });

  test('makes, shows, changes and removes toxics', async () => {
    const proxy = await create();
    const path = `/proxies/${proxy.name}/toxics`;
    const attributes = { latency: 5, jitter: 0 };
    const toxic = {
      name: 'latency_downstream',
      type: 'latency',
      stream: 'downstream',
      toxicity: 1,
      attributes,
    };
    expect(await api('POST', path, { type: 'latency', attributes: { latency: 5 } })).toEqual({
      status: 200,
      body: toxic,
    });
    expect(await api('GET', path)).toEqual({ status: 200, body: [toxic] });
    expect((await api('GET', `/proxies/${proxy.name}`)).body.toxics).toEqual([toxic]);
    const changed = { ...toxic, toxicity: 0.5, attributes: { latency: 5, jitter: 2 } };
    const change = { toxicity: 0.5, attributes: { jitter: 2 } };
    const one = `${path}/latency_downstream`;
    expect(await api('POST', one, change)).toEqual({ status: 200, body: changed });
    expect(await api('PATCH', one, {})).toEqual({ status: 200, body: changed });
    expect(await api('GET', one)).toEqual({ status: 200, body: changed });
    expect(await api('DELETE', one)).toEqual({ status: 204, body: undefined });
    for (const method of ['GET', 'DELETE'])
      expect(await api(method, one)).toEqual(error(404, 'toxic not found'));
    expect(await api('PATCH', one, {})).toEqual(error(404, 'toxic not found'));
  });

  test('refuses toxics that make no sense', async () => {
    const proxy = await create();
    const path = `/proxies/${proxy.name}/toxics`;
    await poison(proxy, 'latency', 'upstream', { latency: 1, jitter: 0 });
    const same = { name: 'latency_upstream', type: 'timeout', stream: 'downstream' };
    expect(await api('POST', path, same)).toEqual(error(409, 'toxic already exists'));
    expect(await api('POST', path, { type: 'poison' })).toEqual(error(400, 'invalid toxic type'));
    expect(await api('POST', path, { type: 'latency', stream: 'sideways' })).toEqual(
      error(400, 'stream was invalid, can be either upstream or downstream'),
    );
    const bad = error(400, expect.stringMatching(/^bad request body: ./));
    expect(await api('POST', path, 'latency')).toEqual(bad);
    const words = { type: 'latency', attributes: { latency: 'much' } };
    expect(await api('POST', path, words)).toEqual(bad);
    expect(await api('POST', '/proxies/nobody/toxics', { type: 'latency' })).toEqual(
      error(404, 'proxy not found'),
    );
    expect((await api('GET', path)).body).toHaveLength(1);
  });

  test('resets: everything is enabled and nothing is poisoned', async () => {
    // Of its own, as this concerns everybody who uses the toxiproxy.
    const own = running.kind === 'toxiproxy' ? undefined : await startToxiproxy();
    const all = new Toxiproxy(own?.url ?? running.url);
    const name = `${prefix}reset`;
    const proxy = await all.createProxy({ name, listen: '127.0.0.1:0', upstream: echo.address });
    await poison(proxy, 'timeout', 'upstream', { timeout: 0 });
    await proxy.update({ enabled: false, listen: proxy.listen, upstream: proxy.upstream });
    await all.reset();
    expect(await all.get(name)).toMatchObject({ enabled: true, listen: proxy.listen });
    await talk(proxy);
    await proxy.remove();
    await own?.close();
  });

  function error(status: number, words: unknown) {
    return { status, body: { error: words, status } };
  }
});

describe('proxy', () => {
  test('passes bytes both ways, and the end', async () => {
    const peer = await talk(await create());
    peer.socket.end();
    await eventually(() => lastSeen().over === 'end', { what: 'the end at the server' });
    const other = await talk(await create());
    lastSeen().socket.end();
    await eventually(() => other.over === 'end', { what: 'the end at the client' });
  });

  test('disabled, it closes connections and refuses new ones; enabled again, it works', async () => {
    const proxy = await create();
    const { listen, upstream } = proxy;
    const peer = await talk(proxy);
    await proxy.update({ enabled: false, listen, upstream });
    await eventually(() => peer.over !== undefined && lastSeen().over !== undefined, {
      what: 'both ends closed',
    });
    await expect(dial(proxy)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await proxy.update({ enabled: true, listen, upstream });
    await talk(proxy);
  });

  test('closes when there is nobody upstream', async () => {
    const proxy = await create();
    await echo.close();
    const peer = await dial(proxy);
    await eventually(() => peer.over !== undefined, { what: 'the end' });
  });

  test('a server that does not read makes the client wait', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    lastSeen().socket.pause();
    peer.socket.write(Buffer.alloc(64 * 2 ** 20));
    let left = -1;
    await eventually(
      () => {
        const before = left;
        left = peer.socket.writableLength;
        return before === left;
      },
      { what: 'nothing moves', everyMs: 250 },
    );
    // The kernel's buffers on the way take some.
    expect(left).toBeGreaterThan(32 * 2 ** 20);
  });

  test('no byte is lost or out of order while toxics come, change and go', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const sent = randomBytes(3 * 2 ** 20);
    let poisoning = true;
    const poisoner = (async () => {
      const kinds: [ToxicType, object][] = [
        ['latency', { latency: 10, jitter: 8 }],
        ['slicer', { average_size: 5_000, size_variation: 2_000, delay: 100 }],
        ['bandwidth', { rate: 10_000 }],
        ['bandwidth', { rate: 0 }],
        ['slow_close', { delay: 10 }],
      ];
      for (let i = 0; poisoning; i++) {
        const stream = STREAMS[i % 2] as Stream;
        const [type, attributes] = kinds[i % kinds.length] as [ToxicType, object];
        const toxic = await poison(proxy, type, stream, attributes);
        await pause(10);
        await toxic.update({ name: toxic.name, type, stream, toxicity: 0.5, attributes });
        await toxic.remove();
      }
    })();
    for (let at = 0; at < sent.length; at += 40_000) {
      await new Promise((done) => peer.socket.write(sent.subarray(at, at + 40_000), done));
      await pause(2);
    }
    await eventually(() => peer.length === sent.length + 5, { what: 'all bytes back' });
    poisoning = false;
    await poisoner;
    expect(peer.received.subarray(5).equals(sent)).toBe(true);
  });
});
