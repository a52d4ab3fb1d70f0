import { useEffect, useMemo, useState } from 'preact/hooks';
import type { FeedEntry } from '../../client.ts';
import type { PopulationRow } from '../../store/search.ts';
import type { NodeView } from '../clusterView.ts';
import { type NeedFacts, type NeedKind, needsOf } from '../needs.ts';
import { useCounted } from './api.ts';
import { isShown } from './cluster.ts';
import { type Rate, type Second, useLive } from './live.ts';
import { hrefOf } from './router.ts';
import { Series } from './series.ts';
import {
  Ago,
  durationText,
  Empty,
  Failure,
  html,
  numberText,
  Panel,
  stateText,
  useNow,
} from './ui.ts';

/** What every actor is counted for is null until that is done. */
interface Overview extends NeedFacts {
  counted_at: string | null;
  population: PopulationRow[] | null;
  nodes: { live: number; known: number; list: NodeView[] };
  shards: { all: number; owned: number; ill: { shard: number; health: string }[] };
  waiting: number | null;
}

/** Transitions that are listed. */
const FEED = 10;
/** Seconds that the charts show. */
const SHOWN = 90;
/** Looks at what waits, one every three seconds, that its chart shows. */
const LOOKS = 100;

/** What needs a human first; then how much goes on, and where everything is. */
export function OverviewPage() {
  const { data, error, again } = useCounted<Overview>('/api/overview', 3_000);
  const [seconds, setSeconds] = useState<Second[]>([]);
  const rates = useMemo(() => seconds.map(({ types }) => types), [seconds]);
  const [waiting, setWaiting] = useState<number[]>([]);
  useEffect(() => {
    const now = data?.waiting;
    if (typeof now === 'number') setWaiting((old) => [...old.slice(1 - LOOKS), now]);
  }, [data]);
  const [recent, setRecent] = useState<FeedEntry[]>([]);
  const on = useLive(
    { only: 'rates' },
    {
      rates: ({ recent: entries = [], ...second }) => {
        setRecent((old) => [...entries.slice(-FEED).toReversed(), ...old].slice(0, FEED));
        setSeconds((old) => [...old.slice(1 - SHOWN), second]);
      },
      past: setSeconds,
      reset: again,
    },
  );
  return html`
    <h1>Overview <${Pulse} on=${on} /></h1>
    <${Failure} error=${error} />
    ${data && html`<${Needs} data=${data} />`}
    <div class="grid charts">
      <${Panel} title="Transitions per second"><${Series} lines=${[sums(rates, 'transitions')]} shown=${SHOWN} kind="transitions" word="transitions in the last second" unit="/s" /></${Panel}>
      <${Panel} title="Published to committed"><${Series} lines=${latencies(seconds)} names=${['p50', 'p95']} shown=${SHOWN} kind="latency" word="ms until half of the messages were committed" unit=" ms" /></${Panel}>
      <${Panel} title="Failures per second"><${Series} lines=${[sums(rates, 'failed')]} shown=${SHOWN} kind="failed" word="failures in the last second" unit="/s" /></${Panel}>
      ${waiting.length > 0 && html`<${Panel} title="Messages that wait"><${Series} lines=${[waiting]} shown=${LOOKS} kind="waiting" word="messages wait or are being worked on" unit="" /></${Panel}>`}
    </div>
    ${data && html`<${Types} data=${data} rates=${rates} />`}
    <div class="grid halves">
      <${Feed} entries=${recent} />
      ${data && html`<${Cluster} data=${data} />`}
    </div>`;
}

/** Whether what is shown is what is so now. */
export function Pulse({ on }: { on: boolean }) {
  return html`<span class="pulse ${on ? 'on' : ''}" role="status">${on ? 'live' : 'not live'}</span>`;
}

/** Where to look, and to act. */
const PLACES: Readonly<Record<NeedKind, string>> = {
  no_node: hrefOf(['cluster']),
  no_nats: hrefOf(['cluster']),
  dead_letters: hrefOf(['dead-letters']),
  quarantined: hrefOf(['actors'], { quarantined: 'true' }),
  parked: hrefOf(['actors']),
  shards: hrefOf(['cluster']),
  late: hrefOf(['cluster']),
  failed: hrefOf(['actors'], { status: 'error' }),
  still: hrefOf(['actors'], { status: 'active', idle: '86400' }),
};

function Needs({ data }: { data: Overview }) {
  const needs = needsOf(data);
  if (needs.length === 0 && data.population)
    return html`<div class="needs calm" role="status">Nothing needs you.</div>`;
  return html`<div class="needs" role="list">
    ${needs.map(
      ({ kind, count, more, what, detail, grave }) =>
        html`<div role="listitem" key=${kind}><a class="need ${grave ? 'grave' : ''}" href=${PLACES[kind]}>
        <b>${kind === 'no_node' ? '' : numberText(count)}${more ? '+' : ''}</b> ${what}<small>${detail}</small></a></div>`,
    )}</div>`;
}

const sum = (rows: readonly { count: number }[]): number =>
  rows.reduce((all, { count }) => all + count, 0);

const sums = (rates: Record<string, Rate>[], of: keyof Rate): number[] =>
  rates.map((types) => Object.values(types).reduce((all, rate) => all + rate[of], 0));

/** Seconds in which nothing was committed say nothing. */
const latencies = (seconds: Second[]): (number | null)[][] => [
  seconds.map(({ latency }) => latency?.p50 ?? null),
  seconds.map(({ latency }) => latency?.p95 ?? null),
];

const STATUSES = ['active', 'done', 'error', 'stopped'] as const;

function Types({ data, rates }: { data: Overview; rates: Record<string, Rate>[] }) {
  const { population, counted_at } = data;
  if (!population)
    return html`<${Panel} title="Actor types"><${Empty}>Every actor is being counted …</${Empty}></${Panel}>`;
  const types = [...new Set(population.map(({ type }) => type))];
  return html`<${Panel} title="Actor types" actions=${html`<small>counted <${Ago} at=${counted_at} /> ago</small>`}>
    ${types.length === 0 && html`<${Empty}>No actor has been started yet. <code>perdure start TYPE --input '{}'</code> starts one.</${Empty}>`}
    ${
      types.length > 0 &&
      html`<div class="scroll" tabindex="0" role="region" aria-label="Actor types"><table>
      <thead><tr><th>Type</th><th class="number">Active</th><th class="number">Done</th><th class="number">Failed</th><th class="number">Stopped</th><th>Where the active ones are</th><th class="number">/s</th></tr></thead>
      <tbody>${types.map((type) => {
        const rows = population.filter((row) => row.type === type);
        const counts = STATUSES.map((status) => sum(rows.filter((row) => row.status === status)));
        const recent = rates.slice(-5);
        const rate =
          recent.reduce((all, one) => all + (one[type]?.transitions ?? 0), 0) /
          Math.max(1, recent.length);
        return html`<tr key=${type}>
          <td><a href=${hrefOf(['types', type])}>${type}</a></td>
          ${counts.map((count, at) => html`<td class="number ${at === 2 && count > 0 ? 'bad' : ''}"><a href=${hrefOf(['actors'], { type, status: STATUSES[at] })}>${numberText(count)}</a></td>`)}
          <td class="fill"><${Bar} rows=${rows.filter(({ status }) => status === 'active')} type=${type} /></td>
          <td class="number">${rate < 10 ? rate.toFixed(1) : Math.round(rate)}</td></tr>`;
      })}</tbody></table></div>`
    }
  </${Panel}>`;
}

function Bar({ rows, type }: { rows: PopulationRow[]; type: string }) {
  const all = sum(rows);
  const places = new Map<string, number>();
  for (const { state, count } of rows)
    places.set(stateText(state), (places.get(stateText(state)) ?? 0) + count);
  const top = [...places].sort(([, a], [, b]) => b - a).slice(0, 6);
  if (all === 0) return html`<span class="quiet-text">none</span>`;
  return html`<span class="places">${top.map(
    ([state, count], at) =>
      html`<a class="place p${at}" style=${{ flexGrow: Math.max(count / all, 0.06) }} title=${`${state}: ${numberText(count)}`} href=${hrefOf(['types', type])}><b>${numberText(count)}</b> <span>${state}</span></a>`,
  )}</span>`;
}

function Cluster({ data }: { data: Overview }) {
  const now = useNow();
  return html`<${Panel} title="Nodes" actions=${html`<a href=${hrefOf(['cluster'])}>${data.shards.owned} of ${data.shards.all} shards owned</a>`}>
    ${data.nodes.known === 0 && html`<${Empty}>No node has ever run here.</${Empty}>`}
    <ul class="nodes">${data.nodes.list
      .filter((node) => isShown(node, now))
      .map(
        (node) => html`<li key=${node.node_id} class="node ${node.state === 'ok' ? '' : 'ill'}">
          <b>${node.name}</b><span class="badge ${node.state === 'ok' ? 'done' : 'error'}">${node.state}</span>
          <small>${node.shards} shards · ${node.live ? `up ${durationText(now - Date.parse(node.started_at))}` : 'gone'}</small></li>`,
      )}</ul>
  </${Panel}>`;
}

function Feed({ entries }: { entries: FeedEntry[] }) {
  return html`<${Panel} title="Happening now">
    ${entries.length === 0 && html`<${Empty}>Nothing has moved since this page was opened.</${Empty}>`}
    <ul class="feed">${entries.map(
      ({ type, id, seq, event, to, status }) => html`<li key=${`${type}/${id}/${seq}`}>
        <a class="id" href=${hrefOf(['actors', type, id])}>${type}/${id}</a><b>${event.replace(/^xstate\./, '')}</b>
        <span class=${status === 'error' ? 'bad-text' : 'quiet-text'}>${stateText(to)}</span></li>`,
    )}</ul></${Panel}>`;
}
