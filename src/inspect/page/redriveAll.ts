import { useState } from 'preact/hooks';
import { type ApiError, get, post, queryOf } from './api.ts';
import { Failure, html, numberText } from './ui.ts';

interface Props {
  /** Only those with this code. */
  reason: string | undefined;
  onDone: () => void;
}

interface Found {
  dead_letters: unknown[];
  reasons: Record<string, number>;
}

interface Counted {
  count: number;
  reasons: string;
}

interface Result {
  redriven: number;
  failed: number;
  reasons: Record<string, number>;
}

/** As many as the server publishes at once; of more, the oldest. */
const AT_ONCE_MAX = 1_000;

/** All letters that wait, published again: counted first, done only when as many wait as was counted. */
export function RedriveAll({ reason, onDone }: Props) {
  const [counted, setCounted] = useState<Counted>();
  const [result, setResult] = useState<Result>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    setResult(undefined);
    await work().catch(setError);
    setBusy(false);
  };
  const count = () =>
    run(async () => {
      const found = await get<Found>(
        `/api/dead-letters${queryOf({ pending: 'true', reason, limit: AT_ONCE_MAX })}`,
      );
      const count = found.dead_letters.length;
      const reasons = reason === undefined ? found.reasons : { [reason]: count };
      setCounted({ count, reasons: listed(Object.entries(reasons)) });
    });
  const act = () =>
    run(async () => {
      const body = { count: counted?.count, ...(reason && { reason }) };
      setCounted(undefined);
      setResult((await post<{ result: Result }>('/api/dead-letters/redrive', body)).result);
      onDone();
    });
  const isPart = counted !== undefined && counted.count >= AT_ONCE_MAX;
  return html`<div class="bulk" aria-label="Redrive all" role="group">
    <div class="row">
      <button class="quiet" disabled=${busy} onClick=${count}>Redrive all…</button>
      ${
        counted &&
        html`${counted.count > 0 && html`<button disabled=${busy} onClick=${act}>Redrive ${isPart ? 'the oldest' : 'all'} ${numberText(counted.count)}</button>`}
        <button class="quiet" disabled=${busy} onClick=${() => setCounted(undefined)}>no</button>
        <span role="status">${countedText(counted, isPart)}</span>`
      }
    </div>
    ${result && html`<p class="done-note" role="status"><b>${numberText(result.redriven)}</b> were published again${result.failed > 0 ? `; ${numberText(result.failed)} could not be: ${listed(Object.entries(result.reasons))}` : ''}.</p>`}
    <${Failure} error=${error} />
  </div>`;
}

/** Of more than are published at once, those that were counted by reason are not those that are taken. */
const countedText = ({ count, reasons }: Counted, isPart: boolean): string => {
  if (count === 0) return 'None wait.';
  const known = isPart
    ? `${numberText(count)} or more wait`
    : `${numberText(count)} wait: ${reasons}`;
  return `${known}. What still cannot be done comes back under a new number.`;
};

const listed = (reasons: [reason: string, count: number][]): string =>
  reasons
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${numberText(count)} ${reason}`)
    .join(', ');
