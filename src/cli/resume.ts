export { registerResume as register } from './pause.ts';
