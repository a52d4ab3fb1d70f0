import type { OutboxRow, OutboxWrite } from '../store/store.ts';

/** Longer outcomes, in UTF-16 units, have a row of their own: a bundle is read and written whole. */
const BUNDLED_MAX = 2_000;

/** One outcome as it stands in a bundle's body. */
type Bundled = [messageId: string, type: string, id: string, body: string];

/**
 * The outbox rows of one commit of a shard. Outcomes wait for nothing but JetStream, and nearly always go moments after the
 * commit: those of one commit share one row, which goes when the last of them is published, instead of one row each to
 * insert and to delete. The row goes by the id and the address of the first.
 */
export function bundled(rows: readonly OutboxRow[]): OutboxWrite[] {
  const outcomes = rows.filter(isBundled);
  const [first] = outcomes;
  if (first === undefined || outcomes.length === 1) return [...rows];
  for (const row of outcomes) row.bundle = first.messageId;
  const body = outcomes.map(
    ({ messageId, type, id, body }): Bundled => [messageId, type, id, body],
  );
  const { messageId, type, id } = first;
  const others = rows.filter((row) => !isBundled(row));
  return [...others, { messageId, kind: 'outcomes', type, id, body: JSON.stringify(body) }];
}

const isBundled = ({ kind, body }: OutboxWrite) => kind === 'outcome' && body.length <= BUNDLED_MAX;

/** What a row read from Postgres stands for. */
export function unbundled(row: OutboxRow): OutboxRow[] {
  if (row.kind !== 'outcomes') return [row];
  return (JSON.parse(row.body) as Bundled[]).map(([messageId, type, id, body]) => ({
    messageId,
    kind: 'outcome',
    type,
    id,
    body,
    shard: row.shard,
    bundle: row.messageId,
  }));
}

/** Which outcomes of bundles are not published yet. */
export class Bundles {
  readonly #left = new Map<string, Set<string>>();

  /** The rows are on their way. */
  add(rows: readonly OutboxRow[]): void {
    for (const { bundle, messageId } of rows) {
      if (bundle === undefined) continue;
      const left = this.#left.get(bundle);
      if (left) left.add(messageId);
      else this.#left.set(bundle, new Set([messageId]));
    }
  }

  /** What is still to be published of rows that were read from Postgres. */
  rest(rows: readonly OutboxRow[]): OutboxRow[] {
    return rows.flatMap((row) => {
      const left = row.kind === 'outcomes' ? this.#left.get(row.messageId) : undefined;
      const all = unbundled(row);
      return left ? all.filter(({ messageId }) => left.has(messageId)) : all;
    });
  }

  /** The outcome is published. Gives back the id of the row that may go; undefined while others of it are not. */
  published({ messageId, bundle }: OutboxRow): string | undefined {
    if (bundle === undefined) return messageId;
    const left = this.#left.get(bundle);
    left?.delete(messageId);
    if (left && left.size > 0) return undefined;
    this.#left.delete(bundle);
    return bundle;
  }
}
