import { pino } from 'pino';
import type { Logger } from '../log.ts';

/** A logger that prints nothing and remembers why it last warned: the reason behind "could not be reached". */
export function rememberWarnings(): { log: Logger; reason(): string | undefined } {
  let reason: string | undefined;
  const log = pino(
    { level: 'warn', base: null },
    {
      write(line: string) {
        const said = JSON.parse(line) as { reason?: string; err?: string; msg?: string };
        reason = said.reason ?? said.err ?? said.msg ?? reason;
      },
    },
  );
  return { log, reason: () => reason };
}
