import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { HistoryRow } from '../../store/read.ts';
import { diffOf } from '../diff.ts';
import type { EffectView } from '../effectsThen.ts';
import type { TestCase } from '../testCase.ts';
import { get, queryOf, useFetch } from './api.ts';
import { Copy } from './copy.ts';
import { Effects } from './effects.ts';
import { Ago, html, Panel, stateText } from './ui.ts';

export type Row = Omit<HistoryRow, 'snapshot'>;

/** A transition with what was so after it. */
export interface Step extends Row {
  context: unknown;
  started: Record<string, number>;
  timers: Record<string, unknown>;
  effects: EffectView[];
}

export interface Recorded {
  rows: Row[];
  /** The one that is looked at. */
  step: Step | undefined;
  before: Step | undefined;
}

const WINDOW = 100;

/** Transitions around the one that is looked at, and that one with what was so before and after it. */
export function useHistory(
  path: string,
  last: number | undefined,
  chosen: number | undefined,
): Recorded {
  const seq = chosen ?? last;
  const [steps] = useState(() => new Map<number, Promise<Step>>());
  const [shown, setShown] = useState<{ seq: number; step: Step; before: Step | undefined }>();
  const from =
    seq === undefined || last === undefined
      ? undefined
      : Math.max(1, Math.min(seq - WINDOW / 2, last - WINDOW + 1));
  // As `last` grows, the address must change, or what is new would not be asked for.
  const page = useFetch<{ transitions: Row[] }>(
    from === undefined
      ? undefined
      : `${path}/history?from=${from}&limit=${Math.min(WINDOW, (last ?? 1) - from + 1)}`,
  );
  const kept = useRef<Row[]>([]);
  if (page.data) kept.current = page.data.transitions;
  useEffect(() => {
    if (seq === undefined) return;
    let isOurs = true;
    const load = (one: number) => {
      const known =
        steps.get(one) ??
        get<{ transition: Step }>(`${path}/history/${one}`).then(({ transition }) => transition);
      // What is the last one now goes on: attempts of what runs may still fail.
      if (last !== undefined && one < last) steps.set(one, known);
      known.catch(() => steps.delete(one));
      return known;
    };
    Promise.all([load(seq), seq > 1 ? load(seq - 1) : undefined]).then(
      ([step, before]) => isOurs && setShown({ seq, step, before }),
      () => {},
    );
    return () => {
      isOurs = false;
    };
  }, [path, seq]);
  return { rows: kept.current, step: shown?.step, before: shown?.before };
}

interface Props {
  /** Of the actor in the API. */
  path: string;
  history: Recorded;
  last: number;
  seq: number | undefined;
  chosen: number | undefined;
  onChoose: (seq: number | undefined) => void;
  nameOf: (event: string, edges: string[]) => string;
}

/** The past, one transition at a time. */
export function History({ path, history, last, seq = 1, chosen, onChoose, nameOf }: Props) {
  const { rows, step } = history;
  const list = useRef<HTMLOListElement>(null);
  const goTo = (to: number) => onChoose(to >= last ? undefined : Math.max(1, to));
  const testCase = async () =>
    (await get<{ test_case: TestCase }>(`${path}/test-case${queryOf({ seq })}`)).test_case.text;
  useEffect(() => {
    const around = list.current;
    const item = around?.querySelector<HTMLElement>('[aria-current]');
    if (!item || !around) return;
    const top = item.offsetTop - around.offsetTop;
    const isSeen =
      top >= around.scrollTop && top + item.offsetHeight <= around.scrollTop + around.clientHeight;
    if (!isSeen) around.scrollTop = top - 80;
  }, [seq, rows]);
  return html`<${Panel} title="History" actions=${html`<span class="row"><small>#${seq} of ${last}</small> <${Copy} word="as test case" text=${testCase} /></span>`}>
    <div class="scrubber">
      <button class="quiet" aria-label="One back" disabled=${seq <= 1} onClick=${() => goTo(seq - 1)}>‹</button>
      <input type="range" min="1" max=${last} value=${seq} aria-label="Transition" aria-valuetext=${`${seq} of ${last}`}
        onInput=${(event: Event) => goTo(Number((event.currentTarget as HTMLInputElement).value))} />
      <button class="quiet" aria-label="One on" disabled=${seq >= last} onClick=${() => goTo(seq + 1)}>›</button>
      <button class=${chosen === undefined ? 'quiet on' : ''} aria-pressed=${chosen === undefined} onClick=${() => onChoose(undefined)}>now</button>
    </div>
    <ol class="history" ref=${list} start=${rows[0]?.seq ?? 1}>
      ${rows.map(
        (
          row,
        ) => html`<li key=${row.seq}><button class="step" aria-current=${row.seq === seq ? 'step' : undefined} onClick=${() => goTo(row.seq)}>
          <span class="seq">${row.seq}</span>
          <span class="event">${nameOf(row.event_type, row.edges)}</span>
          <span class="to">${JSON.stringify(row.from_state) === JSON.stringify(row.to_state) ? '' : stateText(row.to_state)}</span>
          <span class="when"><${Ago} at=${row.at} /></span></button></li>`,
      )}
    </ol>
    ${step && step.seq === seq && html`<${Detail} step=${step} before=${history.before} nameOf=${nameOf} />`}
  </${Panel}>`;
}

const ORIGINS: Record<string, string> = {
  start: 'whoever started it',
  event: 'a message from outside',
  actor: 'another actor',
  invoke: 'something it had invoked',
  child: 'a child of its',
  family: 'a machine of its family',
  timer: 'a timer of its own',
  self: 'itself',
  cancel: 'whoever cancelled it',
  engine: 'the engine',
};

function Detail({
  step,
  before,
  nameOf,
}: {
  step: Step;
  before: Step | undefined;
  nameOf: Props['nameOf'];
}) {
  const changes = useMemo(
    () =>
      diffOf(before ? { state: before.to_state, context: before.context } : {}, {
        state: step.to_state,
        context: step.context,
      }),
    [step, before],
  );
  const ended = step.effects.filter(({ how }) => how !== 'running');
  const { type: _type, ...payload } = (step.event ?? {}) as Record<string, unknown>;
  return html`<div class="step-detail">
    <p><b>${nameOf(step.event_type, step.edges)}</b> from ${ORIGINS[step.origin] ?? step.origin}, on node <code>${step.node_id.slice(0, 8)}</code> at epoch ${step.epoch}, ${new Date(step.at).toLocaleString()}${step.event_id && html`<br /><span class="quiet-text">message ${step.event_id}</span>`}${step.actions > 0 && html`<br /><span class="quiet-text">${step.actions === 1 ? 'one custom action' : `${step.actions} custom actions`} to execute</span>`}</p>
    ${Object.keys(payload).length > 0 && html`<pre class="json small" tabindex="0">${JSON.stringify(payload, null, 1)}</pre>`}
    ${ended.length > 0 && html`<ul class="running" aria-label="Ended by it"><${Effects} effects=${ended} /></ul>`}
    <table class="diff"><caption>Changed by it</caption><tbody>
      ${changes.length === 0 && html`<tr><td class="quiet-text">nothing</td></tr>`}
      ${changes.slice(0, 40).map(
        (change) => html`<tr class=${change.kind}><th scope="row">${change.path || 'all'}</th>
          <td>${change.kind !== 'added' && html`<del>${brief(change.before)}</del>`} ${change.kind !== 'removed' && html`<ins>${brief(change.after)}</ins>`}</td></tr>`,
      )}</tbody></table>
  </div>`;
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? '–';
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}
