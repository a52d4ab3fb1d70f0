/** Reading dead letters, and marking them. */
export interface LetterStore {
  /** At most `limit` of them: default 50, at most 10,000. @throws PerdureError `bad_options` when `after` is no number of one */
  deadLetters(filter: LetterFilter): Promise<DeadLetterRow[]>;
  /** How many of the newest 10,000 have which reason, the most frequent first. */
  deadLetterReasons(filter: Pick<LetterFilter, 'pending'>): Promise<ReasonCount[]>;
  deadLetter(deadLetterId: string): Promise<DeadLetterDetail | undefined>;
  /** Marks a dead letter as published again. @throws PerdureError `not_found` */
  markRedriven(deadLetterId: string): Promise<void>;
}

export interface LetterFilter {
  reason?: string;
  /** Whether it waits: it was not published again. Left out: either. */
  pending?: boolean;
  /** Default: the newest first. */
  oldestFirst?: boolean;
  /** Those that follow this one in the order. */
  after?: string;
  limit?: number;
}

export interface ReasonCount {
  reason: string;
  count: number;
}

export interface DeadLetterRow {
  dead_letter_id: string;
  reason: string;
  detail: string;
  subject: string;
  message_id: string | null;
  bytes: number;
  at: string;
  redriven_at: string | null;
}

export interface DeadLetterDetail extends DeadLetterRow {
  headers: Record<string, string>;
  body: Uint8Array;
}
