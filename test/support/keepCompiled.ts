import { flushCompileCache } from 'node:module';
import { afterAll } from 'vitest';

// Workers are ended by a signal, and would keep nothing of what they compiled for the next one.
afterAll(() => flushCompileCache());
