import { type ErrorCode, PerdureError } from '../errors.ts';

/** What somebody at a terminal can do about an error; those whose message says so already are left out. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  actor_exists: 'Use another --id, or look at it with perdure show.',
  actor_finished: 'An ended actor takes no events; perdure show says how it ended.',
  actor_quarantined:
    'The event is kept as a dead letter: correct what ends nodes, then perdure quarantine release TYPE ID, and perdure dead redrive --all --reason actor_quarantined.',
  bad_event: 'An event is {"type":"NAME",…}, or just NAME.',
  bus_unavailable: 'Check the URL and that the servers run; perdure doctor looks closer.',
  event_quarantined:
    'The message is kept as a dead letter: correct what its step does, then perdure dead redrive --all --reason event_quarantined.',
  log_full:
    'Let nodes catch up, or raise max_bytes of the stream; perdure doctor shows how full it is.',
  migrate_failed:
    'The actor is as it was, the event is kept as a dead letter: correct migrate, deploy, then perdure dead redrive --all --reason migrate_failed.',
  not_found: 'perdure ls shows those there are.',
  parked_full:
    'The message is kept as a dead letter: once a node that can open the actor runs, perdure dead redrive --all --reason parked_full.',
  store_unavailable: 'Check the URL and that Postgres runs; perdure doctor looks closer.',
  timeout:
    'Whether it happened is not known; perdure show tells, perdure doctor says whether nodes run.',
  unknown_actor:
    'The event is kept as a dead letter: after starting the actor, perdure dead redrive --all --reason unknown_actor.',
  unknown_type:
    'The message is kept as a dead letter: once a node with this type runs, perdure dead redrive --all --reason unknown_type.',
  version_unknown:
    'The event is kept as a dead letter: deploy the machine that wrote the actor, then perdure dead redrive --all --reason version_unknown.',
  wrong_credentials: 'Correct user, password or database in the URL.',
};

const NO_STREAM =
  'The namespace has no log: correct --namespace, or start its first node with perdure serve.';

/** Errors that a refusal heard meanwhile may explain. */
const EXPLAINABLE: readonly ErrorCode[] = ['bus_unavailable', 'store_unavailable', 'timeout'];

/** The error with what to do about it; `heard` is what the servers said while we waited. */
export function withAdvice(thrown: unknown, heard?: string): unknown {
  if (!(thrown instanceof PerdureError)) return thrown;
  const { code, message } = thrown;
  const advice = message.includes('no stream answers')
    ? NO_STREAM
    : // A message that names a command has said where to look: what was not found may be no actor, what is late may wait.
      (code === 'not_found' || code === 'timeout') && message.includes('perdure ')
      ? undefined
      : ADVICE[code];
  const reason =
    heard !== undefined && EXPLAINABLE.includes(code) ? `Last heard: ${heard}` : undefined;
  const added = [reason, advice].filter((text) => text !== undefined && !message.includes(text));
  if (added.length === 0) return thrown;
  const sentences = [message, ...added].map((text) =>
    /[.!?)]$/.test(`${text}`) ? text : `${text}.`,
  );
  return new PerdureError(code, sentences.join(' '), { cause: thrown });
}
