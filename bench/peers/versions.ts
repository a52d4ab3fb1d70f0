import { readFileSync } from 'node:fs';

/** What is installed of these packages. */
export function versionOf(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const file = new URL(`./node_modules/${name}/package.json`, import.meta.url);
      return [name, (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version];
    }),
  );
}
