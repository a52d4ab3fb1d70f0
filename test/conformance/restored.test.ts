import { randomFrom } from '../support/cluster.ts';
import { conform } from './support/compare.ts';
import { randomCase } from './support/randomMachine.ts';

// Machines, found by chance, in which an actor that was brought back from its row once exited other states than one that
// had stayed in memory: XState goes by the list of active states it holds, which a restored snapshot had in another form.

conform(
  [2061, 2234, 4279].map((seed) =>
    randomCase(`restored between parallel regions, machine ${seed}`, randomFrom(seed)),
  ),
);
