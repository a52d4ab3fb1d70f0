import { readFile } from 'node:fs/promises';
import { Client } from 'pg';

/** Rows of the view perdure.actors. */
export interface ActorRow {
  type: string;
  id: string;
  status: string;
  output: unknown;
  error: { message: string } | null;
}

/** Rows of the view perdure.transitions. */
export interface TransitionRow {
  type: string;
  id: string;
  seq: number;
  eventType: string;
  eventId: string | null;
  nodeId: string;
  /** Database clock, ms since 1970. */
  at: number;
}

/** A line of the journal the invokes write. */
export interface Run {
  key: string;
  attempt: number;
  pid: number;
}

/** How far the packages are. */
export interface Progress {
  started: number;
  finished: number;
  waiting: number;
}

/** Everything that is recorded. */
export interface Recorded {
  actors: ActorRow[];
  transitions: TransitionRow[];
  deadLetters: { reason: string; subject: string }[];
  runs: Run[];
}

/** What happened, in the public views of Postgres and in the journal. */
export class RecordReader {
  readonly #client: Client;
  readonly #journal: string;

  private constructor(client: Client, journal: string) {
    this.#client = client;
    this.#journal = journal;
  }

  static async open(databaseUrl: string, journal: string): Promise<RecordReader> {
    const client = new Client({ connectionString: databaseUrl });
    client.on('error', () => {});
    await client.connect();
    return new RecordReader(client, journal);
  }

  async progress(): Promise<Progress> {
    const { rows } = await this.#client.query<Progress>(`
      SELECT count(*)::integer AS started,
             (count(*) FILTER (WHERE status <> 'active'))::integer AS finished,
             (count(*) FILTER (WHERE status = 'active' AND state::text LIKE '%"approval"%'))::integer AS waiting
        FROM perdure.actors WHERE type = 'package'`);
    return rows[0] as Progress;
  }

  /** The node that runs as this process. */
  async nodeId(pid: number): Promise<string> {
    const { rows } = await this.#client.query<{ node_id: string }>(
      'SELECT node_id FROM perdure.nodes WHERE pid = $1',
      [pid],
    );
    if (!rows[0]) throw new Error(`No node runs as process ${pid}.`);
    return rows[0].node_id;
  }

  async read(): Promise<Recorded> {
    const actors = await this.#client.query<ActorRow>(
      'SELECT type, id, status, output, error FROM perdure.actors',
    );
    const transitions = await this.#client.query<TransitionRow>(`
      SELECT type, id, seq::integer, event_type AS "eventType", event_id AS "eventId", node_id AS "nodeId",
             (extract(epoch FROM at) * 1000)::float8 AS at
        FROM perdure.transitions ORDER BY type, id, seq`);
    const deadLetters = await this.#client.query<{ reason: string; subject: string }>(
      'SELECT reason, subject FROM perdure.dead_letters',
    );
    return {
      actors: actors.rows,
      transitions: transitions.rows,
      deadLetters: deadLetters.rows,
      runs: await this.#runs(),
    };
  }

  async #runs(): Promise<Run[]> {
    const text = await readFile(this.#journal, 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Run);
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}
