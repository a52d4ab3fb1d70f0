import type { Msg } from '@nats-io/transport-node';
import type { ErrorCode } from '../errors.ts';

/** What JetStream answers to a message, or to the last one of a batch. */
export interface AckBody {
  seq?: number;
  duplicate?: boolean;
  /** Messages of the batch. */
  count?: number;
  error?: { code?: number; err_code?: number; description?: string };
}

const decoder = new TextDecoder();

/** Undefined for something unreadable. */
export function readAck(msg: Msg): AckBody | undefined {
  try {
    return JSON.parse(decoder.decode(msg.data)) as AckBody;
  } catch {
    return undefined;
  }
}

/** What an error of JetStream's means for the message. Source: nats-server, server/errors.json. */
export function judge(error: NonNullable<AckBody['error']>): ErrorCode | 'again' {
  const text = error.description ?? '';
  // 10077 store failed, with the reason in words; 10023, 10028, 10047: memory, storage or account used up.
  if (/maximum (bytes|messages)/.test(text)) return 'log_full';
  if ([10023, 10028, 10047].includes(error.err_code ?? 0)) return 'log_full';
  if (error.err_code === 10054) return 'body_too_large';
  // 429 too many requests, 503 not leader, not available, shutting down.
  if (error.code === 503 || error.code === 429) return 'again';
  return 'bus_unavailable';
}
