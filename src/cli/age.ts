const UNITS: readonly [name: string, ms: number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
];

/** A duration in its two largest units: `2d4h`, `3m10s`, `850ms`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  const at = UNITS.findIndex(([, unit]) => ms >= unit);
  const [name, unit] = UNITS[at] as [string, number];
  const next = UNITS[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % unit) / next[1]);
  return `${Math.floor(ms / unit)}${name}${rest > 0 && next ? `${rest}${next[0]}` : ''}`;
}

/** How long ago it was, on this machine's clock; a little in the future counts as now. */
export function age(iso: string, now = Date.now()): string {
  return duration(Math.max(0, now - Date.parse(iso)));
}
