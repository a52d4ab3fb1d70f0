import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from './ui.ts';

interface Props {
  word: string;
  /** Asked for when it is wanted. */
  text: () => string | Promise<string>;
}

/** A button that puts a text into the clipboard. */
export function Copy({ word, text }: Props) {
  const [said, setSaid] = useState<string>();
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      // A promise, so that the browser still knows of the click when the text has to be fetched first.
      const blob = Promise.resolve(text()).then((what) => new Blob([what], { type: 'text/plain' }));
      await navigator.clipboard.write([new ClipboardItem({ 'text/plain': blob })]);
      setSaid('copied');
    } catch (error) {
      setSaid((error as Error).message);
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(undefined), 2_500);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${said ?? `copy ${word}`}</button>`;
}
