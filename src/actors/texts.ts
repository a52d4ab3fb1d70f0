/** At most so many are kept; ids of children may be made up anew each time. */
const KEPT_MAX = 4_096;

/** Short texts that are made of a name, each once for all who need it. */
export class Texts {
  readonly #make: (name: string) => string;
  readonly #known = new Map<string, string>();

  constructor(make: (name: string) => string) {
    this.#make = make;
  }

  of(name: string): string {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= KEPT_MAX) this.#known.clear();
    const made = this.#make(name);
    this.#known.set(name, made);
    return made;
  }
}
