import type { StateValue } from 'xstate';
import type { ActorType } from '../actors/define.ts';
import { typeAt } from '../actors/kinRows.ts';
import { migrateStep } from '../actors/migrate.ts';
import type { Registry } from '../actors/registry.ts';
import { createStepScope } from '../actors/scope.ts';
import { activeNodes, childrenOf, type StateNodeOf } from '../actors/states.ts';
import type { Limits } from '../config.ts';
import { asError } from '../errors.ts';
import type { ActorGroup, ActorLook, GroupNeeds } from '../store/check.ts';

/** What becomes of active actors when nodes run these types and no others. */
export interface SnapshotVerdict extends ActorGroup {
  /** `orphaned`: no node could open them. `stuck`: they would wait for what nobody has started. */
  verdict: 'fine' | 'migrated' | 'orphaned' | 'stuck';
  /** The version they would have then; null: none. */
  as: string | null;
  /** Why they would be orphaned or stuck; else ''. */
  reason: string;
}

/** Compares the types with every active actor. Runs `migrate` for those that need it, and writes nothing. */
export async function checkSnapshots(
  registry: Registry,
  look: ActorLook,
  limits: Limits,
): Promise<SnapshotVerdict[]> {
  const groups = await look.groups();
  const verdicts: SnapshotVerdict[] = [];
  const needs: GroupNeeds[] = [];
  const migrating = new Map<string, ActorGroup>();
  for (const [n, group] of groups.entries()) {
    const { type, version } = group;
    const known = registry.version(type, version);
    const next = registry.migrating(type, version);
    if (known) {
      const found = needsOf(known, group, n);
      if (typeof found === 'string') verdicts.push(orphaned(group, found));
      else needs.push(found);
    } else if (next && group.path !== null) verdicts.push(movedMachine(next, group));
    else if (next) migrating.set(`${type}@${version}`, group);
    else
      verdicts.push(
        orphaned(
          group,
          registry.newest(type)
            ? `nothing here knows version ${version} of ${type} or migrates from it`
            : `there is no type ${type} here`,
        ),
      );
  }
  const lacks = await look.lacking(needs);
  for (const { n } of needs) {
    const group = groups[n] as ActorGroup;
    let { actors } = group;
    for (const lack of lacks)
      if (lack.n === n) {
        actors -= lack.actors;
        if (lack.lacks[0] === 'codec') {
          verdicts.push(orphaned({ ...group, actors: lack.actors }, NO_CODEC));
          continue;
        }
        const reason = `${lack.lacks.map(told).join(', ')}: the machine was changed without a new version`;
        const stuck = { ...group, actors: lack.actors, verdict: 'stuck' as const, reason };
        verdicts.push({ ...stuck, as: group.version });
      }
    if (actors > 0)
      verdicts.push({ ...group, actors, verdict: 'fine', as: group.version, reason: '' });
  }
  for (const { type, version } of migrating.values())
    verdicts.push(...(await tryMigrations(registry, look, limits, type, version)));
  const order = ({ type, version, path, state, verdict }: SnapshotVerdict) =>
    [type, version, path, state, verdict].join('\0');
  return verdicts.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

const NO_CODEC = 'recorded through a codec that is not here, or has another key (--codec)';

const orphaned = (group: ActorGroup, reason: string): SnapshotVerdict => ({
  ...group,
  verdict: 'orphaned',
  as: null,
  reason,
});

const typeOf = (root: ActorType, { path }: ActorGroup): ActorType | undefined =>
  typeAt(root, path === null ? [] : JSON.parse(path));

/** A machine that another one has goes where its root goes, and has to have its state there. */
function movedMachine(root: ActorType, group: ActorGroup): SnapshotVerdict {
  const type = typeOf(root, group);
  if (!type) {
    const reason = `the machine ${group.path} is not in version ${root.version}: these end`;
    return { ...group, verdict: 'migrated', as: root.version, reason };
  }
  try {
    activeNodes(type.machine.root as StateNodeOf, JSON.parse(group.state) as StateValue);
    return { ...group, verdict: 'migrated', as: root.version, reason: '' };
  } catch (error) {
    return orphaned(group, `machine ${group.path}: ${asError(error).message}`);
  }
}

/** What the machine waits for in the state of the group; a text when it has no such state. */
function needsOf(known: ActorType, group: ActorGroup, n: number): GroupNeeds | string {
  const { type, version, path, state } = group;
  const machine = typeOf(known, group)?.machine;
  if (!machine) return `there is no machine ${path} in it: it was changed without a new version`;
  const root = machine.root as StateNodeOf;
  try {
    const value = JSON.parse(state) as StateValue;
    activeNodes(root, value);
    const nodes = activeNodes(root, machine.resolveState({ value, context: {} }).value);
    return {
      n,
      type,
      version,
      path,
      state,
      invokes: nodes.flatMap(({ invoke }) => invoke.map(({ id }) => id)),
      timers: [
        ...new Set(nodes.flatMap(({ after }) => after.map((timer) => timer.eventType as string))),
      ],
      sources: [...Object.keys(machine.implementations.actors), ...sourcesOf(root)],
    };
  } catch (error) {
    return asError(error).message;
  }
}

const sourcesOf = (node: StateNodeOf): string[] => [
  ...node.invoke.map(({ src }) => src as string),
  ...childrenOf(node).flatMap(sourcesOf),
];

function told(lack: string): string {
  const [kind, ...rest] = lack.split(' ');
  const name = rest.join(' ');
  if (kind === 'invoke') return `invoke ${name} does not run`;
  if (kind === 'after') return `timer ${name} is not armed`;
  return `actor ${JSON.stringify(name)}, which runs, has no implementation`;
}

async function tryMigrations(
  registry: Registry,
  look: ActorLook,
  limits: Limits,
  type: string,
  version: string,
): Promise<SnapshotVerdict[]> {
  const to = registry.migrating(type, version) as ActorType;
  const found = new Map<string, SnapshotVerdict>();
  for await (const { id, seq, state, snapshot } of look.actors(type, version)) {
    const address = { type, id };
    let reason = '';
    try {
      migrateStep(to, address, createStepScope(address), seq, snapshot, limits);
    } catch (error) {
      reason = asError(error).message.replace(`${type}/${id} `, '');
    }
    let key = `${state} ${reason}`;
    if (!found.has(key) && found.size >= REASONS_MAX) {
      key = reason === '' ? 'others' : 'other reasons';
      if (reason !== '') reason = 'for more reasons than are told apart';
    }
    const verdict = found.get(key);
    const group = { type, version, path: null, state, actors: 1 };
    if (verdict) verdict.actors++;
    else if (reason !== '') found.set(key, orphaned(group, reason));
    else found.set(key, { ...group, verdict: 'migrated', as: to.version, reason });
  }
  return [...found.values()];
}

/** States and reasons of one version that are told apart, at most: messages may name anything. */
const REASONS_MAX = 1_000;
