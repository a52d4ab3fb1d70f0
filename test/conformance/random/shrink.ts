import type { CaseData, StateData } from './data.ts';

/**
 * Takes away from a case what it fails without, as long as it fails: steps, states, edges, actions, one after the other, large
 * things first. `fails` is asked at most `tries` times.
 */
export async function shrink(
  data: CaseData,
  fails: (smaller: CaseData) => Promise<boolean>,
  tries: number,
): Promise<CaseData> {
  let smallest = data;
  let left = tries;
  for (let goesOn = true; goesOn && left > 0; ) {
    goesOn = false;
    for (const path of paths(smallest)) {
      if (left-- <= 0) break;
      const smaller = without(smallest, path);
      if (!smaller || !isWhole(smaller.machine) || !(await fails(smaller))) continue;
      smallest = smaller;
      goesOn = true;
    }
  }
  return smallest;
}

/** Without them it is no machine, or one that never comes to rest. */
const NEEDED = ['id', 'src', 'machine', 'steps', 'initial', 'type', 'is', 'guard'];

type Path = (string | number)[];

/** Everything that can be taken away, what is nearest to the root first. */
function paths(data: unknown): Path[] {
  const found: Path[] = [];
  const visit = (value: unknown, path: Path) => {
    if (typeof value !== 'object' || value === null || 'do' in value) return;
    for (const key of Object.keys(value)) {
      const at = [...path, Array.isArray(value) ? Number(key) : key];
      const inner = (value as Record<string, unknown>)[key];
      if (!NEEDED.includes(key) && inner !== 'count') found.push(at);
      if (key !== 'guard') visit(inner, at);
    }
  };
  visit(data, []);
  // From the end, so that the places of what is left in a list stay.
  return found.reverse().sort((a, b) => a.length - b.length);
}

function without(data: CaseData, path: Path): CaseData | undefined {
  const copy = structuredClone(data);
  let parent = copy as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) {
    parent = parent[key] as typeof parent;
    if (typeof parent !== 'object' || parent === null) return undefined;
  }
  const last = path.at(-1) as string | number;
  if (!(last in parent)) return undefined;
  if (Array.isArray(parent)) parent.splice(last as number, 1);
  else delete parent[last];
  return copy;
}

/** Every compound state has its initial one, and every target is there. */
function isWhole(machine: StateData): boolean {
  const ids = new Set<unknown>();
  const visit = (state: StateData): boolean => {
    ids.add(`#${state.id}`);
    const states = (state.states ?? {}) as Record<string, StateData>;
    const begins = state.initial === undefined || (state.initial as string) in states;
    const divides = state.type !== 'parallel' || Object.keys(states).length > 0;
    return begins && divides && Object.values(states).every(visit);
  };
  if (!visit(machine)) return false;
  const targets = JSON.stringify(machine).matchAll(/"(?:target|at)":"(#\w+)"/g);
  return [...targets].every(([, target]) => ids.has(target));
}
