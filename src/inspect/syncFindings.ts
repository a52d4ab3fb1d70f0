import { type Finding, ok, warn } from './finding.ts';

/** What a nats-server's monitor says about when it writes to disk. */
export interface SyncFacts {
  always: boolean;
  intervalMs: number;
}

const CHECK = 'nats sync_interval';
const ADVICE =
  'Set sync_interval: always in the jetstream block of every nats-server (about 4,000 publishes a second on one disk).';
/** nats-server's own default. */
const DEFAULT_MS = 120_000;

/** Reads /varz. @throws Error when it does not answer or is no monitor */
export async function readSyncFacts(monitorUrl: string): Promise<SyncFacts> {
  const url = new URL('/varz', monitorUrl);
  const response = await fetch(url, { signal: AbortSignal.timeout(3_000) });
  if (!response.ok) throw new Error(`${url.href} answers ${response.status}`);
  const { jetstream } = (await response.json()) as {
    jetstream?: { config?: { sync_interval?: number; sync_always?: boolean } };
  };
  if (jetstream?.config === undefined) throw new Error(`${url.href} says nothing about JetStream`);
  const { sync_interval = DEFAULT_MS * 1e6, sync_always = false } = jetstream.config;
  return { always: sync_always, intervalMs: sync_interval / 1e6 };
}

/** Whether an acknowledged publish is on disk (G1). Pure. */
export function syncFinding(facts: SyncFacts | { trouble: string } | undefined): Finding {
  if (facts === undefined)
    return warn(
      CHECK,
      'not checked: only the monitor of nats-server tells',
      `Give its address: perdure doctor --monitor http://127.0.0.1:8222. ${ADVICE}`,
    );
  if ('trouble' in facts)
    return warn(CHECK, `not checked: ${facts.trouble}`, 'Correct the address given to --monitor.');
  if (facts.always) return ok(CHECK, 'always: an acknowledged publish is on disk');
  return warn(
    CHECK,
    `${facts.intervalMs / 1_000} s: a machine that loses power loses what was acknowledged since`,
    ADVICE,
  );
}
