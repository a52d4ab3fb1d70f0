/**
 * The event of most timers says nothing but its name, which is also the timer's (XState's `after`). The column is empty then: a
 * sleeping actor is 50 bytes smaller where that is not written twice.
 */
const named = (timerId: string): string => `{"type":${JSON.stringify(timerId)}}`;

/** What a text column gives back as it got it. */
const PLAIN = /^[ -~]+$/;

export const eventToStore = ({ timerId, event }: { timerId: string; event: string }): string =>
  event === named(timerId) && PLAIN.test(timerId) ? '' : event;

export const eventFromStore = (timerId: string, stored: string): string =>
  stored === '' ? named(timerId) : stored;
