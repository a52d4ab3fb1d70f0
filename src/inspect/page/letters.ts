import { useState } from 'preact/hooks';
import type { DeadLetterRow } from '../../store/letters.ts';
import { type ApiError, post, queryOf, useFetch } from './api.ts';
import { RedriveAll } from './redriveAll.ts';
import { go, hrefOf, type Place } from './router.ts';
import { Ago, Empty, Failure, html, numberText, Panel } from './ui.ts';

type Letter = DeadLetterRow & {
  headers: Record<string, string>;
  body: string;
  body_encoding: string;
};

const LIMIT = 200;
/** As many as the server counts by their reasons. */
const COUNTED_MAX = 10_000;

interface Found {
  dead_letters: DeadLetterRow[];
  /** How many have which, of all reasons. */
  reasons: Record<string, number>;
  next: string | null;
}

/** Whoever reads them, these come back: why no button helps. */
const HOPELESS: ReadonlyMap<string, string> = new Map(
  [
    ['bad_body', 'its body cannot be read'],
    ['bad_subject', 'its subject names no actor'],
    ['body_too_large', 'its body is too large'],
  ].map(([reason = '', why]) => [
    reason,
    `It would come back: ${why}. Send a corrected message instead.`,
  ]),
);

/** Messages nobody could act on: why, what they say, and once more. */
export function LettersPage({ place, acts }: { place: Place; acts: boolean }) {
  const [, open] = place.parts;
  const reason = place.params.get('reason') ?? undefined;
  const all = place.params.get('all') === 'true';
  const after = place.params.get('after') ?? undefined;
  const pending = all ? undefined : 'true';
  const found = useFetch<Found>(
    `/api/dead-letters${queryOf({ pending, reason, after, limit: LIMIT })}`,
    5_000,
  );
  const [said, setSaid] = useState<string>();
  const [error, setError] = useState<ApiError>();
  const shown = found.data?.dead_letters ?? [];
  const reasons = Object.entries(found.data?.reasons ?? {});
  const count = reasons.reduce((sum, [, some]) => sum + some, 0);
  const next = found.data?.next ?? undefined;
  const kept = { all: all ? 'true' : undefined };
  const waiting = shown.some((letter) => letter.redriven_at === null);
  const act = async (ask: () => Promise<string>) => {
    setError(undefined);
    setSaid(undefined);
    await ask().then(setSaid, setError);
    found.again();
  };
  const redrive = (id: string) =>
    act(async () => {
      await post(`/api/dead-letters/${id}/redrive`);
      return `Dead letter ${id} was published again; what still cannot be done comes back under a new number.`;
    });
  return html`
    <h1>Dead letters</h1>
    ${
      found.data &&
      html`<div class="row chips">
      <a class="chip" aria-current=${reason === undefined ? 'true' : undefined} href=${hrefOf(['dead-letters'], kept)}>all ${numberText(count)}${count === COUNTED_MAX ? '+' : ''}</a>
      ${reasons.map(([one, some]) => html`<a class="chip" aria-current=${reason === one ? 'true' : undefined} href=${hrefOf(['dead-letters'], { reason: one, ...kept })}>${one} ${numberText(some)}</a>`)}
      <label class="check"><input type="checkbox" checked=${all} onChange=${() => go(['dead-letters'], { reason, all: all ? undefined : 'true' })} /> also those redriven</label>
    </div>`
    }
    ${acts && waiting && html`<${RedriveAll} key=${reason} reason=${reason} onDone=${found.again} />`}
    ${said && html`<p class="done-note" role="status">${said}</p>`}
    <${Failure} error=${error ?? found.error} />
    <div class="grid wide-left">
    <${Panel}>
      ${found.data && shown.length === 0 && html`<${Empty}>No ${after === undefined ? '' : 'older '}dead letters${all ? '' : ' wait'}.</${Empty}>`}
      ${
        shown.length > 0 &&
        html`<div class="scroll" tabindex="0" role="region" aria-label="Dead letters"><table>
        <thead><tr><th>Number</th><th>Reason</th><th>Subject</th><th>Age</th><th class="aside">${acts && html`<span class="unseen">Redrive</span>`}</th></tr></thead>
        <tbody>${shown.map(
          (
            letter,
          ) => html`<tr key=${letter.dead_letter_id} aria-current=${open === letter.dead_letter_id ? 'true' : undefined}>
            <td><a href=${hrefOf(['dead-letters', letter.dead_letter_id], { reason, after, ...kept })}>${letter.dead_letter_id}</a></td>
            <td><code>${letter.reason}</code></td><td class="id">${letter.subject.slice(0, 80)}</td><td><${Ago} at=${letter.at} /></td>
            <td class="aside">${acts && letter.redriven_at === null && html`<button class="quiet" disabled=${HOPELESS.has(letter.reason)} title=${HOPELESS.get(letter.reason)} onClick=${() => redrive(letter.dead_letter_id)} aria-label=${`Redrive ${letter.dead_letter_id}`}>Redrive</button>`}
              ${letter.redriven_at && html`<span class="quiet-text">redriven</span>`}</td></tr>`,
        )}</tbody></table></div>`
      }
      ${
        (after !== undefined || next !== undefined) &&
        html`<div class="pager">
        ${after !== undefined && html`<a href=${hrefOf(['dead-letters'], { reason, ...kept })}>first page</a>`}
        ${next !== undefined && html`<a href=${hrefOf(['dead-letters'], { reason, after: next, ...kept })}>next page</a>`}</div>`
      }
    </${Panel}>
    ${open === undefined ? html`<${Panel}><${Empty}>Choose one to read it.</${Empty}></${Panel}>` : html`<${OneLetter} key=${open} id=${open} onRedrive=${acts ? redrive : undefined} />`}
    </div>`;
}

function OneLetter({ id, onRedrive }: { id: string; onRedrive?: (id: string) => void }) {
  const { data, error } = useFetch<{ dead_letter: Letter }>(
    `/api/dead-letters/${encodeURIComponent(id)}`,
  );
  const letter = data?.dead_letter;
  const [, kind, type, actor] =
    /(jobs|events)\.([^.]+)\.([^.]+)$/.exec(letter?.subject ?? '') ?? [];
  return html`<${Panel} title=${`Dead letter ${id}`} actions=${onRedrive && letter?.redriven_at === null && html`<button disabled=${HOPELESS.has(letter.reason)} title=${HOPELESS.get(letter.reason)} onClick=${() => onRedrive(id)}>Redrive it</button>`}>
    <${Failure} error=${error} />
    ${
      letter &&
      html`<p>${letter.detail}</p>
      <dl class="facts column">
        <div><dt>subject</dt><dd class="id">${letter.subject}</dd></div>
        ${kind && html`<div><dt>for</dt><dd><a href=${hrefOf(['actors', type as string, actor as string])}>${type}/${actor}</a></dd></div>`}
        <div><dt>message</dt><dd class="id">${letter.message_id ?? 'none'}</dd></div>
        <div><dt>came</dt><dd>${new Date(letter.at).toLocaleString()}</dd></div>
        ${letter.redriven_at && html`<div><dt>redriven</dt><dd>${new Date(letter.redriven_at).toLocaleString()}</dd></div>`}
      </dl>
      <h3>Body <small class="quiet-text">${letter.bytes} bytes${letter.body_encoding === 'base64' ? ', base64' : ''}</small></h3>
      <pre class="json" tabindex="0">${letter.body || ' '}</pre>
      ${
        Object.keys(letter.headers).length > 0 &&
        html`<h3>Headers</h3><pre class="json" tabindex="0">${Object.entries(letter.headers)
          .map(([name, value]) => `${name}: ${value}`)
          .join('\n')}</pre>`
      }`
    }
  </${Panel}>`;
}
