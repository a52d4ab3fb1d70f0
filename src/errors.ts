/**
 * Every error a user can meet: its code, whether trying the same thing again can help, and what happens
 * next. `docs/errors.md` has a row for each; a test keeps the two in step.
 */
export const ERRORS = {
  // Bad input: what was asked can never be done as it stands.
  bad_subject: {
    retryable: false,
    next: 'refused, or a dead letter when it is already in the log',
  },
  bad_body: { retryable: false, next: 'dead letter' },
  bad_event: { retryable: false, next: 'refused, or a dead letter when it is already in the log' },
  body_too_large: {
    retryable: false,
    next: 'refused, or a dead letter when it is already in the log',
  },
  unknown_type: { retryable: false, next: 'dead letter; redrive it once a node knows the type' },
  unknown_actor: { retryable: false, next: 'dead letter; redrive it once the actor exists' },
  actor_exists: { retryable: false, next: 'dead letter; the actor that exists is not touched' },
  actor_finished: { retryable: false, next: 'dead letter; the finished actor is not touched' },
  already_paused: { retryable: false, next: 'dead letter; nothing has changed' },
  not_paused: { retryable: false, next: 'dead letter; nothing has changed' },
  not_a_root: { retryable: false, next: 'dead letter; nothing has changed' },
  version_unknown: {
    retryable: false,
    next: 'dead letter; redrive it once a node can open the actor',
  },
  parked_full: {
    retryable: false,
    next: 'dead letter; redrive it once a node can open the actor, or it is resumed',
  },
  migrate_failed: {
    retryable: false,
    next: 'the actor stays as it is; dead letter; redrive it once migrate is corrected',
  },
  codec_failed: {
    retryable: false,
    next: 'the actor stays as it is; dead letter; redrive it once a node can open it',
  },
  event_quarantined: {
    retryable: false,
    next: 'dead letter; redrive it once what killed the nodes is corrected',
  },
  actor_quarantined: {
    retryable: false,
    next: 'dead letter; redrive it once the actor is released',
  },
  bad_definition: { retryable: false, next: 'thrown by defineActor' },
  bad_options: { retryable: false, next: 'thrown before anything starts' },
  not_serialisable: { retryable: false, next: 'the actor ends in status error' },
  snapshot_too_large: { retryable: false, next: 'the actor ends in status error' },
  actor_failed: { retryable: false, next: 'the machine that waited gets onError' },
  too_many_events: { retryable: true, next: 'the child ends; the machine gets onError' },
  bad_transaction: {
    retryable: false,
    next: 'the transaction is rolled back; the machine gets onError',
  },
  step_failed: { retryable: false, next: 'the actor ends in status error' },
  action_failed: { retryable: false, next: 'the actor ends in status error' },
  invoke_timeout: { retryable: true, next: 'retried as the type says, then onError' },
  cancelled: { retryable: false, next: 'the actor ends in status stopped' },
  // The world around us.
  bus_unavailable: { retryable: true, next: 'the caller may try again with the same message id' },
  store_unavailable: { retryable: true, next: 'retried for ever with backoff' },
  timeout: { retryable: true, next: 'the outcome is unknown; ask again with the same message id' },
  log_full: { retryable: true, next: 'refused by JetStream until the log has room' },
  schema_newer: { retryable: false, next: 'the node refuses to start; upgrade perdure' },
  schema_missing: { retryable: false, next: 'run perdure migrate' },
  shards_differ: { retryable: false, next: 'the node refuses to start' },
  server_too_old: { retryable: false, next: 'the node refuses to start; upgrade the server' },
  wrong_credentials: { retryable: false, next: 'the process stops; correct the URL' },
  service_missing: { retryable: false, next: 'perdure dev stops and says what to install' },
  already_running: { retryable: false, next: 'perdure dev stops; one run for a directory' },
  not_found: { retryable: false, next: 'thrown to the caller' },
} as const satisfies Record<string, { retryable: boolean; next: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable `code`; the message says what was wrong and what is allowed. */
export class PerdureError extends Error {
  readonly code: ErrorCode;
  /** What would have been accepted, where that can be listed. */
  readonly allowed: readonly string[] | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; allowed?: readonly string[] | undefined } = {},
  ) {
    const { allowed, ...rest } = options;
    super(message, rest);
    this.name = 'PerdureError';
    this.code = code;
    this.allowed = allowed;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** A fact the engine relies on turned out false: a bug here, never bad input. The node stops. */
export class InvariantViolation extends Error {
  override name = 'InvariantViolation';
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}

/** Anything thrown, as an Error; never throws itself, whatever was thrown. */
export function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) return thrown;
    return new Error(String(thrown), { cause: thrown });
  } catch {
    return new Error('something was thrown that has no text');
  }
}
