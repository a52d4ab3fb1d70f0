import htm from 'htm';
import { type ComponentChildren, h, type VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { leavesOf, UNITS } from '../../actors/chart.ts';

/** Markup in template strings; several roots, or none, are children like any. */

export const html = (htm as unknown as { bind(build: typeof h): Markup }).bind(h);

type Markup = (strings: TemplateStringsArray, ...values: unknown[]) => VNode;

export type Children = ComponentChildren;

/** A state value as people write it: `open.waiting`; regions of a parallel state side by side. */
export function stateText(value: unknown): string {
  return leavesOf(value).join(' · ') || '–';
}

/** A duration in its largest unit, and the next one when it says more. */
export function durationText(ms: number): string {
  if (ms < 1_000) return 'a moment';
  const at = UNITS.findIndex(([, one]) => ms >= one);
  const [unit, size] = UNITS[at] as [string, number];
  const next = UNITS[at + 1];
  const rest = next && ms < 10 * size ? Math.floor((ms % size) / next[1]) : 0;
  // A number and its unit stay on one line.
  return `${Math.floor(ms / size)}\u00a0${unit}${rest > 0 && next ? ` ${rest}\u00a0${next[0]}` : ''}`;
}

export const numberText = (value: number): string => value.toLocaleString('en-US');

/** The time, over and over. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** How long ago it was, or in how long it will be; the time itself on hover. */
export function Ago({ at }: { at: string | number }) {
  const now = useNow();
  const time = typeof at === 'number' ? at : Date.parse(at);
  const left = time - now;
  const text = left > 1_000 ? `in ${durationText(left)}` : durationText(Math.max(0, -left));
  return html`<time dateTime=${new Date(time).toISOString()} title=${new Date(time).toISOString()}>${text}</time>`;
}

const STATUS_WORDS: Record<string, string> = {
  active: 'active',
  done: 'done',
  error: 'failed',
  stopped: 'stopped',
};

export function Status({ of }: { of: string }) {
  return html`<span class="badge ${of}">${STATUS_WORDS[of] ?? of}</span>`;
}

/** JSON with its structure; long texts are folded. */
export function Json({ value }: { value: unknown }) {
  return html`<pre class="json" tabindex="0">${coloured(value, 0)}</pre>`;
}

function coloured(value: unknown, depth: number): Children {
  if (value === undefined) return html`<span class="j-null">undefined</span>`;
  if (value === null) return html`<span class="j-null">null</span>`;
  if (typeof value === 'string') return html`<span class="j-text">${JSON.stringify(value)}</span>`;
  if (typeof value !== 'object') return html`<span class="j-number">${String(value)}</span>`;
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  if (entries.length === 0) return `${open}${close}`;
  const pad = '  '.repeat(depth + 1);
  return html`${open}${entries.map(
    ([key, inner], at) =>
      html`${'\n'}${pad}${isList ? '' : html`<span class="j-key">${key}</span>: `}${coloured(inner, depth + 1)}${at < entries.length - 1 ? ',' : ''}`,
  )}${'\n'}${'  '.repeat(depth)}${close}`;
}

export function Panel(props: {
  title?: string;
  class?: string;
  actions?: Children;
  children?: Children;
}) {
  return html`<section class="panel ${props.class ?? ''}">
    ${props.title && html`<header><h2>${props.title}</h2>${props.actions}</header>`}
    ${props.children}
  </section>`;
}

export function Empty({ children }: { children?: Children }) {
  return html`<p class="empty">${children}</p>`;
}

export function Failure({ error }: { error: { code: string; message: string } | undefined }) {
  return error
    ? html`<p class="failure" role="alert"><b>${error.code}</b> ${error.message}</p>`
    : null;
}
