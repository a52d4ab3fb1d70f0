export { parcel2 } from './actorsVersions.ts';
