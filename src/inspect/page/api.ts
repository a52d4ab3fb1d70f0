import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

/** What the API refuses with. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly allowed: readonly (string | number)[];

  constructor(
    status: number,
    code: string,
    message: string,
    allowed: readonly (string | number)[] = [],
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.allowed = allowed;
  }
}

let refused: () => void = () => {};
/** Grows with every token that was taken: what was refused before one was says nothing. */
let sessions = 0;

/** A token was taken. */
export function signedIn(): void {
  sessions++;
}

/** Told when a token is asked for. */
export function onRefused(hear: () => void): void {
  refused = hear;
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  const session = sessions;
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError(0, 'no_answer', 'The inspector does not answer; it is tried again.');
  }
  const body = (await response.json().catch(() => ({}))) as T & {
    error?: { code: string; message: string; allowed?: (string | number)[] };
  };
  if (response.ok) return body;
  const { code = 'unexpected', message = response.statusText, allowed } = body.error ?? {};
  if (response.status === 401 && path !== '/session' && session === sessions) refused();
  throw new ApiError(response.status, code, message, allowed);
}

export const get = <T>(path: string): Promise<T> => ask<T>(path, {});

export const post = <T>(path: string, body: object = {}): Promise<T> =>
  ask<T>(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** The parameters that are there, as they stand in a URL. */
export function queryOf(params: Record<string, string | number | undefined>): string {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== '');
  return given.length === 0
    ? ''
    : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/** What is dear to answer is asked for less often. */
export const REST_FACTOR = 40;

export interface Fetched<T> {
  data: T | undefined;
  error: ApiError | undefined;
  again: () => void;
}

/** What a path answers: again when it changes, every so often, and when asked. */
export function useFetch<T>(path: string | undefined, everyMs?: number): Fetched<T> {
  const [state, setState] = useState<{ path?: string; data?: T; error?: ApiError }>({});
  const newest = useRef(0);
  /** Answers of this turn and of those before it are not taken any more. */
  const taken = useRef(0);
  const restUntil = useRef(0);
  const again = useCallback(() => {
    if (path === undefined) return;
    const turn = ++newest.current;
    const from = performance.now();
    const took = () => {
      restUntil.current = performance.now() + REST_FACTOR * (performance.now() - from);
    };
    // Whoever asks again while the first answer is on its way need not wait for the second.
    const isNews = () => {
      if (turn <= taken.current) return false;
      taken.current = turn;
      return true;
    };
    get<T>(path)
      .finally(took)
      .then(
        (data) => isNews() && setState({ path, data }),
        (error: ApiError) =>
          isNews() &&
          setState((old) => ({ path, error, ...(old.path === path && { data: old.data as T }) })),
      );
  }, [path]);
  useEffect(() => {
    again();
    const leave = () => {
      taken.current = newest.current;
    };
    if (everyMs === undefined) return leave;
    const timer = setInterval(
      () => document.hidden || performance.now() < restUntil.current || again(),
      everyMs,
    );
    return () => {
      leave();
      clearInterval(timer);
    };
  }, [again, everyMs]);
  const isOurs = state.path === path;
  return { data: isOurs ? state.data : undefined, error: isOurs ? state.error : undefined, again };
}

/** What a path answers, at first without what every actor has to be counted for: of a million that takes a second. */
export function useCounted<T>(path: string, everyMs?: number): Fetched<T> {
  const counted = useFetch<T>(path, everyMs);
  const first = useFetch<T>(counted.data ? undefined : `${path}?counts=false`, everyMs);
  return { ...counted, data: counted.data ?? first.data };
}
