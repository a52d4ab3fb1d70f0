export { cutToday, goneToday, movedToday, sameToday } from './actorsCheck.ts';
