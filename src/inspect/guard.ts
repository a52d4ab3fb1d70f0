import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { PerdureError } from '../errors.ts';
import { HttpError } from './httpError.ts';

/** What a caller may do: look, or also send, cancel, redrive and release. */
export type Role = 'read' | 'act';

export interface Tokens {
  /** Whoever has it may do everything. */
  act?: string | undefined;
  /** Whoever has it may look. */
  read?: string | undefined;
}

export interface GuardOptions {
  /** Address that is listened on. */
  host: string;
  /** Names it may be called by besides those of this machine, as in `Host`, without the port. */
  names?: readonly string[] | undefined;
  tokens?: Tokens | undefined;
}

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|localhost|::1)$/i;
const BITS_MIN = 128;
const COOKIE = 'perdure_inspect';

/**
 * Who may ask. A browser sends what it knows of us along with requests of any page it shows, so the name we are called
 * by, where the request comes from and the token are all checked, each by itself.
 */
export class Guard {
  readonly #names: readonly string[];
  readonly #tokens: { role: Role; hash: Buffer }[];

  /** @throws PerdureError `bad_options` for a door that would be open by accident */
  constructor({ host, names = [], tokens = {} }: GuardOptions) {
    for (const [role, token] of Object.entries(tokens)) if (token) assertStrong(role, token);
    if (tokens.read && tokens.read === tokens.act)
      throw new PerdureError(
        'bad_options',
        'Both tokens are the same: whoever may look could do everything. Give PERDURE_INSPECT_READ_TOKEN another one, or leave it out.',
      );
    this.#tokens = (['act', 'read'] as const).flatMap((role) => {
      const token = tokens[role];
      return token ? [{ role, hash: hashed(token) }] : [];
    });
    if (!LOOPBACK.test(host)) {
      if (this.#tokens.length === 0)
        throw new PerdureError(
          'bad_options',
          `The inspector listens on ${host}, where others reach it: give it a token (PERDURE_INSPECT_TOKEN), or let it listen on 127.0.0.1.`,
        );
      if (names.length === 0)
        throw new PerdureError(
          'bad_options',
          `The inspector listens on ${host}: say by which names it is called (--allow-host), or pages of other sites could look in.`,
        );
    }
    this.#names = names.map((name) => name.toLowerCase());
  }

  /** Whether a token is asked for at all. */
  get locked(): boolean {
    return this.#tokens.length > 0;
  }

  /** @throws HttpError 403 for a name that is not ours, or a request from a page that is not ours */
  assertPlace({ headers }: IncomingMessage): void {
    const host = headers.host ?? '';
    const name = /^(\[[0-9a-f:]+\]|[^:]*)(?::\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase() ?? '';
    const bare = name.replace(/^\[|\]$/g, '');
    if (!LOOPBACK.test(bare) && !this.#names.includes(bare))
      throw new HttpError(
        403,
        'host_not_allowed',
        `Ask for ${['127.0.0.1', 'localhost', ...this.#names].join(', ')}; other names are refused.`,
      );
    const { origin } = headers;
    if (origin !== undefined && originHost(origin) !== host.toLowerCase())
      throw new HttpError(403, 'origin_not_allowed', 'Pages of other sites are refused.');
    const site = headers['sec-fetch-site'];
    const isVisit =
      headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
    if (site !== undefined && !['same-origin', 'none'].includes(String(site)) && !isVisit)
      throw new HttpError(403, 'origin_not_allowed', 'Pages of other sites are refused.');
  }

  /** @throws HttpError 401 without a token, or with a wrong one */
  roleOf({ headers }: IncomingMessage): Role {
    if (!this.locked) return 'act';
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
    const given = bearer ?? cookieIn(headers.cookie);
    if (given === undefined)
      throw new HttpError(401, 'token_missing', 'Send Authorization: Bearer and the token.');
    const role = this.roleFor(given);
    if (role === undefined)
      throw new HttpError(401, 'token_wrong', 'This token is not known here.');
    return role;
  }

  roleFor(token: string): Role | undefined {
    const hash = hashed(token);
    return this.#tokens.find((known) => timingSafeEqual(known.hash, hash))?.role;
  }
}

/** @throws HttpError 403 */
export function assertRole(has: Role, needed: Role): void {
  if (needed === 'act' && has !== 'act')
    throw new HttpError(403, 'role_read', 'This token is for looking; acting needs the other one.');
}

/** What a browser keeps instead of the page: no script can read it, and no other site gets it sent along. */
export const cookieFor = (token: string | null): string =>
  `${COOKIE}=${token === null ? '' : encodeURIComponent(token)}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${token === null ? 0 : 43_200}`;

function cookieIn(header: string | undefined): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const [name, value] = part.trim().split('=', 2);
    if (name === COOKIE && value) return decodeURIComponent(value);
  }
  return undefined;
}

const hashed = (token: string): Buffer => createHash('sha256').update(token).digest();

function originHost(origin: string): string | undefined {
  try {
    return new URL(origin).host.toLowerCase();
  } catch {
    return undefined;
  }
}

/** As long as it is, at most: few characters, or the same ones again, are guessed sooner. */
function assertStrong(role: string, token: string): void {
  const alphabet = /^[0-9a-f]+$/i.test(token) ? 4 : 6;
  const bits = Math.min(token.length * alphabet, new Set(token).size * 16);
  if (/^[\x21-\x7e]{1,512}$/.test(token) && bits >= BITS_MIN) return;
  throw new PerdureError(
    'bad_options',
    `The inspector's ${role} token is too weak: at least ${BITS_MIN} random bits, in visible ASCII. Make one with: openssl rand -hex 32`,
  );
}
