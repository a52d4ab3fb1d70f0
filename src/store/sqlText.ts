/** What comes before the first word: blanks, semicolons, comments. */
const BEFORE = /^(?:[\s;]+|--[^\n]*(?:\n|$))/;

const CONTROL =
  /^(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!(?:\s+(?:WORK|TRANSACTION))?\s+TO\b))\b/i;

/** The words by which a statement would begin or end a transaction; undefined for any other statement. */
export function controlWord(text: string): string | undefined {
  return CONTROL.exec(withoutStart(text))?.[0].toUpperCase().replace(/\s+/g, ' ');
}

function withoutStart(text: string): string {
  for (let rest = text; ; ) {
    const after = rest.startsWith('/*') ? afterComment(rest) : rest.replace(BEFORE, '');
    if (after === rest) return rest;
    rest = after;
  }
}

/** Comments of this kind stand inside of each other. */
function afterComment(text: string): string {
  const MARK = /\/\*|\*\//g;
  let depth = 0;
  for (let mark = MARK.exec(text); mark; mark = MARK.exec(text)) {
    depth += mark[0] === '/*' ? 1 : -1;
    if (depth === 0) return text.slice(MARK.lastIndex);
  }
  return '';
}
