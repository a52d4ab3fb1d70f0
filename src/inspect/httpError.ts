import { asError, PerdureError } from '../errors.ts';
import type { Logger } from '../log.ts';

/** Events, methods, or the one count. */
export type Allowed = readonly string[] | readonly number[];

/** An error as HTTP: code and words for the body, and what would have been allowed. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly allowed: Allowed | undefined;

  constructor(status: number, code: string, message: string, allowed?: Allowed) {
    super(message);
    this.status = status;
    this.code = code;
    this.allowed = allowed;
  }
}

const STATUS: Partial<Record<string, number>> = {
  actor_exists: 409,
  actor_finished: 409,
  actor_quarantined: 409,
  already_paused: 409,
  bad_body: 400,
  bad_event: 400,
  bad_options: 400,
  bad_subject: 400,
  body_too_large: 413,
  bus_unavailable: 503,
  log_full: 503,
  not_a_root: 409,
  not_found: 404,
  not_paused: 409,
  not_serialisable: 400,
  store_unavailable: 503,
  timeout: 504,
  unknown_actor: 404,
  unknown_type: 404,
  version_unknown: 409,
};

export function asHttpError(thrown: unknown, log: Logger): HttpError {
  if (thrown instanceof HttpError) return thrown;
  if (thrown instanceof PerdureError)
    return new HttpError(STATUS[thrown.code] ?? 500, thrown.code, thrown.message, thrown.allowed);
  // What it says may name places and people; the log is for that.
  log.error({ err: asError(thrown) }, 'inspect: request failed');
  return new HttpError(500, 'unexpected', 'Something went wrong; the log says what.');
}
