import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// Part of `npm run build`: what a browser is served, and what lays charts out, comes with the package. Users install
// none of it, and nothing of it is fetched from elsewhere.

/** By the file it becomes: where it is, and the package whose license goes with it. */
const FILES: Record<string, [inPackage: string, of: string]> = {
  'preact.mjs': ['preact', 'preact'],
  'hooks.mjs': ['preact/hooks', 'preact'],
  'htm.mjs': ['htm', 'htm'],
  // A script of the old kind, in a package whose files are modules.
  'elk.cjs': ['elkjs/lib/elk.bundled.js', 'elkjs'],
};

const ROOT = resolve(import.meta.dirname, '..');
const vendor = join(ROOT, 'dist/inspect/vendor');
mkdirSync(vendor, { recursive: true });
for (const [name, [inPackage, of]] of Object.entries(FILES)) {
  copyFileSync(fileURLToPath(import.meta.resolve(inPackage)), join(vendor, name));
  const folder = join(ROOT, 'node_modules', of);
  const license = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  if (license === undefined) throw new Error(`${of} has no license file`);
  copyFileSync(join(folder, license), join(vendor, `${of}-license.txt`));
}
const page = join(ROOT, 'src/inspect/page');
for (const name of readdirSync(page).filter((file) => file.endsWith('.css')))
  copyFileSync(join(page, name), join(dirname(vendor), 'page', name));
