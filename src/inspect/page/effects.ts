import type { FailedAttemptRow } from '../../store/read.ts';
import type { EffectView } from '../effectsThen.ts';
import { reasonText } from '../reasonText.ts';
import { durationText, html } from './ui.ts';

const SIGNS = { running: '⟳', done: '✓', failed: '✗', left: '⊘' } as const;

/** Invokes as of one moment: how far each had come, and which of its attempts had failed. */
export function Effects({ effects }: { effects: readonly EffectView[] }) {
  return effects.map(
    (
      one,
    ) => html`<li key=${`${one.id} ${one.started_seq}`}><span class=${`sign ${one.how === 'failed' ? 'bad-text' : ''}`}>${SIGNS[one.how]}</span><div><b>${one.id}</b> <span class="quiet-text">${said(one)}</span>
      <${FailedAttempts} attempts=${one.failed_attempts} /></div></li>`,
  );
}

/** In the order in which they went wrong. */
export function FailedAttempts({ attempts }: { attempts: readonly FailedAttemptRow[] }) {
  return attempts.map(
    (one) =>
      html`<div key=${one.attempt} class="bad-text">attempt ${one.attempt} failed after ${took(one.ran_ms)}: ${reasonText(one.error)}</div>`,
  );
}

function said({ how, started_seq, ms, attempt }: EffectView): string {
  const began = `started by #${started_seq}, attempt ${attempt}`;
  if (how === 'running') return began;
  return `${how} after ${took(ms)}, ${began}`;
}

/** Attempts are short: what the page says of ages elsewhere begins at a second. */
const took = (ms: number): string => {
  if (ms < 1_000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : durationText(ms);
};
