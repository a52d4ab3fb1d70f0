import { compressing, encrypting } from '../examples/codec.ts';
import { createNode } from '../src/index.ts';
import { createLogger } from '../src/log.ts';
import { actors } from './actors.ts';

/** One node in a process of its own, as in production; tells its parent what it has done, 50 times a second. */
const codecs = {
  encrypting: encrypting(`bench:${Buffer.alloc(32, 1).toString('base64')}`),
  compressing,
};
const codec = codecs[process.env.BENCH_CODEC as keyof typeof codecs];
const node = createNode({
  actors,
  ...(codec && { codec }),
  limits: JSON.parse(process.env.BENCH_LIMITS ?? '{}'),
  logger: createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'error' }),
});
await node.start();
const tell = setInterval(() => process.send?.(node.status()), 20);
process.send?.({ ready: true });
process.once('disconnect', () => void end());
process.once('SIGTERM', () => void end());

async function end(): Promise<void> {
  clearInterval(tell);
  await node.stop();
  process.exit(0);
}
