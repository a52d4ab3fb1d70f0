import { emitKeypressEvents } from 'node:readline';

const CSI = '\u001b[';

/** Takes the whole terminal over, and gives it back as it was, however the process ends. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #in: NodeJS.ReadStream;
  readonly #giveBack = () => this.close();
  #open = true;

  /** `onKey` gets the names of keys; Ctrl-C comes as `ctrl-c`. */
  constructor(onKey: (key: string) => void, out = process.stdout, input = process.stdin) {
    this.#out = out;
    this.#in = input;
    out.write(`${CSI}?1049h${CSI}?25l${CSI}?7l`);
    process.on('exit', this.#giveBack);
    if (!input.isTTY) return;
    emitKeypressEvents(input);
    input.setRawMode(true);
    input.on('keypress', (_text, { name = '', ctrl }: { name?: string; ctrl?: boolean }) =>
      onKey(ctrl ? `ctrl-${name}` : name),
    );
    input.resume();
  }

  get size(): { columns: number; rows: number } {
    const { columns, rows } = this.#out;
    return { columns: columns || 80, rows: rows || 24 };
  }

  onResize(again: () => void): void {
    this.#out.on('resize', again);
  }

  /** Draws over what is there, so that nothing flickers; what does not fit is left out. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    const { rows } = this.size;
    const shown = lines.slice(0, rows).map((line) => `${line}${CSI}K`);
    this.#out.write(`${CSI}H${shown.join('\r\n')}${CSI}J`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.off('exit', this.#giveBack);
    if (this.#in.isTTY) this.#in.setRawMode(false);
    this.#in.pause();
    this.#out.write(`${CSI}?7h${CSI}?25h${CSI}?1049l`);
  }
}
