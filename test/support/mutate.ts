import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

// Loaded into a node before anything else (`--import`): breaks one rule of the engine, named by PERDURE_MUTANT, so
// that tests can show that the checks notice.

interface Mutant {
  file: string;
  /** Each text must be there once. */
  changes: [from: string, to: string][];
}

export const MUTANTS: Record<string, Mutant> = {
  /** Any commit lands, whoever owns the shard. */
  'no fence': {
    file: '/src/store/commit.ts',
    changes: [["'s.epoch = w.epoch AND s.owner = $1 AND s.commit_no = w.commit_no - 1'", "'true'"]],
  },
  /** Messages are acknowledged, cursors moved and effects started when the statement is sent. */
  'ack before commit': {
    file: '/src/actors/committer.ts',
    changes: [
      [
        'const { committed, mistaken, at } = await this.#write(parts, commits);',
        `const early = Date.now();
      for (const { source, commit } of parts) source.landed(commit.commitNo, early);
      const { committed, mistaken, at } = await this.#write(parts, commits);`,
      ],
      [
        'if (committed.has(source.number)) source.landed(commit.commitNo, at);\n',
        'if (committed.has(source.number)) {}\n',
      ],
    ],
  },
  /** Another attempt has another idempotency key. */
  'attempt in the key': {
    file: '/src/actors/attempt.ts',
    changes: [
      [
        'this.#key ??= idempotencyKey(address, invokeId, seq);',
        'this.#key ??= idempotencyKey(address, invokeId, seq) + (this.attempt > 1 ? "/" + this.attempt : "");',
      ],
    ],
  },
  /** Deliveries that got lost are passed over. */
  'cursor past a gap': {
    file: '/src/bus/reader.ts',
    changes: [
      ['if (delivery.consumerSeq !== this.#consumerSeq + 1)', 'if (false)'],
      ['} else if (delivery.count > 1) {', '} else if (false) {'],
      ['if (info.delivered.consumer_seq > this.#consumerSeq)\n', 'if (false)\n'],
    ],
  },
};

const name = process.env.PERDURE_MUTANT;
const mutant = name === undefined ? undefined : MUTANTS[name];
if (mutant)
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.startsWith('file:') || !fileURLToPath(url).endsWith(mutant.file)) return loaded;
      let source = readFileSync(fileURLToPath(url), 'utf8');
      for (const [from, to] of mutant.changes) {
        if (source.split(from).length !== 2) throw new Error(`${mutant.file} has changed: ${from}`);
        source = source.replace(from, () => to);
      }
      return { ...loaded, source };
    },
  });
