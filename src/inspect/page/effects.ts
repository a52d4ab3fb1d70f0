import type { FailedAttemptRow } from '../../store/read.ts';
import type { EffectView } from '../effectsThen.ts';
import { reasonText } from '../reasonText.ts';
import { html } from './ui.ts';

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
      html`<div key=${one.attempt} class="bad-text">attempt ${one.attempt} failed after ${durationText(one.ran_ms)}: ${reasonText(one.error)}</div>`,
  );
}

function said({ how, started_seq, ms, attempt }: EffectView): string {
  const began = `started by #${started_seq}, attempt ${attempt}`;
  if (how === 'running') return began;
  return `${how} after ${durationText(ms)}, ${began}`;
}

function durationText(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60
    ? `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
