import { useRef, useState } from 'preact/hooks';
import type { ActorSummary } from '../../store/read.ts';
import type { BulkResult } from '../acts.ts';
import type { ApiError } from './api.ts';
import { post } from './api.ts';
import { type Reach, walk } from './searching.ts';
import { Failure, html, numberText, stateText } from './ui.ts';

interface Props {
  filter: Record<string, string | undefined>;
  /** Events that make sense here. */
  events?: readonly string[];
  onDone: () => void;
}

interface Sum {
  count: number;
  more: boolean;
  sample: ActorSummary[];
}

const WORD: Readonly<Record<string, string>> = {
  cancel: 'Cancel',
  pause: 'Pause',
  resume: 'Resume',
  release: 'Release',
};

interface Preview extends Sum, Reach {
  counting: boolean;
}

/** Not all actors have been looked at. */
const isPart = ({ next }: Preview): boolean => next !== null;

/** As many as the server acts on at once, and as it shows of them. */
const BULK_MAX = 10_000;
const SAMPLE = 10;

/** One action on all actors that match: counted and shown first, done only as often as was counted. */
export function Bulk({ filter, events = [], onDone }: Props) {
  const [what, setWhat] = useState<string>(
    events[0] === undefined ? 'cancel' : `send ${events[0]}`,
  );
  const [payload, setPayload] = useState('');
  const [preview, setPreview] = useState<Preview>();
  const [result, setResult] = useState<BulkResult>();
  const [error, setError] = useState<ApiError | Error>();
  const [busy, setBusy] = useState(false);
  const clean = Object.fromEntries(
    Object.entries(filter).filter(([, value]) => value !== undefined && value !== ''),
  );
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    await work().catch(setError);
    setBusy(false);
  };
  const isSend = what.startsWith('send');
  const stop = useRef<AbortController>(undefined);
  const count = () =>
    run(async () => {
      setResult(undefined);
      stop.current = new AbortController();
      await walk<Sum, Sum & Reach>(
        (after) => post('/api/bulk/preview', { filter: clean, ...(after && { after }) }),
        (sofar = { count: 0, more: false, sample: [] }, answer) => {
          const value = {
            count: Math.min(sofar.count + answer.count, BULK_MAX),
            more: answer.more || sofar.count + answer.count > BULK_MAX,
            sample: [...sofar.sample, ...answer.sample].slice(0, SAMPLE),
          };
          return { value, enough: value.more };
        },
        (value, reach, counting) => setPreview({ ...value, ...reach, counting }),
        stop.current.signal,
      );
    });
  const act = () =>
    run(async () => {
      const event = isSend ? { ...fields(payload), type: typeOf(what, payload) } : undefined;
      const body = {
        filter: clean,
        do: isSend ? 'send' : what,
        count: preview?.count,
        ...(event && { event }),
      };
      setResult((await post<{ result: BulkResult }>('/api/bulk', body)).result);
      setPreview(undefined);
      onDone();
    });
  return html`<div class="bulk">
    <div class="row">
      <label>Do <select value=${what} onChange=${(event: Event) => {
        setWhat((event.currentTarget as HTMLSelectElement).value);
        setPreview(undefined);
      }}>
        ${events.map((type) => html`<option value=${`send ${type}`}>send ${type}</option>`)}
        <option value="send">send another event…</option>
        <option value="cancel">cancel</option>
        <option value="pause">pause</option>
        <option value="resume">resume</option>
        <option value="release">release from quarantine</option>
      </select></label>
      ${isSend && html`<label class="wide">${what === 'send' ? 'Event' : 'Fields'} <input value=${payload} onInput=${(event: Event) => setPayload((event.currentTarget as HTMLInputElement).value)} placeholder=${what === 'send' ? '{"type":"PAY"}' : '{"by":"card"}'} spellcheck=${false} /></label>`}
      <button class="quiet" disabled=${busy} onClick=${count}>Count first</button>
      ${preview && preview.count > 0 && html`<button class=${what === 'cancel' ? 'danger' : ''} disabled=${busy || preview.more || isPart(preview)} onClick=${act} data-bulk="go">${isSend ? `Send to ${numberText(preview.count)}` : `${WORD[what]} ${numberText(preview.count)}`}</button>`}
    </div>
    ${preview && isPart(preview) && !preview.more && html`<p class="note" role="status">${numberText(preview.searched)} actors looked at, at least ${numberText(preview.count)} match; ${preview.counting ? html`counting on … <button type="button" class="quiet" onClick=${() => stop.current?.abort()}>Stop</button>` : 'stopped: count to the end before acting on them.'}</p>`}
    ${preview && (preview.more || !isPart(preview)) && html`<p role="status">${preview.more ? 'More than ' : ''}${numberText(preview.count)} actors match${preview.more ? ', which is too many for once; narrow the filter' : ''}${preview.sample.length > 0 ? html`: <span class="quiet-text">${preview.sample.map(({ id, state }) => `${id} (${stateText(state)})`).join(', ')}${preview.count > preview.sample.length ? ', …' : ''}</span>` : '.'}</p>`}
    ${
      result &&
      html`<p role="status" class="done-note"><b>${numberText(result.accepted)}</b> asked${result.refused > 0 ? `, ${numberText(result.refused)} ${isSend ? 'do not handle it' : 'had no need or have ended'}` : ''}${result.failed > 0 ? `, ${numberText(result.failed)} failed` : ''}.</p>
      ${result.problems.length > 0 && html`<ul class="problems">${result.problems.slice(0, 5).map(({ id, message }) => html`<li><code>${id}</code> ${message}</li>`)}</ul>`}`
    }
    <${Failure} error=${error && { code: (error as ApiError).code ?? 'not JSON', message: error.message }} />
  </div>`;
}

function fields(text: string): Record<string, unknown> {
  const value: unknown = text.trim() === '' ? {} : JSON.parse(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error('It must be a JSON object.');
}

const typeOf = (what: string, payload: string): string =>
  what === 'send' ? String(fields(payload).type ?? '') : what.slice('send '.length);
