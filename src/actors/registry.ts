import { PerdureError } from '../errors.ts';
import type { MachineRecord } from '../store/elsewhere.ts';
import type { OpenedVersion } from '../store/sharing.ts';
import { recordsOf } from './chartOf.ts';
import type { ActorType } from './define.ts';

/** The actor types a node knows: by name the newest version, and every version for the actors it wrote. */
export class Registry {
  readonly #newest = new Map<string, ActorType>();
  readonly #versions = new Map<string, ActorType>();
  /** By the version it takes over from, the last in the list that does. */
  readonly #migrating = new Map<string, ActorType>();

  /** Of one name, the last in the list is what new actors start with. @throws PerdureError `bad_options`. */
  constructor(types: readonly ActorType[]) {
    if (types.length === 0)
      throw new PerdureError('bad_options', 'A node needs at least one actor type (defineActor).');
    for (const type of types) {
      const key = `${type.name}@${type.version}`;
      if (this.#versions.has(key))
        throw new PerdureError('bad_options', `Actor type ${key} is given twice.`);
      this.#versions.set(key, type);
      this.#newest.set(type.name, type);
      for (const from of Object.keys(type.migrate))
        this.#migrating.set(`${type.name}@${from}`, type);
    }
  }

  newest(name: string): ActorType | undefined {
    return this.#newest.get(name);
  }

  version(name: string, version: string): ActorType | undefined {
    return this.#versions.get(`${name}@${version}`);
  }

  /** What an actor of a version that is not known here can be migrated to. */
  migrating(name: string, from: string): ActorType | undefined {
    return this.#migrating.get(`${name}@${from}`);
  }

  /** Every version this node can open, and the one its actors have then. */
  get opens(): OpenedVersion[] {
    const opens: OpenedVersion[] = [];
    for (const { name: type, version } of this.#versions.values())
      opens.push({ type, version, as: version });
    for (const { name: type, version, migrate } of this.#versions.values())
      for (const from of Object.keys(migrate))
        if (!this.version(type, from) && this.migrating(type, from)?.version === version)
          opens.push({ type, version: from, as: version });
    return opens;
  }

  /** What the inspector is to know of every version. */
  get machines(): MachineRecord[] {
    return recordsOf(this.#versions.values());
  }

  /** `order@1, order@2, mail@1`, for messages. */
  toString(): string {
    return [...this.#versions.keys()].join(', ');
  }
}
