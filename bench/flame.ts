import type { Frame, Origin } from './cpuProfile.ts';

/** Dark writing is on them, whatever the page's colour. */
const COLORS: Record<Exclude<Origin, 'idle'>, string> = {
  ours: '#7cc79b',
  xstate: '#f2b36b',
  'nats client': '#86b8ea',
  pg: '#b9a3e3',
  node: '#c3c9d1',
  gc: '#ee8f8f',
  native: '#9aa3af',
  other: '#e2d07f',
};
/** On a page of either colour. */
const TEXT = '#707887';
const [WIDTH, ROW, TOP, IDLE, CHARACTER] = [1200, 17, 52, 96, 6.1];
const MIN_SHARE = 0.003;
const MAX_BYTES = 150_000;
const MAX_LEFT_OUT = 0.05;

/**
 * A flame graph that needs no script: callers above what they called, as wide as their share of the time in which the
 * process was not idle. Idling is a block beside them that is not to scale, since a node that mostly waits would show nothing else.
 * The libraries for it draw in a browser, or read a format V8 no longer writes.
 */
export function flameGraph(root: Frame, title: string): string {
  let share = MIN_SHARE;
  let text = drawn(root, title, share);
  // What is left out first is the least to be seen. A stack of thousands would leave nothing in the end.
  while (text.length > MAX_BYTES && share < MAX_LEFT_OUT) {
    share *= 1.3;
    text = drawn(root, title, share);
  }
  return text;
}

function drawn(root: Frame, title: string, minShare: number): string {
  const children = [...root.children.values()];
  const idle = children.find((frame) => frame.origin === 'idle')?.total ?? 0;
  const busy = Math.max(root.total - idle, 1);
  const scale = (idle > 0 ? WIDTH - IDLE - 4 : WIDTH) / busy;
  const parts: string[] = [];
  let deepest = 0;
  const draw = (frame: Frame, x: number, depth: number) => {
    if (frame.total / busy < minShare) return;
    deepest = Math.max(deepest, depth);
    parts.push(box(frame, { x, depth, width: frame.total * scale, busy }));
    let at = x;
    for (const child of ordered(frame.children.values())) {
      draw(child, at, depth + 1);
      at += child.total * scale;
    }
  };
  let at = 0;
  for (const frame of ordered(children.filter((one) => one.origin !== 'idle'))) {
    draw(frame, at, 0);
    at += frame.total * scale;
  }
  const height = TOP + (deepest + 1) * ROW + 4;
  if (idle > 0) parts.push(idleBox(idle / root.total));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="10" role="img" aria-label="${escaped(title)}">
<style>rect{stroke:#fff;stroke-opacity:.55;stroke-width:.6}g:hover>rect{stroke:#000;stroke-opacity:1}g>text{fill:#15181c;pointer-events:none}</style>
<text y="14" fill="${TEXT}" font-size="13" font-weight="bold">${escaped(title)}</text>
${legend(minShare)}
${parts.join('\n')}
</svg>
`;
}

/** By name, so that the same code stands at the same place in the next graph. */
const ordered = (frames: Iterable<Frame>) =>
  [...frames].sort((a, b) => (`${a.name} ${a.file}` < `${b.name} ${b.file}` ? -1 : 1));

interface Spot {
  x: number;
  depth: number;
  width: number;
  busy: number;
}

function box(frame: Frame, { x, depth, width, busy }: Spot): string {
  const { name, file, origin, total, self } = frame;
  const words = file === '' ? name : `${name} ${file}`;
  const y = TOP + depth * ROW;
  const room = Math.floor((width - 5) / CHARACTER);
  const label =
    room < 3
      ? ''
      : `<text x="${short(x + 3)}" y="${y + 12}">${escaped(cut(name, file, room))}</text>`;
  const shares = `${percent(total / busy)}, itself ${percent(self / busy)}`;
  return `<g><title>${escaped(words)} [${origin}]: ${shares}</title><rect x="${short(x)}" y="${y}" width="${short(width)}" height="${ROW - 1}" fill="${COLORS[origin as keyof typeof COLORS]}"/>${label}</g>`;
}

function idleBox(share: number): string {
  const x = WIDTH - IDLE;
  return `<g><title>(idle): ${percent(share)} of the time; not to scale</title><rect x="${x}" y="${TOP}" width="${IDLE}" height="${ROW * 2 - 1}" fill="#e6e9ee" style="stroke:#707887;stroke-opacity:1;stroke-dasharray:3 2"/><text x="${x + 5}" y="${TOP + 12}">(idle) ${percent(share)}</text><text x="${x + 5}" y="${TOP + 12 + ROW}">not to scale</text></g>`;
}

function legend(minShare: number): string {
  let x = 0;
  const parts = Object.entries(COLORS).map(([origin, color]) => {
    const part = `<rect x="${x}" y="25" width="12" height="12" fill="${color}"/><text x="${x + 17}" y="35" fill="${TEXT}" font-size="11">${origin}</text>`;
    x += 34 + origin.length * 7;
    return part;
  });
  const words = `width: share of the time not idle; below ${percent(minShare)} left out`;
  return `${parts.join('')}<text x="${WIDTH}" y="35" fill="${TEXT}" font-size="11" text-anchor="end">${words}</text>`;
}

/** The name, and as much of where it is as there is room for. */
function cut(name: string, file: string, room: number): string {
  const base = file.slice(file.lastIndexOf('/') + 1);
  if (file !== '' && name.length + base.length + 1 <= room) return `${name} ${base}`;
  return name.length <= room ? name : `${name.slice(0, room - 1)}…`;
}

const short = (value: number) => String(Number(value.toFixed(1)));
const percent = (share: number) => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
const escaped = (words: string) =>
  words
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
