import { loadActorTypes } from '../../src/cli/actorFile.ts';
import { loadCodec } from '../../src/cli/codecFile.ts';
import { createLogger } from '../../src/log.ts';
import { createNode } from '../../src/node.ts';

// One node in this process: `node clusterNode.ts FILE`, the rest by environment. Prints its id when it is ready.
// Whoever started it is gone when stdin ends: nobody would ever stop it.
process.stdin.once('end', () => process.exit(1)).resume();
const actors = await loadActorTypes(process.argv[2] as string);
const { PERDURE_TEST_NAME: name, PERDURE_TEST_REPLICAS: replicas } = process.env;
const codec = await loadCodec({});
const node = createNode({
  actors,
  ...(codec && { codec }),
  ...(name === undefined ? {} : { name }),
  ...(replicas === undefined ? {} : { replicas: Number(replicas) }),
  limits: JSON.parse(process.env.PERDURE_TEST_LIMITS ?? '{}'),
  logger: createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'info' }),
});
// What aborted work has left in the event loop must not keep the process.
process.once('SIGTERM', () => void node.stop().then(() => process.exit(0)));
await node.start();
process.stdout.write(`${node.nodeId}\n`);
