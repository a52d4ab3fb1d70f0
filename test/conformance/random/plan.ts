/** Whole numbers from 0, below `below`. */
export type Chance = (below: number) => number;

/** A state to be, with its children. */
export interface Plan {
  id: string;
  kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'shallow' | 'deep';
  children: Plan[];
}

const DEPTH_MAX = 4;
const STATES_MAX = 14;

/** A tree of states from chance alone. The first child of a compound state is where it begins. */
export function planTree(chance: Chance): Plan {
  let left = STATES_MAX;
  let serial = 0;
  const plan = (depth: number, mayEnd: boolean): Plan => {
    left--;
    const id = `s${serial++}`;
    const room = depth < DEPTH_MAX && left > 2;
    const pick = chance(10);
    if (depth > 0 && mayEnd && pick === 9) return { id, kind: 'final', children: [] };
    if (depth > 0 && (!room || pick < 5)) return { id, kind: 'atomic', children: [] };
    const kind = pick === 8 ? 'parallel' : 'compound';
    const children = Array.from({ length: 2 + chance(2) }, (_, n) =>
      plan(depth + 1, kind === 'compound' && n > 0),
    );
    // Of the root it would have XState enter the root again, whose child would be there twice.
    if (depth > 0 && chance(3) === 0)
      children.push({
        id: `s${serial++}`,
        kind: chance(2) === 0 ? 'shallow' : 'deep',
        children: [],
      });
    return { id, kind, children };
  };
  return plan(0, false);
}

export const flat = (plan: Plan): Plan[] => [plan, ...plan.children.flatMap(flat)];
