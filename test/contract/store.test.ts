import { afterAll, beforeAll } from 'vitest';
import { freshDatabase } from '../support/services.ts';
import { storeContract } from './store.contract.ts';
import { memoryCluster, postgresCluster } from './storeClusters.ts';
import { storeParkedContract } from './storeParked.contract.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

storeContract('memory', memoryCluster);
storeContract('postgres', () => postgresCluster(database.url));
storeParkedContract('memory', memoryCluster);
storeParkedContract('postgres', () => postgresCluster(database.url));
