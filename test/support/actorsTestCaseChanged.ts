import { tripGoingTo } from './actorsTestCase.ts';

export const trip = tripGoingTo('cancelled');
