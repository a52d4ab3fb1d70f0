import { type Chart, type ChartMachine, type ChartState, machineAt } from '../../actors/chart.ts';
import type { Layout } from '../layout.ts';
import { type ApiError, queryOf, useFetch } from './api.ts';

/** A version's machine and its drawing; undefined while they are on their way. */
export function useMachine(
  type: string,
  version: string | undefined,
  path: readonly string[] = [],
): {
  machine: ChartMachine | undefined;
  layout: Layout | undefined;
  /** No node has recorded it. */
  missing: boolean;
  /** Why it cannot be drawn. */
  undrawn: ApiError | undefined;
} {
  const base =
    version === undefined
      ? undefined
      : `/api/types/${encodeURIComponent(type)}/versions/${encodeURIComponent(version)}`;
  const chart = useFetch<{ chart: Chart }>(base && `${base}/chart`);
  // At once with its machine: a drawing that is not there yet takes longest of all.
  const layout = useFetch<{ layout: Layout }>(
    base && `${base}/layout${queryOf({ path: path.join('/') })}`,
  );
  return {
    machine: chart.data && machineAt(chart.data.chart, path),
    layout: layout.data?.layout,
    missing: chart.error?.code === 'not_found',
    undrawn: chart.data && !layout.data ? layout.error : undefined,
  };
}

/** The dotted path of a state, as filters want it; undefined for the root. */
export function pathTo(root: ChartState, id: string): string | undefined {
  const below = (state: ChartState): string[] | undefined => {
    if (state.id === id) return [];
    for (const child of state.states) {
      const rest = below(child);
      if (rest) return [child.key, ...rest];
    }
    return undefined;
  };
  return below(root)?.join('.') || undefined;
}
