import { type ErrorCode, PerdureError } from '../errors.ts';

/** What somebody at a terminal can do about an error; those whose message says so already are left out. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  actor_exists: 'Use another --id, or look at it with perdure show.',
  actor_finished: 'An ended actor takes no events; perdure history shows how it ended.',
  bad_event: 'An event is {"type":"NAME",…}, or just NAME.',
  bus_unavailable: 'Check the URL and that the servers run; perdure doctor looks closer.',
  log_full:
    'Let nodes catch up, or raise max_bytes of the stream; perdure doctor shows how full it is.',
  not_found: 'perdure ls shows those there are.',
  store_unavailable: 'Check the URL and that Postgres runs; perdure doctor looks closer.',
  timeout:
    'Whether it happened is not known; perdure show tells, perdure doctor says whether nodes run.',
  unknown_actor:
    'The event is kept as a dead letter: after starting the actor, perdure dead redrive --all --reason unknown_actor.',
  unknown_type:
    'The message is kept as a dead letter: once a node with this type runs, perdure dead redrive --all --reason unknown_type.',
  version_unknown:
    'The event is kept as a dead letter: once a node with that version runs, perdure dead redrive --all --reason version_unknown.',
  wrong_credentials: 'Correct user, password or database in the URL.',
};

/** The error with what to do about it; `reason` is what was heard while waiting. */
export function withAdvice(thrown: unknown, reason?: string): unknown {
  if (!(thrown instanceof PerdureError)) return thrown;
  const known = ADVICE[thrown.code];
  const advice = known !== undefined && thrown.message.includes(known) ? undefined : known;
  const because = reason !== undefined && thrown.code.endsWith('_unavailable') ? reason : undefined;
  if (advice === undefined && because === undefined) return thrown;
  const parts = [
    thrown.message,
    because === undefined || thrown.message.includes(because)
      ? undefined
      : `Last heard: ${because}.`,
    advice,
  ];
  return new PerdureError(thrown.code, parts.filter((part) => part !== undefined).join(' '), {
    cause: thrown,
  });
}
