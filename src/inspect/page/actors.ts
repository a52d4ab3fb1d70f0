import { useState } from 'preact/hooks';
import type { ActorSummary } from '../../store/read.ts';
import { useCounted } from './api.ts';
import { Bulk } from './bulk.ts';
import { go, hrefOf, type Place } from './router.ts';
import { countText, type Filter, Progress, useActors, useCount, type Walk } from './searching.ts';
import { Ago, Empty, Failure, html, numberText, Panel, Status, stateText } from './ui.ts';

const PAGE = 50;
const FILTERS = [
  'type',
  'status',
  'state',
  'tag',
  'version',
  'text',
  'idle',
  'node',
  'quarantined',
  'paused',
] as const;

interface TypeRow {
  type: string;
  searchable: string[];
}

/** Finds actors; what it is asked for is in the address. */
export function ActorsPage({ place, acts }: { place: Place; acts: boolean }) {
  const named = Object.fromEntries(
    FILTERS.map((name) => [name, place.params.get(name) ?? undefined]),
  ) as Record<(typeof FILTERS)[number], string | undefined>;
  const fields = Object.fromEntries([...place.params].filter(([name]) => name.startsWith(FIELD)));
  const filter: Filter = { ...named, ...fields };
  const after = place.params.get('after') ?? undefined;
  const found = useActors(filter, after, PAGE, 5_000);
  // A first page that is not full has them all.
  const isAll = after === undefined && found.value !== undefined && found.next === null;
  const counted = useCount(filter, !isAll && !found.running && !found.stopped, 10_000);
  const count = isAll ? numberText(found.value?.length ?? 0) : countText(counted);
  const types = useCounted<{ types: TypeRow[] }>('/api/types');
  const marked = types.data?.types.filter(({ type }) => !filter.type || type === filter.type);
  const [bulk, setBulk] = useState(false);
  const ask = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const { where = '', ...given } = Object.fromEntries(
      [...form].map(([name, value]) => [name, String(value).trim()]),
    );
    go(['actors'], { ...given, ...fieldsIn(where) });
  };
  const submit = (event: Event) => (event.currentTarget as HTMLSelectElement).form?.requestSubmit();
  return html`
    <h1>Actors <small class="quiet-text">${count}</small></h1>
    <form class="filters" role="search" onSubmit=${ask} key=${place.params.toString()}>
      <label>Type <select name="type" onChange=${submit}>
        <option value="">any</option>
        ${types.data?.types.map(({ type }) => html`<option value=${type} selected=${type === filter.type}>${type}</option>`)}
      </select></label>
      <label>Status <select name="status" onChange=${submit}>
        <option value="">any</option>
        ${['active', 'done', 'error', 'stopped'].map((one) => html`<option value=${one} selected=${one === filter.status}>${one === 'error' ? 'failed' : one}</option>`)}
      </select></label>
      <label>In id <input name="text" defaultValue=${filter.text ?? ''} placeholder="o-17" /></label>
      <label>State <input name="state" defaultValue=${filter.state ?? ''} placeholder="open.waiting" /></label>
      <label title="Fields of the input that the type marks as searchable: customerId=42">Input <input name="where" defaultValue=${textOf(fields)} placeholder="customerId=42" pattern=${WHERE} title="NAME=VALUE: customerId=42" list="searchable" spellcheck=${false} /></label>
      <datalist id="searchable">${[...new Set(marked?.flatMap(({ searchable }) => searchable))].map((name) => html`<option value=${`${name}=`} />`)}</datalist>
      <label class="narrow">Tag <input name="tag" defaultValue=${filter.tag ?? ''} /></label>
      <label class="narrow">Version <input name="version" defaultValue=${filter.version ?? ''} /></label>
      <label>Not moved for <select name="idle" onChange=${submit}>
        ${[
          ['', 'any time'],
          ['60', '1 min'],
          ['3600', '1 h'],
          ['86400', '1 day'],
          ['604800', '1 week'],
        ].map(
          ([value, title]) =>
            html`<option value=${value} selected=${(filter.idle ?? '') === value}>${title}</option>`,
        )}
      </select></label>
      ${filter.quarantined && html`<input type="hidden" name="quarantined" value="true" />`}
      <label class="check"><input type="checkbox" name="paused" value="true" checked=${filter.paused === 'true'} onChange=${submit} /> Paused</label>
      <button>Search</button>
      ${acts && filter.type !== undefined && html`<button type="button" class="quiet" onClick=${() => setBulk(!bulk)} aria-expanded=${bulk}>Act on all…</button>`}
    </form>
    ${filter.quarantined && html`<p class="note">Only those in quarantine. <a href=${hrefOf(['actors'])}>Show all</a></p>`}
    <${Failure} error=${found.error} />
    ${
      bulk &&
      filter.type !== undefined &&
      html`<${Panel} title="Act on all that match"><${Bulk} filter=${filter} onDone=${() => {
        found.again();
        counted.again();
      }} /></${Panel}>`
    }
    <${Panel}>
      <${Progress} of=${found} />
      <${ActorTable} actors=${shownOf(found)} />
      <div class="pager">
        ${after !== undefined && html`<a href=${hrefOf(['actors'], filter)}>first page</a>`}
        ${found.next && !found.running && html`<a href=${hrefOf(['actors'], { ...filter, after: found.next })}>${found.stopped ? 'go on from here' : 'next page'}</a>`}
      </div>
    </${Panel}>`;
}

const FIELD = 'field.';
/** Anything else would be left out, and all actors be shown. */
const WHERE = String.raw`\s*([\w$\-]+=\s*\S.*)?`;

/** `customerId=42 region=eu` as parameters; a value goes on until the next name. */
function fieldsIn(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([\w$-]+)=(.*?)(?=\s+[\w$-]+=|$)/g)].map(([, name, value = '']) => [
      `${FIELD}${name}`,
      value.trim(),
    ]),
  );
}

const textOf = (fields: Record<string, string>): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name.slice(FIELD.length)}=${value}`)
    .join(' ');

/** That there is none is known at the end. */
export const shownOf = ({ value, running, stopped }: Walk<ActorSummary[]>) =>
  value?.length === 0 && (running || stopped) ? undefined : value;

export function ActorTable({
  actors,
  brief,
}: {
  actors: ActorSummary[] | undefined;
  brief?: boolean;
}) {
  if (!actors) return html`<${Empty}>…</${Empty}>`;
  if (actors.length === 0) return html`<${Empty}>No actor matches.</${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Actors"><table>
    <thead><tr><th>Actor</th><th>Status</th><th>State</th>${!brief && html`<th class="aside">Tags</th><th class="number aside">Seq</th><th class="number aside">Shard</th>`}<th>Moved</th></tr></thead>
    <tbody>${actors.map(
      (one) => html`<tr key=${`${one.type}/${one.id}`}>
        <td class="id"><a href=${hrefOf(['actors', one.type, one.id])}>${!brief && html`<span class="quiet-text">${one.type}/</span>`}${one.id}</a></td>
        <td><${Status} of=${one.paused_at ? 'paused' : one.status} /></td>
        <td class="state"><code>${stateText(one.state)}</code></td>
        ${!brief && html`<td class="aside">${one.tags.map((tag) => html`<span class="tag">${tag}</span>`)}</td><td class="number aside">${one.seq}</td><td class="number aside">${one.shard}</td>`}
        <td><${Ago} at=${one.updated_at} /></td></tr>`,
    )}</tbody></table></div>`;
}
