import type { Namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';

/** What a type or an id may look like: one NATS token, safe everywhere it is shown. */
export const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

/** @throws PerdureError `bad_subject` naming the part and what is allowed. */
export function assertToken(part: 'type' | 'id', value: string): void {
  if (!TOKEN.test(value))
    throw new PerdureError(
      'bad_subject',
      `The ${part} ${JSON.stringify(value.slice(0, 140))} is not allowed: use 1 to 128 of A-Z a-z 0-9 _ and -.`,
    );
}

/** Subjects as publishers write them, the namespace's prefix included. See docs/protocol.md. */
export const subjects = {
  start: (ns: Namespace, type: string, id: string) => `${ns.subjectPrefix}jobs.${type}.${id}`,
  event: (ns: Namespace, type: string, id: string) => `${ns.subjectPrefix}events.${type}.${id}`,
  outcome: (ns: Namespace, type: string, id: string) => `${ns.subjectPrefix}outcomes.${type}.${id}`,
  transition: (ns: Namespace, type: string, id: string) =>
    `${ns.subjectPrefix}transitions.${type}.${id}`,
  /** What nodes tell each other (core NATS): hints that only make them look sooner. */
  nodes: (ns: Namespace) => `${ns.subjectPrefix}nodes`,
  /** What waits in the memory of one node. */
  mailbox: (ns: Namespace, nodeId: string) => `${ns.subjectPrefix}mailboxes.${nodeId}`,
  query: (ns: Namespace, type: string, id: string) => `${ns.subjectPrefix}queries.${type}.${id}`,
};

/** Header a publisher sets to be told, on that subject, what became of its message after the commit. */
export const REPLY_HEADER = 'Perdure-Reply';
/** Header of a message that another actor sent: its outbox row's id. */
export const OUTBOX_HEADER = 'Perdure-Outbox';

/**
 * The shard of an actor, as the server's `{{partition(S,2,3)}}` computes it: FNV-1a (32 bit) over the tokens
 * `type` and `id` without a separator, modulo S (nats-server, server/subject_transform.go, getHashPartition).
 */
export function shardOf(type: string, id: string, shards: number): number {
  return fnv1a(type + id) % shards;
}

/** FNV-1a, 32 bit, of text whose characters are single bytes, as tokens and stream names are. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
