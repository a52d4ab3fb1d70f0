import { actorTypes } from './machine.ts';

// What the nodes of a chaos run load: `test/support/clusterNode.ts` imports it in every process.
const seed = Number(process.env.PERDURE_CHAOS_SEED);
if (!Number.isInteger(seed)) throw new Error('PERDURE_CHAOS_SEED is not a whole number.');

export default actorTypes(seed);
