import type { Change } from '../inspect/diff.ts';
import { visible } from './table.ts';

/** One difference as a line: `  ~ context.total: 30 → 25`. */
export function changeText({ path, kind, before, after }: Change): string {
  const name = path || 'all';
  if (kind === 'added') return visible(`  + ${name}: ${JSON.stringify(after)}`);
  if (kind === 'removed') return visible(`  - ${name}: ${JSON.stringify(before)}`);
  return visible(`  ~ ${name}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`);
}
