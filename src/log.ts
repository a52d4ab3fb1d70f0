import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/**
 * The root logger. Lines carry ids, types and sizes, never payloads or context; `actor`, `shard`, `epoch`,
 * `seq`, `node` are the field names. Level: PERDURE_LOG_LEVEL (trace … fatal, silent), default info.
 */
export function createLogger(options: { level?: string; name?: string } = {}): Logger {
  return pino(
    {
      name: options.name ?? 'perdure',
      level: options.level ?? process.env.PERDURE_LOG_LEVEL ?? 'info',
      redact: { paths: ['*.password', '*.token', '*.authorization', '*.connectionString'] },
      base: { pid: process.pid },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Connection URLs (one, or several separated by commas) that are safe to print: user and password removed. */
export function withoutSecrets(urls: string): string {
  return urls.replace(/\/\/[^,\s]*@/g, '//');
}
