import { useMemo, useRef, useState } from 'preact/hooks';
import { activeStates, type ChartState, legalEvents } from '../../actors/chart.ts';
import type { PopulationRow } from '../../store/search.ts';
import { ActorTable, shownOf } from './actors.ts';
import { useCounted, useFetch } from './api.ts';
import { Bulk } from './bulk.ts';
import { ChartView, type StateCount } from './chartView.ts';
import { useLive } from './live.ts';
import { pathTo, useMachine } from './machine.ts';
import { Pulse } from './overview.ts';
import { go, hrefOf, type Place } from './router.ts';
import { countText, Progress, useActors, useCount } from './searching.ts';
import { Ago, Empty, Failure, html, numberText, Panel, useNow } from './ui.ts';

interface TypeRow {
  type: string;
  versions: { version: string; recorded_at: string }[];
  /** Null until every actor is counted. */
  counts: Record<string, number> | null;
}

/** A type's statechart with how many actors are where. */
export function FleetPage({ type, place, acts }: { type: string; place: Place; acts: boolean }) {
  const types = useCounted<{ counted_at: string | null; types: TypeRow[] }>('/api/types');
  const row = types.data?.types.find((one) => one.type === type);
  const version = place.params.get('version') ?? row?.versions[0]?.version;
  const chosen = place.params.get('state') ?? undefined;
  const { machine, layout, missing, undrawn } = useMachine(type, version);
  const { rows, counted, error, again, on } = usePopulation(type);
  const now = useNow(5_000);
  const ours = rows.filter((one) => one.version === version && one.path.length === 0);
  const counts = useMemo(() => {
    const found = new Map<string, StateCount>();
    if (!machine) return found;
    for (const { status, state, count, oldest_at, median_at } of ours) {
      // Where a stopped one was stopped says nothing of who is there.
      if (count <= 0 || status === 'stopped') continue;
      for (const { id } of activeStates(machine.root, state)) {
        const known = found.get(id) ?? {
          ...{ count: 0, failed: 0, oldest: Number.POSITIVE_INFINITY },
          medians: [],
        };
        if (status === 'error') known.failed += count;
        else known.count += count;
        known.oldest = Math.min(known.oldest, Date.parse(oldest_at));
        known.medians.push([Date.parse(median_at), count]);
        found.set(id, known);
      }
    }
    return found;
  }, [machine, rows, version]);
  const choose = (state: ChartState) =>
    go(['types', type], {
      version: place.params.get('version') ?? undefined,
      state: state.id === chosen ? undefined : state.id,
    });
  return html`
    <h1><a class="quiet-text" href=${hrefOf(['actors'], { type })}>type</a> ${type} <${Pulse} on=${on} /></h1>
    <div class="row facts">
      ${
        row &&
        row.versions.length > 0 &&
        html`<label>Version <select value=${version} onChange=${(event: Event) => go(['types', type], { version: (event.currentTarget as HTMLSelectElement).value })}>
        ${row.versions.map((one) => html`<option value=${one.version}>${one.version}</option>`)}</select></label>`
      }
      ${row?.counts && Object.entries(row.counts).map(([status, count]) => html`<a class="fact" href=${hrefOf(['actors'], { type, status })}><b>${numberText(count)}</b> ${status === 'error' ? 'failed' : status}</a>`)}
      <small class="quiet-text">${counted ? html`counted <${Ago} at=${counted} /> ago, moved on live` : !error && 'every actor is being counted …'}</small>
    </div>
    <${Failure} error=${error ?? types.error} />
    <div class="grid wide-left">
      <${Panel} title="Where they are" actions=${html`<small class="legend">half of them there for ${['a moment', 'minutes', 'hours', 'days'].map((word, heat) => html`<span><i class=${`heat${heat}`}></i>${word}</span> `)}</small>`}>
        ${machine && layout && html`<${ChartView} machine=${machine} layout=${layout} name=${type} counts=${counted ? counts : undefined} chosen=${chosen} onState=${choose} now=${now} />`}
        <${Failure} error=${undrawn} />
        ${missing && html`<${Empty}>No node has recorded this machine: one that runs this version does when it starts.</${Empty}>`}
        ${types.data?.counted_at && !row && html`<${Empty}>Nobody knows a type ${type}.</${Empty}>`}
      </${Panel}>
      ${machine && chosen !== undefined && version !== undefined && html`<${InState} key=${chosen} type=${type} version=${version} root=${machine.root} chosen=${chosen} acts=${acts} onActed=${again} />`}
      ${chosen === undefined && html`<${Panel} title="Who is where"><${Empty}>Choose a state to see the actors in it, and to act on all of them.</${Empty}></${Panel}>`}
    </div>`;
}

/** Of those in a state. */
const SHOWN = 20;

function InState(props: {
  type: string;
  version: string;
  root: ChartState;
  chosen: string;
  acts: boolean;
  onActed: () => void;
}) {
  const { type, version, root, chosen, acts } = props;
  const state = pathTo(root, chosen);
  // Only those that have ended are in a final state of the root; whoever is elsewhere and has ended was ended there.
  const isEnd = root.states.some(({ id, type: kind }) => id === chosen && kind === 'final');
  const filter = { type, version, state, status: isEnd ? 'done' : 'active' };
  const found = useActors(filter, undefined, SHOWN, 3_000);
  const count = useCount(filter, true, 5_000);
  const events = useMemo(() => {
    const line = (at: ChartState): ChartState[] | undefined => {
      if (at.id === chosen) return [at];
      for (const child of at.states) {
        const rest = line(child);
        if (rest) return [at, ...rest];
      }
      return undefined;
    };
    return legalEvents(line(root) ?? [])
      .map((one) => one.type)
      .filter((one) => !one.includes('*'));
  }, [root, chosen]);
  return html`<${Panel} title=${`In ${state ?? type}`} actions=${html`<a href=${hrefOf(['actors'], filter)}>${count.value ? `${countText(count)} actors` : ''}</a>`}>
    <${Failure} error=${found.error} />
    ${
      acts &&
      html`<${Bulk} filter=${filter} events=${events} onDone=${() => {
        found.again();
        count.again();
        props.onActed();
      }} />`
    }
    <${Progress} of=${found} />
    <${ActorTable} actors=${shownOf(found)} brief=${true} />
  </${Panel}>`;
}

/** The last count, moved on by every transition that is heard; counted again now and then. */
function usePopulation(type: string) {
  const fetched = useFetch<{ counted_at: string; rows: PopulationRow[] }>(
    `/api/types/${encodeURIComponent(type)}/population`,
    5_000,
  );
  const [, redraw] = useState(0);
  const moved = useRef<{ base: unknown; rows: PopulationRow[] }>({ base: undefined, rows: [] });
  const { data } = fetched;
  if (data && (moved.current.base as typeof data | undefined)?.counted_at !== data.counted_at)
    moved.current = { base: data, rows: data.rows.map((row) => ({ ...row })) };
  const on = useLive(
    { type },
    {
      reset: fetched.again,
      transitions: (entries, skipped) => {
        if (skipped > 0) fetched.again();
        const { rows, base } = moved.current;
        const counted = Date.parse((base as typeof data)?.counted_at ?? '');
        for (const { id, from, to, status, at } of entries)
          if (!id.includes('.') && (at ?? 0) > counted) move(rows, from, to, status, at ?? counted);
        moved.current.rows = [...rows];
        redraw((n) => n + 1);
      },
    },
  );
  return {
    rows: moved.current.rows,
    counted: data?.counted_at,
    error: fetched.error,
    again: fetched.again,
    on,
  };
}

function move(rows: PopulationRow[], from: unknown, to: unknown, status: string, at: number): void {
  const find = (state: unknown, of: string) => {
    const text = JSON.stringify(state);
    return rows.find(
      (row) => row.status === of && row.path.length === 0 && JSON.stringify(row.state) === text,
    );
  };
  const before = from === null ? undefined : find(from, 'active');
  if (before && before.count > 0) before.count--;
  const after = find(to, status);
  if (after) {
    if (after.count === 0) after.oldest_at = after.median_at = new Date(at).toISOString();
    after.count++;
  } else if (rows[0])
    rows.push({
      ...rows[0],
      state: to,
      status,
      path: [],
      count: 1,
      oldest_at: new Date(at).toISOString(),
      median_at: new Date(at).toISOString(),
    });
}
