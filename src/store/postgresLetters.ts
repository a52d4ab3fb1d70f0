import { PerdureError } from '../errors.ts';
import type { Statement } from './lane.ts';
import type { DeadLetterDetail, DeadLetterRow, LetterFilter, ReasonCount } from './letters.ts';
import { isNumber, LIST_MAX, listLimit, numberIn } from './lists.ts';

interface StoredLetter {
  dead_letter_id: number;
  reason: string;
  detail: string;
  subject: string;
  message_id: string | null;
  bytes: number;
  at: Date;
  redriven_at: Date | null;
}

const COLUMNS = `dead_letter_id, reason, detail, subject, message_id, octet_length(body) AS bytes, at, redriven_at`;

/** `LetterStore` on Postgres. */
export class PostgresLetters {
  readonly #ask: <R>(statement: Statement) => Promise<R[]>;

  constructor(ask: <R>(statement: Statement) => Promise<R[]>) {
    this.#ask = ask;
  }

  async list(filter: LetterFilter): Promise<DeadLetterRow[]> {
    const { reason = null, pending = null, after, limit } = filter;
    const [order, beyond] = filter.oldestFirst ? ['ASC', '>'] : ['DESC', '<'];
    const rows = await this.#ask<StoredLetter>({
      text: `SELECT ${COLUMNS} FROM dead_letter
              WHERE ($1::text IS NULL OR reason = $1)
                AND ($2::boolean IS NULL OR (redriven_at IS NULL) = $2)
                AND ($4::bigint IS NULL OR dead_letter_id ${beyond} $4)
              ORDER BY dead_letter_id ${order} LIMIT $3`,
      values: [reason, pending, listLimit(limit), numberIn(after)],
    });
    return rows.map(rowOf);
  }

  reasons({ pending }: Pick<LetterFilter, 'pending'>): Promise<ReasonCount[]> {
    return this.#ask<ReasonCount>({
      text: `SELECT reason, count(*)::int4 AS count
               FROM (SELECT reason FROM dead_letter
                      WHERE $1::boolean IS NULL OR (redriven_at IS NULL) = $1
                      ORDER BY dead_letter_id DESC LIMIT $2) AS newest
              GROUP BY reason ORDER BY count(*) DESC, reason COLLATE "C"`,
      values: [pending ?? null, LIST_MAX],
    });
  }

  async one(deadLetterId: string): Promise<DeadLetterDetail | undefined> {
    if (!isNumber(deadLetterId)) return undefined;
    const [row] = await this.#ask<StoredLetter & { headers: string; body: Uint8Array }>({
      text: `SELECT ${COLUMNS}, headers, body FROM dead_letter WHERE dead_letter_id = $1`,
      values: [deadLetterId],
    });
    if (!row) return undefined;
    const { headers, body, ...rest } = row;
    return {
      ...rowOf(rest),
      headers: JSON.parse(headers) as Record<string, string>,
      body: new Uint8Array(body),
    };
  }

  async markRedriven(deadLetterId: string): Promise<void> {
    const rows = isNumber(deadLetterId)
      ? await this.#ask({
          text: `UPDATE dead_letter SET redriven_at = now() WHERE dead_letter_id = $1 RETURNING dead_letter_id`,
          values: [deadLetterId],
        })
      : [];
    if (rows.length === 0)
      throw new PerdureError('not_found', `There is no dead letter ${deadLetterId}.`);
  }
}

const rowOf = (row: StoredLetter): DeadLetterRow => ({
  ...row,
  dead_letter_id: String(row.dead_letter_id),
  at: row.at.toISOString(),
  redriven_at: row.redriven_at?.toISOString() ?? null,
});
