import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { TextCodec } from 'perdure';

/**
 * AES-256-GCM. `keys` is `NAME:BASE64,NAME:BASE64`, the newest first: that one writes, all of them read, so that a new key
 * is first given to every node behind the old one, then to every node before it.
 */
export function encrypting(keys: string): Required<TextCodec> {
  const known = new Map(
    keys
      .split(',')
      .filter((key) => key !== '')
      .map((key): [string, Buffer] => {
        const [name = '', secret = ''] = key.split(':');
        return [name, Buffer.from(secret, 'base64')];
      }),
  );
  const [newest] = known.keys();
  return {
    wrap(text) {
      if (newest === undefined) throw new Error('CODEC_KEYS is empty');
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', known.get(newest) as Buffer, iv);
      const parts = [iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      return `${newest}.${Buffer.concat(parts).toString('base64')}`;
    },
    unwrap(wrapped) {
      const dot = wrapped.indexOf('.');
      const key = known.get(wrapped.slice(0, dot));
      if (!key) throw new Error(`there is no key ${wrapped.slice(0, dot)} here`);
      const bytes = Buffer.from(wrapped.slice(dot + 1), 'base64');
      const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
      cipher.setAuthTag(bytes.subarray(-16));
      return cipher.update(bytes.subarray(12, -16), undefined, 'utf8') + cipher.final('utf8');
    },
  };
}

/** Short texts stay as they are: they would only grow. */
export const compressing: Required<TextCodec> = {
  wrap: (text) =>
    text.length < 500 ? `=${text}` : `~${deflateRawSync(text, { level: 1 }).toString('base64')}`,
  unwrap: (wrapped) =>
    wrapped.startsWith('=')
      ? wrapped.slice(1)
      : inflateRawSync(Buffer.from(wrapped.slice(1), 'base64')).toString(),
};

export const codec = encrypting(process.env.CODEC_KEYS ?? '');
