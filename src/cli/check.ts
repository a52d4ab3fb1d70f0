import type { Command } from 'commander';
import type { ActorType } from '../actors/define.ts';
import { Registry } from '../actors/registry.ts';
import { LIMITS, namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { unheard } from '../inspect/eventFindings.ts';
import { type MachineFinding, machineFindings } from '../inspect/machineFindings.ts';
import { checkSnapshots, type SnapshotVerdict } from '../inspect/snapshotCheck.ts';
import { type ActorLook, lookAtActors } from '../store/check.ts';
import { loadActorTypes } from './actorFile.ts';
import { codecOption, loadCodec } from './codecFile.ts';
import { type ConnectionFlags, REACH_MS } from './connection.ts';
import { endpointOf, endpointOptions } from './endpoints.ts';
import { withSession } from './session.ts';
import { stateText } from './stateText.ts';
import { printJson, printTable } from './table.ts';

interface Flags extends ConnectionFlags {
  static?: true;
  events?: true;
  json?: true;
}

/** `perdure check`. */
export function register(program: Command): void {
  codecOption(endpointOptions(program.command('check'), 'database'))
    .description(
      'Check the machines of a file, and what becomes of the live actors when nodes run it.',
    )
    .argument('<file>', 'exports the actor types, as for perdure serve')
    .option('--static', 'look at the machines only, without a database')
    .option(
      '--events',
      'also look for recorded events that no state handles; reads the whole history',
    )
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Active actors are counted by type, version and state:
  fine      they go on as they are
  migrated  they go on in a newer version: its migrate was tried with each of them
  orphaned  nothing in the file can open them; they would be left alone
  stuck     their state waits for an invoke or a timer that nobody has started, since the machine was changed
            without a new version

Nothing is written. Give it every type the nodes run, since any node may own any actor.
Exit codes: 0 all is well, 1 actors would be orphaned or stuck, or a machine has an error, 2 asked in a wrong way.

Examples:
  $ perdure check actors.ts --static
  $ PERDURE_DATABASE_URL=postgres://… perdure check actors.ts
  $ perdure check actors.ts --json | jq -c 'select(.verdict == "orphaned")'`,
    )
    .action(check);
}

async function check(file: string, flags: Flags): Promise<void> {
  const types = await loadActorTypes(file);
  const registry = new Registry(types);
  if (flags.static && flags.events)
    throw new PerdureError('bad_options', '--events needs the database: leave --static out.');
  const findings = types.flatMap(machineFindings);
  const { verdicts, unhandled } = flags.static ? NOTHING : await compare(registry, types, flags);
  findings.push(...unhandled);
  if (flags.json) {
    findings.forEach(printJson);
    for (const verdict of verdicts) printJson({ ...verdict, state: JSON.parse(verdict.state) });
  } else report(findings, verdicts, flags);
  const isWrong =
    findings.some(({ level }) => level === 'error') ||
    verdicts.some(({ verdict }) => verdict === 'orphaned' || verdict === 'stuck');
  // What the file opened when it was loaded must not hold the process.
  process.stdout.write('', () => process.exit(isWrong ? 1 : 0));
}

interface Compared {
  verdicts: SnapshotVerdict[];
  unhandled: MachineFinding[];
}

const NOTHING: Compared = { verdicts: [], unhandled: [] };

async function compare(
  registry: Registry,
  types: readonly ActorType[],
  flags: Flags,
): Promise<Compared> {
  const { url, namespace: name } = endpointOf('database', flags);
  const space = namespace(name);
  const codec = await loadCodec(flags);
  return withSession({ url, schema: space.schema, reachMs: REACH_MS }, async (client) => {
    const look = await lookAtActors(client, space, codec);
    const verdicts = await checkSnapshots(registry, look, LIMITS);
    return { verdicts, unhandled: flags.events ? await unhandledIn(registry, types, look) : [] };
  });
}

/** By type, not by version: new actors are what new events are for. */
async function unhandledIn(
  registry: Registry,
  types: readonly ActorType[],
  look: ActorLook,
): Promise<MachineFinding[]> {
  const names = [...new Set(types.map(({ name }) => name))];
  const received = await look.received(names);
  return names.flatMap((name) => {
    const newest = registry.newest(name) as ActorType;
    const { version } = newest;
    const sent = received.filter(({ type }) => type === name);
    return unheard(newest, sent).map((found) => ({ type: name, version, ...found }));
  });
}

function report(findings: MachineFinding[], verdicts: SnapshotVerdict[], flags: Flags): void {
  for (const { level, type, version, place, problem, cure } of findings)
    process.stdout.write(`${level}: ${type}@${version} ${place} ${problem}. ${cure}\n`);
  if (findings.length > 0 && verdicts.length > 0) process.stdout.write('\n');
  if (verdicts.length > 0)
    printTable(
      ['TYPE', 'VERSION', 'STATE', 'ACTORS', 'VERDICT', 'WHY'],
      verdicts.map(({ type, version, path, state, actors, verdict, as, reason }) => [
        path === null ? type : `${type} › ${JSON.parse(path).join(' › ')}`,
        version,
        stateText(JSON.parse(state)),
        String(actors),
        verdict === 'migrated' ? `migrated to ${as}` : verdict,
        reason,
      ]),
    );
  else if (!flags.static) process.stderr.write('no active actors\n');
  if (findings.length === 0) process.stderr.write('nothing to say about the machines\n');
}
