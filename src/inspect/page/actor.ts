import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { activeStates, type ChartMachine, causeText } from '../../actors/chart.ts';
import type { ActorView } from '../actorView.ts';
import type { MailboxView } from '../mailboxView.ts';
import { reasonText } from '../reasonText.ts';
import { useFetch } from './api.ts';
import { ChartView } from './chartView.ts';
import { Effects, FailedAttempts } from './effects.ts';
import { EventForm } from './eventForm.ts';
import { History, type Step, useHistory } from './history.ts';
import { useLive } from './live.ts';
import { useMachine } from './machine.ts';
import { Pulse } from './overview.ts';
import { hrefOf, type Place, stayAt } from './router.ts';
import { Ago, Empty, Failure, html, Json, Panel, Status, stateText } from './ui.ts';

interface Props {
  type: string;
  id: string;
  place: Place;
  acts: boolean;
  namespace: string;
}

/** One actor: as it is, and as it was after any of its transitions. */
export function ActorPage({ type, id, place, acts, namespace }: Props) {
  const path = `/api/actors/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;
  const found = useFetch<{ actor: ActorView & { mailbox: MailboxView } }>(path, 10_000);
  const actor = found.data?.actor;
  const on = useFollow(type, id, found.again);
  const { machine, layout, missing, undrawn } = useMachine(type, actor?.version, actor?.path);
  const [chosen, setChosen] = useState<number | undefined>(
    () => Number(place.params.get('seq')) || undefined,
  );
  // A link to another moment of an actor that is shown already.
  useEffect(() => setChosen(Number(place.params.get('seq')) || undefined), [place]);
  const choose = (seq: number | undefined) => {
    setChosen(seq);
    stayAt(place.parts, { seq: seq?.toString() });
  };
  const isMoment = chosen !== undefined && Number.isInteger(chosen) && chosen >= 1;
  const past = isMoment && actor && chosen < actor.seq ? chosen : undefined;
  // A link to a moment that is none shows how it is now, also when there is such a moment later.
  const isNone = actor !== undefined && chosen !== undefined && past === undefined;
  useEffect(() => {
    if (isNone) choose(undefined);
  }, [isNone]);
  const history = useHistory(path, actor?.seq, past);
  const seq = past ?? actor?.seq;
  const isPast = past !== undefined;
  const step = history.step;
  const state = isPast ? step?.to_state : actor?.state;
  const active = useMemo(
    () => new Set(machine ? activeStates(machine.root, state).map((one) => one.id) : []),
    [machine, JSON.stringify(state)],
  );
  const taken = useMemo(() => new Set(step?.edges ?? []), [step]);
  if (found.error && !actor) return html`<h1>${type}/${id}</h1><${Failure} error=${found.error} />`;
  if (!actor) return html`<${Empty}>…</${Empty}>`;
  const isGone = found.error?.code === 'not_found';
  return html`
    <h1 class="actor-name"><a class="quiet-text" href=${hrefOf(['types', type])}>${type}</a> <span>${id}</span> <${Status} of=${actor.paused_at ? 'paused' : actor.status} /> <${Pulse} on=${on && !found.error} /></h1>
    ${isGone ? html`<p class="failure">It is not there any more: this is how it was.</p>` : html`<${Failure} error=${found.error} />`}
    <${Facts} actor=${actor} />
    <${Warnings} actor=${actor} />
    <div class="grid wide-left">
      <div class="stack">
        <${Panel} class=${isPast ? 'past' : ''} title=${isPast ? `As it was after #${past}` : 'As it is'} actions=${html`<code class="now">${stateText(state)}</code>`}>
          ${machine && layout && html`<${ChartView} machine=${machine} layout=${layout} name=${actor.path.at(-1) ?? type} active=${active} taken=${taken} />`}
          <${Failure} error=${undrawn} />
          ${missing && html`<${Empty}>No node has recorded version ${actor.version} of this machine; one that runs it does when it starts.</${Empty}>`}
        </${Panel}>
        ${!isPast && !isGone && html`<${EventForm} actor=${actor} acts=${acts} namespace=${namespace} onSent=${found.again} />`}
      </div>
      <div class="stack">
        <${History} path=${path} history=${history} last=${actor.seq} seq=${seq} chosen=${past} onChoose=${choose} nameOf=${(event: string, edges: string[]) => nameOf(machine, event, edges)} />
        <${Panel} title=${isPast ? `Context after #${past}` : 'Context'}><${Json} value=${isPast ? step?.context : actor.context} /></${Panel}>
        ${!isPast && html`<${Results} actor=${actor} /><${Running} actor=${actor} /><${Family} actor=${actor} />`}
        ${isPast && step && html`<${Then} step=${step} />`}
      </div>
    </div>`;
}

/** Looks again whenever the actor has moved; one that moves all the time, a few times a second. */
function useFollow(type: string, id: string, again: () => void): boolean {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const soon = () => {
    if (timer.current !== undefined) return;
    timer.current = setTimeout(() => {
      timer.current = undefined;
      again();
    }, 120);
  };
  return useLive({ type, id }, { transitions: soon, reset: again });
}

/** XState's names for results and timers mean little to people. */
function nameOf(
  machine: ChartMachine | undefined,
  event: string,
  edges: readonly string[],
): string {
  if (!event.startsWith('xstate.')) return event;
  if (event === 'xstate.init') return 'started';
  const search = (state: ChartMachine['root']): string | undefined => {
    const edge = state.edges.find(
      (one) => one.event === event && (edges.length === 0 || edges.includes(one.id)),
    );
    if (edge) return causeText(edge);
    for (const child of state.states) {
      const found = search(child);
      if (found) return found;
    }
    return undefined;
  };
  return (machine && search(machine.root)) ?? event.replace(/^xstate\./, '');
}

/** What of it waits where; a part nobody knows is said to be unknown. */
function mailboxText({ memory, parked, outbox }: MailboxView): string {
  const known = [
    memory === null ? 'its node does not say' : `${memory} in memory`,
    `${parked} parked`,
    `${outbox} from other actors on the way`,
  ];
  return known.join(', ');
}

function Facts({ actor }: { actor: ActorView & { mailbox: MailboxView } }) {
  return html`<dl class="facts">
    <div><dt>version</dt><dd>${actor.version}</dd></div>
    <div><dt>seq</dt><dd>${actor.seq}</dd></div>
    <div><dt>shard</dt><dd>${actor.shard} <span class="quiet-text">epoch ${actor.epoch}</span></dd></div>
    <div><dt>mailbox</dt><dd title=${mailboxText(actor.mailbox)}>${actor.mailbox.depth ?? 'unknown'}</dd></div>
    <div><dt>started</dt><dd><${Ago} at=${actor.created_at} /></dd></div>
    <div><dt>moved</dt><dd><${Ago} at=${actor.updated_at} /></dd></div>
    ${actor.tags.length > 0 && html`<div><dt>tags</dt><dd>${actor.tags.map((tag) => html`<span class="tag">${tag}</span>`)}</dd></div>`}
    ${actor.parent && html`<div><dt>child of</dt><dd><a href=${hrefOf(['actors', actor.type, actor.parent.id])}>${actor.parent.id}</a></dd></div>`}
  </dl>`;
}

function Warnings({ actor }: { actor: ActorView }) {
  return html`
    ${actor.quarantined_at && html`<p class="failure">In quarantine for <${Ago} at=${actor.quarantined_at} />: ${actor.crashes} nodes died in a row while something ran for it.</p>`}
    ${actor.paused_at && html`<p class="note">Paused for <${Ago} at=${actor.paused_at} />: nothing is done for it${actor.parked ? `, and ${actor.parked.messages} messages wait` : ''}.</p>`}
    ${actor.parked && !actor.paused_at && html`<p class="failure">${actor.parked.messages} messages wait for a node that can open it, for <${Ago} at=${actor.parked.since} />.</p>`}`;
}

function Results({ actor }: { actor: ActorView }) {
  return html`
    ${actor.status === 'done' && html`<${Panel} title="Output"><${Json} value=${actor.output} /></${Panel}>`}
    ${actor.error !== null && html`<${Panel} title="Error" class="bad"><${Json} value=${actor.error} /></${Panel}>`}`;
}

function Running({ actor }: { actor: ActorView }) {
  const { invokes, timers } = actor;
  if (invokes.length === 0 && timers.length === 0) return null;
  return html`<${Panel} title="What runs and waits"><ul class="running">
    ${invokes.map(
      (
        one,
      ) => html`<li><span class="sign">⟳</span><div><b>${one.id}</b> <span class="quiet-text">started by #${one.started_seq}, attempt ${one.attempt}</span>
        ${one.failed_attempts ? html`<${FailedAttempts} attempts=${one.failed_attempts} />` : one.error && html`<div class="bad-text">${reasonText(one.error)}</div>`}
        ${one.next_at && html`<div>next attempt <${Ago} at=${one.next_at} /></div>`}
        ${one.steps && html`<div class="quiet-text">steps done: ${one.steps.join(', ')}</div>`}</div></li>`,
    )}
    ${timers.map((one) => html`<li><span class="sign">◷</span><div><b><${Ago} at=${one.fire_at} /></b> <span class="quiet-text">${one.timer_id}</span></div></li>`)}
  </ul></${Panel}>`;
}

function Family({ actor }: { actor: ActorView }) {
  if (actor.children.length === 0) return null;
  const depth = (id: string) => id.split('.').length - actor.id.split('.').length - 1;
  return html`<${Panel} title="Children"><ul class="tree">
    ${actor.children.map(
      (one) => html`<li key=${one.id} class=${`depth${Math.min(4, depth(one.id))}`}>
        <a href=${hrefOf(['actors', actor.type, one.id])}>${one.id.slice(actor.id.length + 1)}</a> <code>${stateText(one.state)}</code> <${Status} of=${one.status} /></li>`,
    )}</ul></${Panel}>`;
}

function Then({ step }: { step: Step }) {
  const running = step.effects.filter(({ how }) => how === 'running');
  const timers = Object.keys(step.timers);
  if (running.length === 0 && timers.length === 0) return null;
  return html`<${Panel} title="What ran and waited then"><ul class="running">
    <${Effects} effects=${running} />
    ${timers.map((id) => html`<li><span class="sign">◷</span><div>${id}</div></li>`)}
  </ul></${Panel}>`;
}
