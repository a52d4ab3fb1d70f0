import { asError, PerdureError } from './errors.ts';

/**
 * The place for encryption or compression: every text of an actor's data goes through `wrap` on its way to Postgres and
 * through `unwrap` on its way back. Both are synchronous and called for every row.
 */
export interface TextCodec {
  /** Left out: it reads, and what is written stays plain. @throws anything: the commit is refused then, and tried again */
  wrap?(text: string): string;
  /** Opens whatever `wrap` has ever written, under older keys as well. @throws for what it cannot open */
  unwrap(wrapped: string): string;
}

/** One that writes as well. */
export type Writing = Required<TextCodec>;

export const writes = (codec: TextCodec | undefined): codec is Writing => codec?.wrap !== undefined;

/** A wrapped text is JSON still, for views and tools. Nothing that comes from outside may have the key. */
export const WRAPPED_HEAD = '{"$perdure":"wrapped","v":"';

/** What a wrapped text is when it was parsed. */
export interface Wrapped {
  $perdure: 'wrapped';
  v: string;
}

export const isWrapped = (text: string): boolean => text.startsWith(WRAPPED_HEAD);

export const isWrappedValue = (value: unknown): value is Wrapped =>
  typeof value === 'object' &&
  value !== null &&
  (value as { $perdure?: unknown }).$perdure === 'wrapped';

/** @throws PerdureError `codec_failed` */
export function wrap(codec: Writing, text: string): string {
  const v: unknown = attempt('wrap', () => codec.wrap(text));
  return JSON.stringify({ $perdure: 'wrapped', v });
}

/** The text as it was; one that is not wrapped, written before there was a codec, is given back. @throws PerdureError `codec_failed` */
export function unwrap(codec: TextCodec | undefined, text: string): string {
  if (!isWrapped(text)) return text;
  if (!codec) throw cannotOpen('there is no codec here');
  const opened = attempt('unwrap', () => codec.unwrap((JSON.parse(text) as Wrapped).v));
  try {
    // A cipher that does not notice a wrong key makes noise of it.
    JSON.parse(opened);
  } catch {
    throw cannotOpen('what the codec made of it is no JSON');
  }
  return opened;
}

/** For what is read as data and not as text. */
export const unwrapValue = (codec: TextCodec | undefined, value: unknown): unknown =>
  isWrappedValue(value) ? JSON.parse(unwrap(codec, JSON.stringify(value))) : value;

export function cannotOpen(why: string): PerdureError {
  return new PerdureError(
    'codec_failed',
    `This was recorded through a codec, and cannot be opened: ${why}.`,
  );
}

function attempt(direction: 'wrap' | 'unwrap', work: () => unknown): string {
  let given: unknown;
  try {
    given = work();
  } catch (thrown) {
    const { message } = asError(thrown);
    throw direction === 'unwrap'
      ? cannotOpen(message)
      : new PerdureError('codec_failed', `The codec could not wrap a text: ${message}`);
  }
  if (typeof given === 'string') return given;
  throw new PerdureError('codec_failed', `The codec's ${direction} must answer a string at once.`);
}
