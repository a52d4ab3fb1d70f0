import { leavesOf } from '../actors/chart.ts';

/** A state value as people write it: `open.waiting`; the regions of a parallel state side by side, `a.x b.y`. */
export function stateText(value: unknown): string {
  return leavesOf(value).join(' ') || '-';
}
