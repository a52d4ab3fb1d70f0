/** What is asked of the API, by a name for people. `ACTOR` stands for the id of one. */
const QUESTIONS: Readonly<Record<string, string>> = {
  'first page of all': '/api/actors',
  'first page of a type': '/api/actors?type=order',
  'page in the middle': '/api/actors?type=order&after=order%2Fa-000500000',
  'failed ones': '/api/actors?status=error',
  'failed ones of a type': '/api/actors?type=order&status=error',
  'active ones': '/api/actors?status=active',
  'not moved for a day': '/api/actors?status=active&idle=86400',
  quarantined: '/api/actors?quarantined=true',
  'in a common state': '/api/actors?type=order&state=review.waiting',
  'in a rare state': '/api/actors?type=order&state=review.onHold',
  'in a state nobody is in': '/api/actors?type=order&state=abandoned',
  'with a rare tag': '/api/actors?type=order&tag=blocked',
  'text in the id, nobody': '/api/actors?text=nobody',
  'of a version nobody has': '/api/actors?version=2',
  'by a field': '/api/actors?type=order&field.customerId=c-4711',
  'by a field, any type': '/api/actors?field.customerId=c-4711',
  'by two fields': '/api/actors?type=order&field.region=eu&field.customerId=c-4711',
  'by a field many have': '/api/actors?type=order&field.region=eu',
  'by that and a rare state': '/api/actors?type=order&field.region=eu&state=abandoned',
  'by a value nobody has': '/api/actors?type=order&field.customerId=nobody',
  'count of a type': '/api/count?type=order',
  'count of active ones': '/api/count?status=active',
  'count of failed ones': '/api/count?status=error',
  'count in a rare state': '/api/count?type=order&state=review.onHold',
  'count by a field': '/api/count?type=order&field.region=eu',
  'one actor': '/api/actors/order/ACTOR',
  'its history': '/api/actors/order/ACTOR/history',
  'snapshot at a seq': '/api/actors/order/ACTOR/history/3',
  'what a step changed': '/api/actors/order/ACTOR/diff?from=2&to=3',
  'types (fleet)': '/api/types',
  'population of a type (fleet)': '/api/types/order/population',
  overview: '/api/overview',
  nodes: '/api/nodes',
  shards: '/api/shards',
  'parked versions': '/api/parked',
  'dead letters': '/api/dead-letters',
};

/** Searches that are asked on with `next` until all actors have been looked at. */
export const TO_THE_END = [
  'in a rare state',
  'with a rare tag',
  'text in the id, nobody',
  'by that and a rare state',
] as const;

/** Of each question how long it took, ms. */
export async function latencies(
  url: string,
  rounds: number,
  actorOf: (round: number) => string,
): Promise<Map<string, number[]>> {
  const took = new Map<string, number[]>();
  // Round by round: what one question leaves in the cache is not what the next one of its kind finds.
  for (let round = 0; round < rounds; round++)
    for (const [name, path] of Object.entries(QUESTIONS)) {
      const from = performance.now();
      await answer(url + path.replace('ACTOR', actorOf(round)));
      took.set(name, [...(took.get(name) ?? []), performance.now() - from]);
    }
  return took;
}

/** How long a search takes to the end, how many answers it took, and the longest of them, ms. */
export async function toTheEnd(url: string, name: string) {
  const from = performance.now();
  let longest = 0;
  let found = 0;
  let answers = 0;
  for (let next: string | null = ''; next !== null; answers++) {
    const asked = performance.now();
    const after: string = next === '' ? '' : `&after=${encodeURIComponent(next)}`;
    const body = await answer(`${url}${QUESTIONS[name]}${after}`);
    const { actors, next: behind } = body as { actors: unknown[]; next: string | null };
    longest = Math.max(longest, performance.now() - asked);
    found += actors.length;
    next = behind;
  }
  return { ms: performance.now() - from, answers, longest, found };
}

async function answer(url: string): Promise<unknown> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
