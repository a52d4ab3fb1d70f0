import { useEffect, useState } from 'preact/hooks';
import type { Receipt } from '../../client.ts';
import type { ActorView } from '../actorView.ts';
import { type ApiError, post } from './api.ts';
import { Copy } from './copy.ts';
import { Failure, html, Panel, stateText } from './ui.ts';

interface Props {
  actor: ActorView;
  acts: boolean;
  namespace: string;
  onSent: () => void;
}

/** What the actor handles as it stands, each a button; the payload is written below. */
export function EventForm({ actor, acts, namespace, onSent }: Props) {
  const { type, id, events, deaf } = actor;
  const [chosen, setChosen] = useState<string>();
  const [payload, setPayload] = useState('');
  const [said, setSaid] = useState<Said>();
  const [error, setError] = useState<{ code: string; message: string }>();
  const [busy, setBusy] = useState(false);
  const path = `/api/actors/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;
  useEffect(() => setError(undefined), [chosen]);

  const run = async (
    what: string,
    ask: () => Promise<{ receipt: Receipt }>,
    told: (receipt: Receipt) => Said = (receipt) => doneText(what, receipt),
  ) => {
    setBusy(true);
    setError(undefined);
    setSaid(undefined);
    try {
      const { receipt } = await ask();
      setSaid(told(receipt));
      setChosen(undefined);
      setPayload('');
      onSent();
    } catch (thrown) {
      const { code = 'not JSON', message } = thrown as ApiError;
      setError({ code, message });
    }
    setBusy(false);
  };
  const pauseOrResume = () =>
    actor.paused_at
      ? run(
          'Resume',
          () => post(`${path}/resume`),
          ({ seq = actor.seq }) => ({ text: 'Resumed.', seq, paused: false }),
        )
      : run(
          'Pause',
          () => post(`${path}/pause`),
          ({ seq = actor.seq }) => ({
            text: 'Paused; nothing is taken until it is resumed.',
            seq,
            paused: true,
          }),
        );
  const eventOf = (): Record<string, unknown> => {
    const fields: unknown = payload.trim() === '' ? {} : JSON.parse(payload);
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
      throw new Error('The fields must be a JSON object.');
    return { ...fields, type: chosen };
  };
  const send = (event: Event) => {
    event.preventDefault();
    return run(String(chosen), async () => post(`${path}/events`, { event: eventOf() }));
  };
  const text = () => {
    try {
      return JSON.stringify(eventOf());
    } catch {
      return JSON.stringify({ type: chosen });
    }
  };
  const prefix = namespace === 'perdure' ? '' : `${namespace}.`;
  return html`<${Panel} title="What it handles now" actions=${
    acts &&
    html`<span class="row">
      ${actor.quarantined_at && html`<button class="quiet" disabled=${busy} onClick=${() => run('Release', () => post(`${path}/release`))}>Release</button>`}
      ${actor.status === 'active' && !actor.parent && !actor.quarantined_at && html`<button class="quiet" disabled=${busy} onClick=${pauseOrResume}>${actor.paused_at ? 'Resume' : 'Pause'}</button>`}
      ${actor.status === 'active' && !actor.parent && html`<${Sure} word="Cancel" disabled=${busy} onSure=${() => run('Cancel', () => post(`${path}/cancel`))} />`}</span>`
  }>
    ${deaf !== null && html`<p class="quiet-text">${deaf}</p>`}
    ${
      deaf === null &&
      html`
      <div class="events" role="group" aria-label="Events">
        ${events
          ?.filter((one) => !one.type.includes('*'))
          .map(
            (
              one,
            ) => html`<button key=${one.type} class="event-button" aria-pressed=${chosen === one.type} disabled=${!acts} onClick=${() => setChosen(chosen === one.type ? undefined : one.type)}>
            ${one.type}${one.guards.length > 0 && html`<small>if ${one.guards.join(', ')}</small>`}</button>`,
          )}
        ${events?.length === 0 && html`<span class="quiet-text">Nothing from outside; it waits for what runs, or for a timer.</span>`}
        ${acts && html`<label class="other">or another <input placeholder="EVENT" aria-label="Another event" onInput=${(event: Event) => setChosen((event.currentTarget as HTMLInputElement).value.trim() || undefined)} /></label>`}
      </div>
      ${
        chosen !== undefined &&
        html`<form class="event-form" onSubmit=${send}>
        <label>Fields of ${chosen}, as JSON
          <textarea rows="3" spellcheck=${false} placeholder='{"amount": 30}' value=${payload} onInput=${(event: Event) => setPayload((event.currentTarget as HTMLTextAreaElement).value)}></textarea></label>
        <div class="row">
          <button disabled=${busy}>Send ${chosen}</button>
          <${Copy} word="as curl" text=${() => `curl -X POST ${location.origin}${path}/events -H 'content-type: application/json' -d ${quoted(`{"event":${text()}}`)}`} />
          <${Copy} word="as nats" text=${() => `nats req ${prefix}events.${type}.${id} ${quoted(text())}`} />
          <${Copy} word="as perdure" text=${() => `perdure send ${type} ${id} ${quoted(text())} --until committed`} />
        </div>
      </form>`
      }`
    }
    ${said && isStillSo(said, actor) && html`<p class="done-note" role="status">${said.text}</p>`}
    <${Failure} error=${error} />
  </${Panel}>`;
}

/** What became of it, and as of when: once the actor has moved on it says nothing any more. */
interface Said {
  text: string;
  /** The transition it was done as; left out when it waits. */
  seq?: number | undefined;
  /** Said of an actor that is paused, or is not. */
  paused?: boolean;
}

function doneText(what: string, { state, seq }: Receipt): Said {
  if (state === undefined)
    return { text: `${what}: accepted; it waits until the actor is resumed.`, paused: true };
  return {
    text: `${what}: done${seq === undefined ? '' : ` as #${seq}`}, now ${stateText(state)}.`,
    seq,
  };
}

const isStillSo = ({ seq, paused }: Said, actor: ActorView): boolean =>
  (seq === undefined || actor.seq <= seq) &&
  (paused === undefined || paused === (actor.paused_at !== null));

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Asks once more; what it does cannot be undone. */
function Sure({ word, disabled, onSure }: { word: string; disabled: boolean; onSure: () => void }) {
  const [asked, setAsked] = useState(false);
  if (!asked)
    return html`<button class="quiet" disabled=${disabled} onClick=${() => setAsked(true)}>${word}…</button>`;
  return html`<span class="row"><button class="danger" disabled=${disabled} onClick=${() => {
    setAsked(false);
    onSure();
  }}>${word} it</button>
    <button class="quiet" onClick=${() => setAsked(false)}>no</button></span>`;
}
