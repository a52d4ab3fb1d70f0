import { open } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import type { Command } from 'commander';
import { recordsOf } from '../actors/chartOf.ts';
import type { ActorType } from '../actors/define.ts';
import { Registry } from '../actors/registry.ts';
import { asError, PerdureError } from '../errors.ts';
import {
  type ActorLine,
  fingerprint,
  type MachineLine,
  type TransitionLine,
} from '../inspect/historyFile.ts';
import { readHistoryFile } from '../inspect/historyReader.ts';
import { Rehearsal, type RehearsalOptions, type Verdict } from '../inspect/rehearsal.ts';
import { loadActorTypes } from './actorFile.ts';
import { rowId, whole } from './arguments.ts';
import { changeText } from './changeText.ts';
import { codecOption, loadCodec } from './codecFile.ts';
import { stateText } from './stateText.ts';
import { printJson, visible } from './table.ts';

interface Flags {
  actors: string;
  as?: string;
  id?: string;
  step?: number;
  all?: true;
  ignore?: string[];
  codec?: string;
  json?: true;
}

/** `perdure replay FILE`. */
export function register(program: Command): void {
  codecOption(program.command('replay'))
    .description(
      'Give each recorded event to the machine as it is in the code now, and say where it would diverge first.',
    )
    .argument('<file>', 'written by perdure export; - is standard input')
    .requiredOption('--actors <file>', 'exports the actor types, as for perdure serve')
    .option(
      '--as <version>',
      'the machine of this version; default: the one that recorded each transition, else the newest',
    )
    .option('--id <id>', 'only this actor of the family', rowId)
    .option(
      '--step <seq>',
      'only this transition, in detail; of the first actor in the file, unless --id says which',
      whole(1, Number.MAX_SAFE_INTEGER),
    )
    .option('--all', 'go on behind the first that diverges')
    .option('--ignore <path...>', 'what may differ, with all below it: context.requestedAt')
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
No server is asked and nothing is done of what a step causes: it is only compared. Each transition is computed from the
snapshot recorded before it, so what diverges does not make all that follows diverge. Compared are the state, context,
output, error, what runs (invokes, timers, children), the path through the chart, and how many actions
it has; not the time, nor how often an invoke was tried. What is not the same in two runs (a clock, chance) is shown as
unsteady and does not count. A migration the code has no migrate for is skipped.

Exit codes: 0 the same, 1 it diverges, 2 asked in a wrong way or the file is damaged.

Examples:
  $ perdure export order o-1 --out o-1.jsonl
  $ perdure replay o-1.jsonl --actors actors.ts
  $ perdure replay o-1.jsonl --actors actors.ts --step 12
  $ perdure replay o-1.jsonl --actors actors.ts --as 2 --all --json | jq -c 'select(.verdict == "differs")'`,
    )
    .action(replay);
}

async function replay(file: string, flags: Flags): Promise<void> {
  const types = await loadActorTypes(flags.actors);
  const codec = await loadCodec(flags);
  const run = new Run(types, flags, {
    registry: new Registry(types),
    as: flags.as,
    ignore: flags.ignore,
    codec,
  });
  const lines = await openLines(file);
  for await (const line of readHistoryFile(file === '-' ? 'standard input' : file, lines)) {
    if (line.kind === 'perdure.history' && line.redacted)
      throw new PerdureError(
        'bad_options',
        `${file} was exported with --redact: its snapshots are not whole, and nothing can be computed from them.`,
      );
    if (line.kind === 'machine') run.machine(line);
    if (line.kind === 'actor') run.actor(line);
    if (line.kind === 'transition' && (await run.transition(line)) === 'enough') break;
  }
  const diverged = run.end();
  // What the file opened when it was loaded must not hold the process.
  process.stdout.write('', () => process.exit(diverged ? 1 : 0));
}

async function openLines(file: string): Promise<Interface> {
  if (file === '-') return createInterface({ input: process.stdin });
  try {
    return (await open(file)).readLines();
  } catch (error) {
    throw new PerdureError('bad_options', `${file}: ${asError(error).message}.`);
  }
}

interface Found {
  actor: ActorLine;
  line: TransitionLine;
  verdict: Verdict;
}

/** One pass through a file: what has been seen, and what is said of it. */
class Run {
  readonly #types: readonly ActorType[];
  readonly #flags: Flags;
  readonly #options: RehearsalOptions;
  /** Id of the first in the file. */
  #root: string | undefined;
  #actor: ActorLine | undefined;
  #rehearsal: Rehearsal | undefined;
  #first: Found | undefined;
  #stepSeen = false;
  readonly #counts = { same: 0, differs: 0, unsteady: 0, skipped: 0 };

  constructor(types: readonly ActorType[], flags: Flags, options: RehearsalOptions) {
    this.#types = types;
    this.#flags = flags;
    this.#options = options;
  }

  /** Says whether the chart of a version is what it was. */
  machine({ type, version, fingerprint: recorded }: MachineLine): void {
    if (this.#flags.json) return;
    const wanted = this.#flags.as ?? version;
    const known = this.#types.find((one) => one.name === type && one.version === wanted);
    const now = known ?? this.#options.registry.newest(type);
    if (!now) return;
    const [record] = recordsOf([now]);
    const isSame = record && fingerprint(record.definition) === recorded;
    const what = isSame ? 'has the recorded chart' : 'has another chart than the recorded one';
    process.stdout.write(
      `${visible(`${type} recorded as version ${version}; ${now.name}@${now.version} ${what}`)}\n`,
    );
  }

  actor(line: ActorLine): void {
    const { id, step } = this.#flags;
    this.#root ??= line.id;
    this.#actor = line;
    const isMeant = step === undefined && id === undefined ? true : line.id === (id ?? this.#root);
    this.#rehearsal = isMeant ? new Rehearsal(line, this.#options) : undefined;
    if (isMeant && !this.#flags.json)
      process.stdout.write(`${visible(`${line.type}/${line.id}, ${line.seq} transitions`)}\n`);
  }

  /** `enough`: nothing behind it has to be looked at. */
  async transition(line: TransitionLine): Promise<'enough' | undefined> {
    if (!this.#rehearsal || !this.#actor) return undefined;
    const { step, all } = this.#flags;
    if (step !== undefined && line.seq !== step) return this.#rehearsal.pass(line);
    this.#stepSeen = true;
    const verdict = await this.#rehearsal.take(line);
    const found = { actor: this.#actor, line, verdict };
    this.#counts[verdict.verdict]++;
    if (this.#flags.json) printJson(asJson(found));
    else process.stdout.write(`${(step === undefined ? brief : detail)(found).join('\n')}\n`);
    if (verdict.verdict === 'differs') this.#first ??= found;
    return step !== undefined || (this.#first && !all) ? 'enough' : undefined;
  }

  /** Whether anything diverges. @throws PerdureError `bad_options` when what was asked about is not in the file: that is no divergence */
  end(): boolean {
    const { step, id } = this.#flags;
    if (!this.#stepSeen && (step !== undefined || id !== undefined))
      throw new PerdureError(
        'bad_options',
        `The file has no ${step === undefined ? '' : `transition ${step} of `}${id ?? this.#root}.`,
      );
    const first = this.#first;
    if (this.#flags.json) printJson({ diverges: first ? asJson(first) : null, ...this.#counts });
    else process.stdout.write(`${visible(this.#sum(first))}\n`);
    return first !== undefined;
  }

  #sum(first: Found | undefined): string {
    const { same, unsteady, skipped } = this.#counts;
    const rest = [
      `${same} the same`,
      ...(unsteady > 0 ? [`${unsteady} unsteady`] : []),
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
    ].join(', ');
    if (!first) return `no divergence: ${rest}`;
    const { actor, line, verdict } = first;
    const now = verdict.state === undefined ? verdict.reason : stateText(verdict.state);
    return `diverges first at ${actor.type}/${actor.id} #${line.seq} (${line.event_type}): recorded ${stateText(line.to_state)}, now ${now}; ${rest}`;
  }
}

function asJson({ actor, line, verdict }: Found): object {
  const { seq, at, event_type, to_state } = line;
  const { state, ...rest } = verdict;
  return {
    type: actor.type,
    id: actor.id,
    seq,
    at,
    event_type,
    recorded: to_state,
    now: state,
    ...rest,
  };
}

const WORDS = { same: 'same', differs: 'DIVERGES', unsteady: 'unsteady', skipped: 'skipped' };

function brief({ line, verdict }: Found): string[] {
  const { seq, event_type, from_state, to_state } = line;
  const from = from_state === null ? '-' : stateText(from_state);
  const head = `  #${seq}  ${event_type}  ${from} → ${stateText(to_state)}  ${WORDS[verdict.verdict]}`;
  return [visible(head), ...changesOf(verdict)];
}

function changesOf({ reason, changes, unsteady }: Verdict): string[] {
  return [
    ...(reason === undefined ? [] : [visible(`      ${reason}`)]),
    ...changes.map((change) => `    ${changeText(change)}`),
    ...unsteady.map((change) => `    ${changeText(change)} (not the same in two runs)`),
  ];
}

function detail(found: Found): string[] {
  const { line, verdict } = found;
  const causes = verdict.wants.map((want) => visible(`      ${want}`));
  return [
    ...brief(found),
    visible(
      `    at      ${line.at}, caused by ${line.origin}${line.event_id === null ? '' : ` (${line.event_id})`}`,
    ),
    visible(`    event   ${JSON.stringify(line.event)}`),
    ...(verdict.as === undefined ? [] : [visible(`    machine version ${verdict.as}`)]),
    ...(verdict.state === undefined ? [] : [visible(`    now in  ${stateText(verdict.state)}`)]),
    ...(causes.length > 0 ? ['    now causes', ...causes] : []),
  ];
}
