import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { ActorSummary } from '../../store/read.ts';
import { type ApiError, get, queryOf, REST_FACTOR } from './api.ts';
import { html, numberText } from './ui.ts';

export type Filter = Record<string, string | undefined>;

/** One answer of a search: as far as it got in its time. */
export interface Reach {
  searched: number;
  next: string | null;
}

/** A search that goes on by itself, as far as it has come. */
export interface Walk<T> {
  value: T | undefined;
  searched: number;
  /** Where the page behind begins; null: there is none. */
  next: string | null;
  running: boolean;
  /** Somebody stopped it: there may be more. */
  stopped: boolean;
  error: ApiError | undefined;
  stop: () => void;
  again: () => void;
}

interface Run {
  run: AbortController;
  stopped: boolean;
  busy: boolean;
  /** Not before this, as `performance.now()`. */
  restUntil: number;
}

type Told<T> = Pick<Walk<T>, 'value' | 'searched' | 'next' | 'running' | 'stopped' | 'error'>;

/** Asks on until `add` has enough or nothing is left to look at; tells how far it is after each answer. */
export async function walk<T, A extends Reach>(
  ask: (after: string | undefined, sofar: T | undefined) => Promise<A>,
  add: (sofar: T | undefined, answer: A) => { value: T; enough: boolean },
  tell: (value: T, reach: Reach, running: boolean) => void,
  signal: AbortSignal,
): Promise<T | undefined> {
  let value: T | undefined;
  let searched = 0;
  for (let after: string | undefined; ; ) {
    const answer = await ask(after, value);
    const added = add(value, answer);
    value = added.value;
    searched += answer.searched;
    const running = !added.enough && answer.next !== null && !signal.aborted;
    tell(value, { searched, next: answer.next }, running);
    if (!running) return value;
    after = answer.next as string;
  }
}

/** Walks when `key` changes, every so often, and when asked; what was found before stays until the next is done. */
function useWalk<T, A extends Reach>(
  key: string | undefined,
  everyMs: number,
  ask: (after: string | undefined, sofar: T | undefined) => Promise<A>,
  add: (sofar: T | undefined, answer: A) => { value: T; enough: boolean },
): Walk<T> {
  const nothing: Told<T> = {
    ...{ value: undefined, searched: 0, next: null, error: undefined },
    ...{ running: key !== undefined, stopped: false },
  };
  const [state, setState] = useState<{ key: string | undefined; told: Told<T> }>({
    key: undefined,
    told: nothing,
  });
  const steps = useRef({ ask, add });
  steps.current = { ask, add };
  const now = useRef<Run>(undefined);
  const begin = useCallback(() => {
    if (key === undefined) return;
    now.current?.run.abort();
    const mine: Run = { run: new AbortController(), stopped: false, busy: true, restUntil: 0 };
    now.current = mine;
    const from = performance.now();
    const set = (told: (old: Told<T>) => Told<T>) =>
      now.current === mine &&
      setState((old) => ({ key, told: told(old.key === key ? old.told : nothing) }));
    walk<T, A>(
      (after, sofar) => steps.current.ask(after, sofar),
      (sofar, answer) => steps.current.add(sofar, answer),
      (value, reach, running) => {
        const told = { value, ...reach, running, stopped: mine.stopped, error: undefined };
        // Of a repeated search only the end is shown: rows would vanish and come back.
        set((old) => (running && old.value !== undefined && !old.running ? old : told));
      },
      mine.run.signal,
    )
      .catch((error: ApiError) => set((old) => ({ ...old, running: false, error })))
      .finally(() => {
        mine.busy = false;
        mine.restUntil = performance.now() + REST_FACTOR * (performance.now() - from);
      });
  }, [key]);
  const stop = useCallback(() => {
    if (now.current) now.current.stopped = true;
    now.current?.run.abort();
  }, []);
  useEffect(() => {
    begin();
    const timer = setInterval(() => {
      const { stopped, busy, restUntil } = now.current ?? {};
      if (!document.hidden && !busy && !stopped && performance.now() >= (restUntil ?? 0)) begin();
    }, everyMs);
    return () => {
      clearInterval(timer);
      now.current?.run.abort();
      now.current = undefined;
    };
  }, [begin, everyMs]);
  return { ...(state.key === key ? state.told : nothing), stop, again: begin };
}

/** A page of actors: asks on until it is full or all have been looked at. */
export function useActors(
  filter: Filter,
  from: string | undefined,
  limit: number,
  everyMs: number,
) {
  type Answer = Reach & { actors: ActorSummary[] };
  return useWalk<ActorSummary[], Answer>(
    `${queryOf({ ...filter, after: from })}#${limit}`,
    everyMs,
    (after = from, sofar = []) =>
      get(`/api/actors${queryOf({ ...filter, after, limit: limit - sofar.length })}`),
    (sofar = [], { actors }) => {
      const value = [...sofar, ...actors];
      return { value, enough: value.length >= limit };
    },
  );
}

export interface Counted {
  count: number;
  more: boolean;
}

/** How many there are; `on`: whether that is not known yet. */
export function useCount(filter: Filter, on: boolean, everyMs: number): Walk<Counted> {
  return useWalk<Counted, Reach & Counted>(
    on ? queryOf(filter) : undefined,
    everyMs,
    (after) => get(`/api/count${queryOf({ ...filter, after })}`),
    (sofar, { count, more }) => {
      const value = { count: (sofar?.count ?? 0) + count, more };
      return { value, enough: more };
    },
  );
}

/** The count as it is known: at least so many while it goes on, and when it was stopped. */
export function countText({ value, running, stopped }: Walk<Counted>): string {
  if (!value) return '';
  return `${numberText(value.count)}${value.more || running || stopped ? '+' : ''}`;
}

/** How far a search is, with a way to stop it; nothing once all there are have been looked at. */
export function Progress({ of }: { of: Walk<ActorSummary[]> }) {
  if (of.running && of.searched > 0)
    return html`<p class="note" role="status">${numberText(of.searched)} actors looked at, ${numberText(of.value?.length ?? 0)} found; looking on … <button type="button" class="quiet" onClick=${of.stop}>Stop</button></p>`;
  if (of.stopped && of.next !== null)
    return html`<p class="note" role="status">Stopped after ${numberText(of.searched)} actors; there may be more. <button type="button" class="quiet" onClick=${of.again}>Search again</button></p>`;
  return null;
}
