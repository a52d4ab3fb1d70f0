import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/services.ts';
import {
  create,
  dial,
  echo,
  lastSeen,
  type Peer,
  pause,
  poison,
  STREAMS,
  said,
  talk,
  timed,
  useToxiproxy,
} from './toxiproxyWorld.ts';

useToxiproxy();

/** An echo takes less than so many milliseconds; one of them, since a busy machine may keep any of them waiting. */
const quick = (peer: Peer, ms: number) =>
  eventually(async () => (await said(peer, 'soon')) < ms, { what: `an echo within ${ms} ms` });

describe.each(STREAMS)('toxics %s', (stream) => {
  /** Whoever receives in this direction. */
  const receiver = (peer: Peer) => (stream === 'upstream' ? lastSeen() : peer);
  const sender = (peer: Peer) => (stream === 'upstream' ? peer : lastSeen());

  test('latency delays existing and new connections, by jitter more or less', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const toxic = await poison(proxy, 'latency', stream, { latency: 300, jitter: 20 });
    expect(await said(peer, 'late')).toBeGreaterThan(275);
    expect(await said(await dial(proxy), 'late')).toBeGreaterThan(275);
    await toxic.remove();
    await quick(peer, 250);
  });

  test('latency delays everything by as much, and keeps nothing back when removed', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const toxic = await poison(proxy, 'latency', stream, { latency: 5_000, jitter: 0 });
    peer.socket.write('one ');
    await pause(20);
    peer.socket.write('two ');
    await pause(50);
    expect(peer.length).toBe(5);
    await toxic.remove();
    peer.socket.write('three');
    const ms = await timed('all of it', () => peer.length === 'helloone two three'.length);
    expect(peer.received.toString()).toBe('helloone two three');
    expect(ms).toBeLessThan(4_500);
  });

  test('bandwidth limits the rate', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    await poison(proxy, 'bandwidth', stream, { rate: 200 });
    const ms = await said(peer, randomBytes(100_000));
    // 500 ms for 100 kB; the first 100 ms pass before the first byte.
    expect(ms).toBeGreaterThan(450);
    expect(ms).toBeLessThan(10_000);
  });

  test('bandwidth 0 stops everything, and loses nothing', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const toxic = await poison(proxy, 'bandwidth', stream, { rate: 0 });
    const sent = randomBytes(300_000);
    peer.socket.write(sent);
    await pause(200);
    expect(peer.length).toBe(5);
    await toxic.remove();
    await eventually(() => peer.length === sent.length + 5, { what: 'all bytes' });
    expect(peer.received.subarray(5).equals(sent)).toBe(true);
  });

  test('slow_close delays the end and nothing else', async () => {
    const proxy = await create();
    await poison(proxy, 'slow_close', stream, { delay: 400 });
    const peer = await dial(proxy);
    await quick(peer, 350);
    sender(peer).socket.end();
    expect(await timed('the end', () => receiver(peer).over === 'end')).toBeGreaterThan(380);
  });

  test('timeout 0 swallows everything, keeps the connection, and closes it when removed', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const toxic = await poison(proxy, 'timeout', stream, { timeout: 0 });
    const before = receiver(peer).length;
    sender(peer).socket.write(randomBytes(500_000));
    await pause(200);
    expect(receiver(peer).length).toBe(before);
    expect([peer.over, lastSeen().over]).toEqual([undefined, undefined]);
    // The other direction is as it was.
    echo.silent = true;
    const back = sender(peer).length;
    receiver(peer).socket.write('back');
    await eventually(() => sender(peer).length >= back + 4, { what: 'the other direction' });
    await toxic.remove();
    await eventually(() => receiver(peer).over !== undefined, { what: 'the end' });
    echo.silent = false;
    await talk(proxy);
  });

  test('timeout closes when it is over', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const before = receiver(peer).length;
    const from = performance.now();
    await poison(proxy, 'timeout', stream, { timeout: 200 });
    sender(peer).socket.write('lost');
    await eventually(() => receiver(peer).over !== undefined, { what: 'the end' });
    expect(performance.now() - from).toBeGreaterThan(180);
    expect(receiver(peer).length).toBe(before);
  });

  test('a blackhole with slow_close does not tell that the other side has closed', async () => {
    const proxy = await create();
    const peer = await talk(proxy);
    const toxics = [
      await poison(proxy, 'slow_close', stream, { delay: 60_000 }),
      await poison(proxy, 'timeout', stream, { timeout: 0 }),
    ];
    sender(peer).socket.destroy();
    await pause(200);
    expect(receiver(peer).over).toBe(undefined);
    for (const toxic of toxics) await toxic.remove();
    await eventually(() => receiver(peer).over !== undefined, { what: 'the end' });
  });

  test('reset_peer resets', async () => {
    const proxy = await create();
    const toxic = await poison(proxy, 'reset_peer', stream, { timeout: 100 });
    const peer = await dial(proxy);
    peer.socket.write('hello');
    const ms = await timed('both ends', () => peer.over !== undefined && !!lastSeen().over);
    expect([peer.over, lastSeen().over]).toEqual(['ECONNRESET', 'ECONNRESET']);
    expect(ms).toBeGreaterThan(90);
    await toxic.remove();
    await talk(proxy);
  });

  test('slicer sends small pieces in order', async () => {
    const proxy = await create();
    await poison(proxy, 'slicer', stream, { average_size: 100, size_variation: 50, delay: 5_000 });
    const peer = await dial(proxy);
    await eventually(() => echo.seen.length > 0, { what: 'the connection' });
    const other = receiver(peer);
    const sent = randomBytes(20_000);
    await said(peer, sent);
    expect(peer.received.equals(sent)).toBe(true);
    // Of some 200; a busy machine finds several at a time, and all at once without the slicer.
    expect(other.chunks.length).toBeGreaterThan(10);
  });

  test('limit_data closes after so many bytes', async () => {
    const proxy = await create();
    await poison(proxy, 'limit_data', stream, { bytes: 1_000 });
    const peer = await talk(proxy);
    echo.silent = true;
    const sent = randomBytes(2_000);
    sender(peer).socket.write(sent);
    await eventually(() => peer.over !== undefined && !!lastSeen().over, { what: 'both ends' });
    expect(receiver(peer).received.toString('hex')).toBe(
      `${Buffer.from('hello').toString('hex')}${sent.subarray(0, 995).toString('hex')}`,
    );
  });

  test('a toxicity of 0 does nothing', async () => {
    const proxy = await create();
    await poison(proxy, 'timeout', stream, { timeout: 0 }, 0);
    await talk(proxy);
  });
});
