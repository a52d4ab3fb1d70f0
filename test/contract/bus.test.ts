import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { createMemoryLog } from '../../src/bus/memory.ts';
import { openBus } from '../../src/bus/nats.ts';
import { streamConfigs } from '../../src/bus/topology.ts';
import { systemClock } from '../../src/clock.ts';
import { namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { freshNamespace, natsUrl } from '../support/services.ts';
import { type BusUnderTest, busContract } from './bus.contract.ts';

const log = createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'silent' });
const SHARDS = 64;

busContract('in memory', async (): Promise<BusUnderTest> => {
  const ns = namespace(freshNamespace());
  const memory = createMemoryLog({ clock: systemClock, shards: SHARDS, namespace: ns });
  return {
    namespace: ns,
    shards: SHARDS,
    open: async () => memory.connect(),
    recreateLog: async () => memory.recreate(),
    tooLarge: 1024 * 1024 + 1,
    close: async () => {},
  };
});

busContract('NATS', async (): Promise<BusUnderTest> => {
  const ns = namespace(freshNamespace());
  const nc = await connect({ servers: natsUrl() });
  const jsm = await jetstreamManager(nc);
  return {
    namespace: ns,
    shards: SHARDS,
    open: () =>
      openBus({ natsUrl: natsUrl(), namespace: ns, shards: SHARDS, clock: systemClock, log }),
    async recreateLog() {
      await jsm.streams.delete(ns.jobsStream);
      await jsm.streams.add(streamConfigs(ns, { shards: SHARDS })[0]);
    },
    tooLarge: (nc.info?.max_payload ?? 0) + 1,
    async close() {
      for (const stream of [ns.jobsStream, ns.outcomesStream]) await jsm.streams.delete(stream);
      await nc.close();
    },
  };
});
