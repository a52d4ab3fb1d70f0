import { useEffect, useRef, useState } from 'preact/hooks';
import type { FeedEntry } from '../../client.ts';
import type { Latency } from '../live.ts';
import { queryOf } from './api.ts';

export interface Rate {
  transitions: number;
  started: number;
  done: number;
  failed: number;
}

export interface Second {
  types: Record<string, Rate>;
  latency: Latency | null;
  /** The last transitions of that second; only while it is new. */
  recent?: FeedEntry[];
  /** No node has been heard for some seconds; only while it is new. */
  silent?: boolean;
}

export interface LiveHandlers {
  transitions?: (entries: FeedEntry[], skipped: number) => void;
  /** What was missed cannot be told: look again. */
  reset?: () => void;
  /** Rates of the seconds before, as far as somebody listened. */
  past?: (seconds: Second[]) => void;
  rates?: (second: Second) => void;
}

/** Hears what is committed for as long as it is shown; the browser comes back by itself and is told what it missed. */
export function useLive(
  filter: { type?: string; id?: string; only?: 'rates' },
  handlers: LiveHandlers,
): boolean {
  const [on, setOn] = useState(false);
  const newest = useRef(handlers);
  newest.current = handlers;
  const { type, id, only } = filter;
  useEffect(() => {
    const source = new EventSource(`/api/live${queryOf({ type, id, only })}`);
    const read = (event: Event) => JSON.parse((event as MessageEvent<string>).data);
    source.addEventListener('hello', (event) => {
      newest.current.past?.(read(event).seconds);
      setOn(true);
      // What happened between what is shown and this moment is not told.
      newest.current.reset?.();
    });
    source.addEventListener('open', () => setOn(true));
    source.addEventListener('error', () => setOn(false));
    source.addEventListener('reset', () => newest.current.reset?.());
    source.addEventListener('transitions', (event) => {
      const { entries, skipped } = read(event);
      newest.current.transitions?.(entries, skipped);
    });
    source.addEventListener('rates', (event) => {
      const second = read(event) as Second;
      setOn(!second.silent);
      newest.current.rates?.(second);
    });
    return () => source.close();
  }, [type, id, only]);
  return on;
}
