import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ActorPage } from './actor.ts';
import { ActorsPage } from './actors.ts';
import { type ApiError, onRefused, post, signedIn, useFetch } from './api.ts';
import { ClusterPage } from './cluster.ts';
import { FleetPage } from './fleet.ts';
import { LettersPage } from './letters.ts';
import { OverviewPage } from './overview.ts';
import { hrefOf, type Place, usePlace } from './router.ts';
import { Failure, html } from './ui.ts';

/** Who looks, and at what. */
export interface Me {
  role: 'read' | 'act';
  namespace: string;
  version: string;
  locked: boolean;
}

const VIEWS: readonly [name: string, title: string][] = [
  ['', 'Overview'],
  ['actors', 'Actors'],
  ['dead-letters', 'Dead letters'],
  ['cluster', 'Nodes & shards'],
];

function App() {
  const [asks, setAsks] = useState(false);
  const me = useFetch<Me>('/api/me');
  const place = usePlace();
  onRefused(() => setAsks(true));
  const letIn = () => {
    signedIn();
    setAsks(false);
    me.again();
  };
  useTokenInAddress(letIn);
  const view = place.parts[0] ?? '';
  useEffect(() => {
    const title = VIEWS.find(([name]) => name === view)?.[1] ?? place.parts.slice(1).join('/');
    document.title = `${title} · Perdure`;
    document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [place.parts.join('/')]);
  if (asks) return html`<${Login} onDone=${letIn} />`;
  return html`
    <a class="skip" href="#content" onClick=${(event: Event) => {
      event.preventDefault();
      document.querySelector<HTMLElement>('main')?.focus();
    }}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><${Logo} />Perdure</a>
      <nav aria-label="Views">
        ${VIEWS.map(
          ([name, title]) =>
            html`<a href=${hrefOf(name === '' ? [] : [name])} aria-current=${isAt(view, name) ? 'page' : undefined}>${title}</a>`,
        )}
      </nav>
      <span class="who">
        ${me.data && html`<span class="quiet-text">${me.data.namespace}${me.data.role === 'read' ? ' · read only' : ''}</span>`}
        <${Theme} />
        ${me.data?.locked && html`<button class="quiet" onClick=${leave}>sign out</button>`}
      </span>
    </header>
    <main tabindex="-1" id="content">${me.error && me.error.status !== 401 ? html`<${Failure} error=${me.error} />` : null}${me.data && html`<${View} place=${place} me=${me.data} />`}</main>`;
}

const isAt = (view: string, name: string): boolean =>
  view === name || (name === 'actors' && view === 'types');

function View({ place, me }: { place: Place; me: Me }) {
  const [view = '', type, id] = place.parts;
  const acts = me.role === 'act';
  if (view === '') return html`<${OverviewPage} />`;
  if (view === 'actors' && type !== undefined && id !== undefined)
    return html`<${ActorPage} key=${`${type}/${id}`} type=${type} id=${id} place=${place} acts=${acts} namespace=${me.namespace} />`;
  if (view === 'actors') return html`<${ActorsPage} place=${place} acts=${acts} />`;
  if (view === 'types' && type !== undefined)
    return html`<${FleetPage} key=${type} type=${type} place=${place} acts=${acts} />`;
  if (view === 'dead-letters') return html`<${LettersPage} place=${place} acts=${acts} />`;
  if (view === 'cluster') return html`<${ClusterPage} />`;
  return html`<p class="empty">There is nothing here.</p>`;
}

/** `#token=…` in an address that was printed at a terminal; it leaves the address bar at once. */
function useTokenInAddress(done: () => void): void {
  useEffect(() => {
    const token = /^#token=(.+)$/.exec(location.hash)?.[1];
    if (token === undefined) return;
    history.replaceState(null, '', '#/');
    dispatchEvent(new HashChangeEvent('hashchange'));
    post('/session', { token: decodeURIComponent(token) }).then(done, () => {});
  }, []);
}

async function leave(): Promise<void> {
  await fetch('/session', { method: 'DELETE' });
  location.reload();
}

function Login({ onDone }: { onDone: () => void }) {
  const [error, setError] = useState<ApiError>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = new FormData(event.target as HTMLFormElement).get('token');
    await post('/session', { token: String(token) }).then(onDone, setError);
  };
  return html`<main class="login"><form onSubmit=${submit}>
    <h1><${Logo} />Perdure</h1>
    <label>Token <input name="token" type="password" autocomplete="current-password" required autofocus /></label>
    <button>Look in</button>
    <${Failure} error=${error} />
  </form></main>`;
}

const THEMES = ['system', 'light', 'dark'] as const;

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem('theme') ?? 'system');
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);
  const next = THEMES[
    (THEMES.indexOf(theme as (typeof THEMES)[number]) + 1) % THEMES.length
  ] as string;
  const sign = theme === 'light' ? '☀' : theme === 'dark' ? '☾' : '◐';
  return html`<button class="quiet" title=${`Theme: ${theme}`} aria-label=${`Theme: ${theme}; change to ${next}`} onClick=${() => setTheme(next)}>${sign}</button>`;
}

function Logo() {
  return html`<svg class="logo" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
    <circle cx="6" cy="12" r="3.4" /><circle cx="18" cy="12" r="3.4" class="full" />
    <path d="M8.5 9 C11 5, 14 5, 16 8.6 M15.5 15 C13 19, 10 19, 8 15.4" /></svg>`;
}

render(html`<${App} />`, document.getElementById('app') as HTMLElement);
