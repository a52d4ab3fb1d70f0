/** Why shards are opened again, in the few classes that metrics tell apart. */
export type SurpriseReason =
  | 'delivery'
  | 'consumer'
  | 'log'
  | 'commit'
  | 'fenced'
  | 'lease'
  | 'stalled'
  | 'restored'
  | 'versions'
  | 'resumed'
  | 'mistaken'
  | 'other';

/** First match counts; the words are those of whoever calls `surprise`. */
const CLASSES: [pattern: RegExp, reason: SurpriseReason][] = [
  [/^stalled/, 'stalled'],
  [/^versions/, 'versions'],
  [/^resumed/, 'resumed'],
  [/^mistaken/, 'mistaken'],
  [/^fenced|^the epoch is/, 'fenced'],
  [/^Postgres has been put back/, 'restored'],
  [/^commit (refused|lost)/, 'commit'],
  [/lease/, 'lease'],
  [/^the log was/, 'log'],
  [/^Postgres has been|^the epoch/, 'fenced'],
  [/^(delivery|message) \d+|^deliveries were lost/, 'delivery'],
  [/^the (consumer|server|subscription)|^after a reconnect/, 'consumer'],
];

/** The class of a surprise, from its words. */
export const surpriseReason = (words: string): SurpriseReason =>
  CLASSES.find(([pattern]) => pattern.test(words))?.[1] ?? 'other';
