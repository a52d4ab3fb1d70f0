import pg from 'pg';
import { asError, PerdureError } from '../errors.ts';
import { withoutSecrets } from '../log.ts';

/**
 * The connection ended while a statement was on its way: whether it landed is not known.
 * Inside the store only; `commit` turns it into `StoreUnknown`, everything else asks again.
 */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

/** SQLSTATE of an error the server sent; undefined for what never came from a server. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/**
 * True when the error says nothing about the statement, only about the connection: it may have landed.
 * Classes 08 (connection) and 57P0x (shutdown, crash, starting up) end the session. Session timeouts too.
 */
export function isConnectivity(error: unknown): boolean {
  const code = sqlState(error);
  if (code === undefined) return true;
  return code.startsWith('08') || code.startsWith('57P') || code === '25P03' || code === '25P04';
}

/** Errors after which nothing of the statement landed and the very same statement can succeed later. */
const TRANSIENT = [
  /^40/, // serialization failure, deadlock
  /^53/, // disk full, out of memory, too many connections
  /^55P03$/, // lock_timeout
  /^57014$/, // statement_timeout, cancelled
  /^25006$/, // read-only: this server is a standby now
  /^58/, // I/O error
];

export function isTransient(error: unknown): boolean {
  const code = sqlState(error);
  return code !== undefined && TRANSIENT.some((pattern) => pattern.test(code));
}

/** Something in the statement is not as the tables need it: a key that is there, a text no column takes (classes 22, 23, 54). */
export const isAboutData = (error: unknown): boolean => /^(22|23|54)/.test(sqlState(error) ?? '');

/** A row with one of its keys is there. */
export const isDuplicate = (error: unknown): boolean => sqlState(error) === '23505';

/** The server has no room for what was asked: disk, memory, I/O. It has for nothing else either, until somebody acts. */
export function isFull(error: unknown): boolean {
  return /^5[38]/.test(sqlState(error) ?? '');
}

/**
 * A cancelled wait for synchronous replication looks like success plus a warning (01000, or 57P01 at shutdown):
 * a failover may still lose it, so it is unknown. Our statements raise no other warnings.
 */
export const isUnreplicated = (code: string): boolean => code === '01000' || code === '57P01';

/** The server answered: not with these credentials, not this database. Waiting does not help. */
export function asWrongCredentials(error: unknown, databaseUrl: string): PerdureError | undefined {
  const code = sqlState(error);
  const message = asError(error).message;
  const refused = code !== undefined && /^(28\w{3}|3D000|42501)$/.test(code);
  // pg's own complaint about a missing or unusable password carries no code.
  if (!refused && !message.startsWith('SASL')) return undefined;
  return new PerdureError(
    'wrong_credentials',
    `Postgres at ${withoutSecrets(databaseUrl)} refused us: ${message}`,
    { cause: error },
  );
}
