import { html, numberText } from './ui.ts';

/** A value for each moment, the newest last; null: there was none. */
type Line = readonly (number | null)[];

interface Props {
  /** Drawn over each other; the first is the one that counts. */
  lines: readonly Line[];
  /** What each is called, when there are several. */
  names?: readonly string[];
  /** Values there is room for. */
  shown: number;
  kind: string;
  word: string;
  unit: string;
}

const WIDTH = 600;
const HEIGHT = 110;

/** Values over time, the last of them in figures. */
export function Series({ lines, names, shown, kind, word, unit }: Props) {
  const highest = Math.max(0, ...lines.flatMap((line) => line.map((value) => value ?? 0)));
  const top = Math.max(4, highest);
  const newest = lines.map(lastOf);
  const text = (value: number | null | undefined) => (value == null ? '–' : numberText(value));
  const length = lines[0]?.length ?? 0;
  return html`<div class="series ${kind}">
    <strong>${text(newest[0])}<small>${unit}</small></strong>
    ${names && html`<span class="names">${names.map((name, at) => html`<small class=${`line${at}`}><i></i>${name}${at > 0 && ` ${text(newest[at])}`}</small>`)}</span>`}
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${`${text(newest[0])} ${word}, at most ${highest} of the last ${length}`}>
      <line x1="0" x2=${WIDTH} y1=${HEIGHT - 4} y2=${HEIGHT - 4} />
      ${lines.map((line, at) => pathsOf(line, shown, top).map(({ way, area }) => html`${at === 0 && html`<path class="area" d=${area} />`}<path class=${`line line${at}`} d=${way} />`))}
    </svg>
    <small class="top-value">${numberText(top)}</small>
  </div>`;
}

const lastOf = (line: Line): number | null => line.findLast((value) => value !== null) ?? null;

/** A way for each stretch without a gap; one value alone is a short dash. */
function pathsOf(line: Line, shown: number, top: number): { way: string; area: string }[] {
  const pace = WIDTH / (shown - 1);
  const x = (at: number) => WIDTH - (line.length - 1 - at) * pace;
  const y = (value: number) => HEIGHT - 4 - (value / top) * (HEIGHT - 16);
  const found: { way: string; area: string }[] = [];
  let from: number | undefined;
  for (let at = 0; at <= line.length; at++) {
    if (at < line.length && line[at] !== null) from ??= at;
    else if (from !== undefined) {
      const points = line.slice(from, at) as number[];
      const ends = points.map(
        (value, n) => `${x((from ?? 0) + n).toFixed(1)} ${y(value).toFixed(1)}`,
      );
      const right = Math.max(x(at - 1), x(from) + pace / 2);
      const way = `M${ends.join(' L')}${points.length === 1 ? ` L${right.toFixed(1)} ${y(points[0] as number).toFixed(1)}` : ''}`;
      found.push({ way, area: `${way} L${right} ${HEIGHT - 4} L${x(from)} ${HEIGHT - 4} Z` });
      from = undefined;
    }
  }
  return found;
}
