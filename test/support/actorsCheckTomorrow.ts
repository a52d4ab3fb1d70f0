export { cutTomorrow, movedTomorrow, sameTomorrow } from './actorsCheck.ts';
