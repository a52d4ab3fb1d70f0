/** A state value as people write it: `open.waiting`; the regions of a parallel state side by side, `a.x b.y`. */
export function stateText(value: unknown): string {
  return leaves(value).join(' ') || '-';
}

function leaves(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = leaves(inner);
    return below.length === 0 ? [key] : below.map((leaf) => `${key}.${leaf}`);
  });
}
