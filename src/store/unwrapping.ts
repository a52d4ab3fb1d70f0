import { isWrapped, type TextCodec, unwrap, unwrapValue } from '../textCodec.ts';
import { contextOf } from './inspect.ts';
import type { ActorSummary, ReadStore } from './read.ts';

/** The reading side behind a codec. What cannot be opened is shown as it is recorded. */
export function unwrappingReadStore(store: ReadStore, codec: TextCodec | undefined): ReadStore {
  const value = (recorded: unknown): unknown => {
    try {
      return unwrapValue(codec, recorded);
    } catch {
      return recorded;
    }
  };
  const opened = (row: ActorSummary): ActorSummary => ({
    ...row,
    output: value(row.output),
    error: value(row.error),
  });
  const text = (recorded: string): string => {
    try {
      return unwrap(codec, recorded);
    } catch {
      return recorded;
    }
  };
  return {
    deadLetters: (...given) => store.deadLetters(...given),
    deadLetterReasons: (...given) => store.deadLetterReasons(...given),
    deadLetter: (...given) => store.deadLetter(...given),
    markRedriven: (...given) => store.markRedriven(...given),
    counts: (...given) => store.counts(...given),
    shards: (...given) => store.shards(...given),
    nodes: (...given) => store.nodes(...given),
    quarantined: (...given) => store.quarantined(...given),
    lateOutbox: (...given) => store.lateOutbox(...given),
    parked: (...given) => store.parked(...given),
    mayBeParked: (...given) => store.mayBeParked(...given),
    parkedFor: (...given) => store.parkedFor(...given),
    countActors: (...given) => store.countActors(...given),
    population: (...given) => store.population(...given),
    machine: (...given) => store.machine(...given),
    machines: () => store.machines(),
    pathOf: (...given) => store.pathOf(...given),
    async searchActors(search, page) {
      const found = await store.searchActors(search, page);
      return { ...found, actors: found.actors.map(opened) };
    },
    async listActors(filter) {
      const rows = await store.listActors(filter);
      return rows.map(opened);
    },
    async actor(type, id) {
      const row = await store.actor(type, id);
      if (!row) return undefined;
      const snapshot = text(row.snapshot);
      return {
        ...row,
        snapshot,
        context: isWrapped(snapshot) ? JSON.parse(snapshot) : contextOf(snapshot),
        output: value(row.output),
        error: value(row.error),
        retries: value(row.retries),
        timers: row.timers.map((timer) => ({ ...timer, event: value(timer.event) })),
      };
    },
    async history(type, id, options) {
      const rows = await store.history(type, id, options);
      return rows.map((row) => ({
        ...row,
        event: value(row.event),
        snapshot: text(row.snapshot),
        failed_attempts: row.failed_attempts.map((one) => ({ ...one, error: value(one.error) })),
      }));
    },
  };
}
