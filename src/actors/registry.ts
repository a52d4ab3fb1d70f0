import { PerdureError } from '../errors.ts';
import type { ActorType } from './define.ts';

/** The actor types a node knows: by name the newest version, and every version for the actors it wrote. */
export class Registry {
  readonly #newest = new Map<string, ActorType>();
  readonly #versions = new Map<string, ActorType>();

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
    }
  }

  newest(name: string): ActorType | undefined {
    return this.#newest.get(name);
  }

  version(name: string, version: string): ActorType | undefined {
    return this.#versions.get(`${name}@${version}`);
  }

  /** `order@1, order@2, mail@1`, for messages. */
  toString(): string {
    return [...this.#versions.keys()].join(', ');
  }
}
