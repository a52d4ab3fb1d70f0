import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';
import type { FunctionCost } from './cpuProfile.ts';

const SECONDS = 1;
const ANSWER_MS = 10_000;

/**
 * Profiles nats-server until it is ended, a second at a time: nobody knows how long a load will take, and a profile that
 * is asked for and not waited for is lost.
 */
export class NatsSampling {
  readonly #url: string;
  readonly #taken: Promise<Profile[]>;
  #ended = false;

  constructor(profUrl: string) {
    this.#url = `${profUrl}/debug/pprof/profile?seconds=${SECONDS}`;
    this.#taken = this.#sample();
    this.#taken.catch(() => {});
  }

  async #sample(): Promise<Profile[]> {
    const taken: Profile[] = [];
    while (!this.#ended) {
      const answer = await fetch(this.#url, { signal: AbortSignal.timeout(ANSWER_MS) });
      if (!answer.ok) throw new Error(`nats-server has no profile: ${await answer.text()}`);
      taken.push(Profile.decode(gunzipSync(await answer.arrayBuffer())));
    }
    return taken;
  }

  /** The last second goes on after the load; an idle server adds nothing to it. */
  end(): Promise<Profile[]> {
    this.#ended = true;
    return this.#taken;
  }
}

/** CPU time of every function of all the profiles in µs, most of its own first. */
export function goCosts(profiles: readonly Profile[]): FunctionCost[] {
  const costs = new Map<string, FunctionCost>();
  for (const profile of profiles) addProfile(costs, profile);
  return [...costs.values()].sort((a, b) => b.self - a.self);
}

function addProfile(costs: Map<string, FunctionCost>, profile: Profile): void {
  const text = (index: number | bigint) => profile.stringTable.strings[Number(index)] ?? '';
  const functions = new Map(profile.function.map((one) => [Number(one.id), one]));
  // A location has several lines where functions were inlined, the innermost first.
  const places = new Map(
    profile.location.map(({ id, line }) => [
      Number(id),
      line.flatMap(({ functionId }) => {
        const known = functions.get(Number(functionId));
        return known
          ? [{ name: shortName(text(known.name)), file: shortFile(text(known.filename)) }]
          : [];
      }),
    ]),
  );
  const cpu = profile.sampleType.findIndex(({ type }) => text(type) === 'cpu');
  for (const { locationId, value } of profile.sample) {
    const time = Number(value[cpu] ?? 0) / 1_000;
    const stack = locationId.flatMap((id) => places.get(Number(id)) ?? []);
    const seen = new Set<string>();
    for (const [depth, { name, file }] of stack.entries()) {
      const cost = costs.get(name) ?? { name, file, self: 0, total: 0 };
      costs.set(name, cost);
      if (depth === 0) cost.self += time;
      if (!seen.has(name)) cost.total += time;
      seen.add(name);
    }
  }
}

/** `server.(*client).readLoop` of `github.com/nats-io/nats-server/v2/server.(*client).readLoop`. */
const shortName = (name: string) => name.replace(/^(?:[\w.-]+\/)+/, '');
const shortFile = (file: string) => file.split('/').slice(-2).join('/');
