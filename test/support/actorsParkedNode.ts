import { lamp, mine, tally1, tally2, teller } from './actorsParked.ts';

/** `PERDURE_TEST_VERSION` says which version this process has. */
export default process.env.PERDURE_TEST_VERSION === '2'
  ? [tally2, teller, lamp, mine]
  : [tally1, teller];
