import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { ERRORS } from '../../src/errors.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { ask, recordingEngine, startSite } from '../support/inspectSite.ts';

// What docs/inspect-api.md and /openapi.json say of the routes, held against the table of routes.

const PAGE = readFileSync(resolve(import.meta.dirname, '../../docs/inspect-api.md'), 'utf8');
const store = createMemoryStore({ clock: systemClock, shards: 1 });
let site: Awaited<ReturnType<typeof startSite>>;

beforeAll(async () => {
  site = await startSite(store, recordingEngine().engine);
});
afterAll(() => site.close());

interface Operation {
  summary: string;
  'x-role': string;
  parameters: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema: { properties: object; required: string[] } }> };
  responses: Record<string, { description: string }>;
}

test('the page has a row for every route, in order and with the same words', () => {
  const rows = PAGE.split('\n')
    .filter((line) => /^\| `(GET|POST|DELETE)`/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  expect(rows).toEqual(
    site.site.routes.map(({ method, path, role, query = {}, body = {}, about }) => [
      method,
      path,
      role,
      [...Object.keys(query), ...Object.keys(body)].join(' '),
      about,
    ]),
  );
});

/** Codes that stand in the source: in errors of HTTP, in tables of refusals, in answers of a node. */
function codesInSource(): string[] {
  const dir = resolve(import.meta.dirname, '../../src/inspect');
  const text = readdirSync(dir)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(dir, name), 'utf8'))
    .join('\n');
  const written = [
    ...text.matchAll(/(?:HttpError|failure)\(\s*\d{3},\s*'(\w+)'/g),
    ...text.matchAll(/PerdureError\(\s*'(\w+)'/g),
    ...text.matchAll(/^\s+(\w+_\w+): [45]\d\d,/gm),
    ...text.matchAll(/(?:code: |note\()'(\w+)'/g),
  ];
  return [...new Set(written.map(([, code]) => code as string))].sort();
}

test('every code the API refuses with is documented, with its status, here or among the errors', () => {
  const own = [...PAGE.matchAll(/^\| `(\w+)` +\| (\d{3}) +\|/gm)].map(([, code]) => code as string);
  const codes = codesInSource();
  expect(codes).toEqual(expect.arrayContaining(['actor_deaf', 'count_changed', 'role_read']));
  expect(codes.filter((code) => !own.includes(code) && !Object.hasOwn(ERRORS, code))).toEqual([]);
  expect(own.filter((code) => !codes.includes(code) || Object.hasOwn(ERRORS, code))).toEqual([]);
});

test('the OpenAPI document has every route with its parameters, its body and what it refuses with', async () => {
  const { body } = await ask(`${site.url}/openapi.json`);
  const paths = body.paths as Record<string, Record<string, Operation>>;
  const found = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const routes = site.site.routes.map(({ method, path }) => `${method} ${path}`);
  expect(found.toSorted()).toEqual(routes.toSorted());
  for (const { method, path, query = {}, body: fields, role, refuses = {} } of site.site.routes) {
    const operation = paths[path]?.[method.toLowerCase()] as Operation;
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(operation.parameters.map(({ name }) => name)).toEqual([
      ...inPath,
      ...Object.keys(query),
    ]);
    expect(operation['x-role']).toBe(role);
    expect(operation.requestBody === undefined).toBe(fields === undefined);
    for (const [code, status] of Object.entries(refuses))
      expect(operation.responses[status]?.description).toContain(code);
  }
  const ids = Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .map((one) => (one as unknown as { operationId: string }).operationId);
  expect(new Set(ids).size).toBe(ids.length);
});
