import { describe, expect, test } from 'vitest';
import { Posts } from '../../src/bus/wire.ts';

/** Stands in for the client: what it would write to the server, and in which order. */
function client() {
  let written = '';
  const publish = (subject: string, body: Uint8Array) => {
    written += `PUB ${subject} ${body.length}\r\n${Buffer.from(body)}\r\n`;
  };
  const sendCommand = (command: Uint8Array) => {
    written += Buffer.from(command).toString();
  };
  const nc = { publish, protocol: { sendCommand } } as never;
  return { nc, written: () => written };
}

const framed = (subject: string, body: string) =>
  `PUB ${subject} ${Buffer.byteLength(body)}\r\n${body}\r\n`;

describe('posts', () => {
  test.each([
    ['a text', 'a.b', 'hello'],
    ['nothing', 'a.b', ''],
    ['a text of which only the bytes have three digits', 'a.b', 'é'.repeat(60)],
    ['a text with a character of two units', 'a.b', '🦉 '.repeat(7)],
    ['a subject that is not ASCII', 'a.ü', 'hello'],
    ['neither', 'ä.ü', 'grün'],
  ])('%s is framed by its bytes', (_what, subject, body) => {
    const { nc, written } = client();
    const posts = new Posts();
    posts.post(nc, 'x', '1');
    posts.post(nc, subject, body);
    posts.post(nc, 'y', '2');
    posts.flush();
    expect(written()).toBe(framed('x', '1') + framed(subject, body) + framed('y', '2'));
  });

  test('those of one go are handed over with its end, in their order, however many and however large', async () => {
    const { nc, written } = client();
    const posts = new Posts();
    let expected = '';
    for (let i = 0; i < 3_000; i++) {
      const body = 'aé'.repeat(i % 97 === 0 ? 9_000 : i % 60);
      posts.post(nc, `s.${i}`, i % 5 === 0 ? Buffer.from(body) : body);
      expected += framed(`s.${i}`, body);
    }
    await Promise.resolve();
    expect(written() === expected).toBe(true);
    posts.post(nc, 'later', '1');
    await Promise.resolve();
    expect(written() === expected + framed('later', '1')).toBe(true);
  });

  test('what was for another connection is handed to that one', () => {
    const [a, b] = [client(), client()];
    const posts = new Posts();
    posts.post(a.nc, 'x', '1');
    posts.post(b.nc, 'y', '2');
    posts.flush();
    expect([a.written(), b.written()]).toEqual([framed('x', '1'), framed('y', '2')]);
  });
});
