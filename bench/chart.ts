import { type Results, short, spread } from './results.ts';
import { WORKLOADS } from './workloads.ts';

const SHOWN = ['noop', 'sustained', 'flow', 'events', 'latency', 'recovery'];
const [BAR, GAP, LEFT, WIDTH, VALUE] = [16, 5, 190, 760, 120];
/** On a page of either colour. */
const [OURS, THEIRS, TEXT] = ['#2f7d5d', '#8a94a6', '#707887'];

/** Bars of the medians, one panel for each workload; ours in green. */
export function svg(results: Results): string {
  let y = 8;
  const parts: string[] = [];
  for (const workload of WORKLOADS.filter(({ name }) => SHOWN.includes(name))) {
    const bars = results.cells
      .filter((cell) => cell.workload === workload.name)
      .flatMap((cell) => {
        const value = spread(cell, workload.main)?.median;
        return value === undefined ? [] : [{ peer: cell.peer, value }];
      })
      .sort((a, b) => (workload.better === 'more' ? b.value - a.value : a.value - b.value));
    if (bars.length === 0) continue;
    const finite = bars.map((bar) => bar.value).filter(Number.isFinite);
    const most = Math.max(...finite, 1e-9);
    y += 14;
    const good = workload.better === 'more' ? 'more is better' : 'less is better';
    parts.push(text(0, y, `${workload.title} (${workload.unit}, ${good})`, 'font-weight="bold"'));
    y += 8;
    for (const { peer, value } of bars) {
      const share = Number.isFinite(value) ? value / most : 1;
      const width = Math.max(1, Math.round(share * (WIDTH - LEFT - VALUE)));
      const color = peer.startsWith('perdure') ? OURS : THEIRS;
      parts.push(
        text(LEFT - 8, y + 12, peer, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y}" width="${width}" height="${BAR}" rx="2" fill="${color}"/>`,
        text(LEFT + width + 6, y + 12, short(value), ''),
      );
      y += BAR + GAP;
    }
    y += 12;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Perdure beside its peers">
${parts.join('\n')}
</svg>
`;
}

const text = (x: number, y: number, words: string, more: string) =>
  `<text x="${x}" y="${y}" fill="${TEXT}" ${more}>${words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')}</text>`;
