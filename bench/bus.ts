/**
 * Micro-benchmark of the bus: publishes N small messages pipelined over all shards, then drains and acknowledges
 * them through one reader per shard. Prints messages per second and CPU seconds of this process.
 *
 *   node bench/bus.ts [nats-url] [messages]
 */
import { openBus } from '../src/bus/nats.ts';
import { subjects } from '../src/bus/subjects.ts';
import { systemClock } from '../src/clock.ts';
import { LIMITS, namespace, SHARDS } from '../src/config.ts';
import { createLogger } from '../src/log.ts';

const natsUrl = process.argv[2] ?? 'nats://127.0.0.1:4222';
const messages = Number(process.argv[3] ?? 20_000);
const ns = namespace(`bench_${Date.now().toString(36)}`);
const log = createLogger({ level: 'warn' });
const bus = await openBus({ natsUrl, namespace: ns, shards: SHARDS, clock: systemClock, log });

async function measure(what: string, run: () => Promise<void>): Promise<void> {
  const cpu = process.cpuUsage();
  const from = performance.now();
  await run();
  const seconds = (performance.now() - from) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const rate = Math.round(messages / seconds).toLocaleString('en');
  console.log(
    `${what.padEnd(12)} ${rate.padStart(8)} msgs/s  ${seconds.toFixed(2)} s  ${((user + system) / 1e6).toFixed(2)} CPU-s`,
  );
}

const body = '{"total":30}';
for (let round = 1; round <= 3; round++) {
  const startSeq = (await bus.logEnd()) + 1;
  await measure(`publish #${round}`, async () => {
    const acks = [];
    for (let i = 0; i < messages; i++)
      acks.push(
        bus.publish(subjects.start(ns, 'order', `r${round}-${i}`), body, {
          messageId: `r${round}-${i}`,
          timeoutMs: 60_000,
        }),
      );
    await Promise.all(acks);
  });
  const readers: { stop(): Promise<void> }[] = [];
  const opened = performance.now();
  let bytes = 0;
  await measure(`drain #${round}`, async () => {
    let left = messages;
    await new Promise<void>((done, fail) => {
      for (let shard = 0; shard < SHARDS; shard++)
        bus
          .openReader({
            shard,
            epoch: round,
            startSeq,
            pendingMax: LIMITS.shardPendingMax,
            ackWaitMs: LIMITS.ackWaitMs,
            onMessage(message) {
              bytes +=
                message.subject.length + message.body.length + (message.messageId?.length ?? 0);
              message.ack();
              if (--left === 0) done();
            },
            onSurprise: (reason) => fail(new Error(reason)),
          })
          .then((reader) => {
            readers.push(reader);
            if (readers.length === SHARDS)
              console.log(`  64 readers open after ${Math.round(performance.now() - opened)} ms`);
          }, fail);
    });
  });
  console.log(`  ${bytes} bytes`);
  await Promise.all(readers.map((reader) => reader.stop()));
}
await bus.close();
