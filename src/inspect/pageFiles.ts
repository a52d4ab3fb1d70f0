import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { vendored } from './layout.ts';

/** One file of the page as it is served. */
export interface PageFile {
  type: string;
  body: Buffer;
  etag: string;
}

/** Libraries in the browser: by the name they are imported by, their file and where it is in a checkout. */
const VENDOR: Record<string, [file: string, inPackage: string]> = {
  preact: ['preact.mjs', 'preact'],
  'preact/hooks': ['hooks.mjs', 'preact/hooks'],
  htm: ['htm.mjs', 'htm'],
};

/** Modules of ours that the page and the server share; they import nothing but each other. */
const SHARED = [
  'actors/chart',
  'inspect/chartShapes',
  'inspect/diff',
  'inspect/needs',
  'inspect/reasonText',
];

const JAVASCRIPT = 'text/javascript; charset=utf-8';

let known: ReadonlyMap<string, PageFile> | undefined;

/**
 * Every file of the page by the path it is asked for. The list is made of what is there, once; a path in a request is
 * looked up in it and is never a path on the disk.
 */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  known ??= load();
  return known;
}

function load(): Map<string, PageFile> {
  const files = new Map<string, PageFile>();
  const add = (path: string, type: string, text: string) => {
    const body = Buffer.from(text);
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
    files.set(path, { type, body, etag });
  };
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const folder = new URL('./page/', import.meta.url);
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(extension))
    .map((name) => `inspect/page/${name.slice(0, -extension.length)}`);
  for (const name of [...names, ...SHARED]) {
    const source = readFileSync(new URL(`../${name}${extension}`, import.meta.url), 'utf8');
    add(`/modules/${name}${extension}`, JAVASCRIPT, runnable(source));
  }
  for (const [file, inPackage] of Object.values(VENDOR))
    add(`/modules/${file}`, JAVASCRIPT, runnable(readFileSync(vendored(file, inPackage), 'utf8')));
  for (const sheet of ['style.css', 'chart.css'])
    add(
      `/modules/${sheet}`,
      'text/css; charset=utf-8',
      readFileSync(new URL(sheet, folder), 'utf8'),
    );
  const modules = [...files].filter(([, { type }]) => type === JAVASCRIPT).map(([path]) => path);
  add('/', 'text/html; charset=utf-8', index(extension, modules));
  return files;
}

/** Node says of this function, aloud, that it is new; only a checkout needs it, since what is built has no types. */
function withoutTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return nodeModule.stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** What a browser runs: no types, and libraries by their place here. */
function runnable(source: string): string {
  const plain = import.meta.url.endsWith('.ts')
    ? withoutTypes(source)
    : source.replace(/^\/\/# sourceMappingURL=.*$/m, '');
  return plain.replace(
    /(\bfrom\s*)(['"])([\w/]+)\2/g,
    (statement, from: string, _quote, name: string) =>
      VENDOR[name] ? `${from}'/modules/${VENDOR[name][0]}'` : statement,
  );
}

/** All modules are named: a browser would learn of them one after another, from each other. */
const index = (extension: string, modules: readonly string[]): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Perdure</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/modules/style.css">
<link rel="stylesheet" href="/modules/chart.css">
${modules.map((path) => `<link rel="modulepreload" href="${path}">`).join('\n')}
<link rel="preload" as="fetch" href="/api/me" crossorigin>
<script type="module" src="/modules/inspect/page/main${extension}"></script>
</head>
<body><div id="app"><noscript>This page needs JavaScript; perdure ls and perdure show do not.</noscript></div></body>
</html>
`;
