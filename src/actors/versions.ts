import type {
  AnyStateMachine,
  ContextFrom,
  MachineContext,
  StateValue,
  StateValueFrom,
} from 'xstate';
import { PerdureError } from '../errors.ts';

/** What another version of an actor type has left of an actor. */
export interface OldSnapshot {
  value: StateValue;
  /** Decoded; a copy of its own. */
  context: MachineContext;
  /** The version that wrote it. */
  version: string;
}

/** Where an actor goes on in the machine it migrates to. */
export interface NewSnapshot<M extends AnyStateMachine> {
  /** A state of the new machine that is not final. What it leaves out is in its initial state; `{}` for a machine without states. */
  value: [StateValueFrom<M>] extends [never] ? StateValue : StateValueFrom<M>;
  context: ContextFrom<M>;
}

/**
 * Takes an actor over from another version. Pure: the same snapshot must always give the same answer, since a history
 * is checked, and what was under way is redone, by computing it again.
 */
export type Migrate<M extends AnyStateMachine> = (old: OldSnapshot) => NewSnapshot<M>;

/** As the engine keeps it, whatever the machine. */
export type Migrations = Readonly<Record<string, Migrate<AnyStateMachine>>>;

/** Event type of the transition that records a migration. */
export const MIGRATE = 'perdure.migrate';

export const VERSION_FORM = /^[\x21-\x7e]{1,64}$/;

/** @throws PerdureError `bad_definition` */
export function checkMigrations(name: string, version: string, migrate: object = {}): void {
  const refuse = (problem: string): never => {
    throw new PerdureError('bad_definition', `Actor type ${name}, migrate: ${problem}`);
  };
  for (const [from, run] of Object.entries(migrate)) {
    if (!VERSION_FORM.test(from))
      refuse(`${JSON.stringify(from)} is no version: 1 to 64 visible ASCII characters.`);
    if (from === version)
      refuse(`there is nothing to migrate from ${from} to itself. Give the machine a new version.`);
    if (typeof run !== 'function')
      refuse(`what is given for version ${from} must be a function (old) => ({ value, context }).`);
  }
}
