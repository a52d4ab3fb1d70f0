export { parcel1 } from './actorsVersions.ts';
