/**
 * The work of the audit, without a word about actors: find the installed packages, read, hash and judge one.
 * The actors and the plain sequential computation both call these functions.
 */
import { createHash } from 'node:crypto';
import { open, readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** One installed package. */
export interface Package {
  /** Its actor's id: name and version for people, and a hash of the path, which alone is unique. */
  id: string;
  /** Where it is, below the `node_modules` that is audited. */
  path: string;
}

export interface Manifest {
  name: string;
  version: string;
  /** What package.json says, as one SPDX expression. */
  declared: string | null;
}

export interface Contents {
  files: number;
  bytes: number;
  sha256: string;
}

export type Verdict = 'permissive' | 'copyleft' | 'unknown';

export interface Licence {
  licence: string;
  verdict: Verdict;
  /** Why somebody has to look at it; null for what is permissive. */
  doubt: string | null;
}

/** Who let the package pass: nobody had to, the reviewer, or the lead it was escalated to. */
export type Approver = 'reviewer' | 'lead';

/** What the audit finds out about one package. */
export interface Audited extends Package, Manifest, Contents, Licence {
  approvedBy: Approver | null;
}

/** Every package below a `node_modules` directory, those nested in others too. */
export async function listPackages(root: string): Promise<Package[]> {
  const found: Package[] = [];
  // A link is no package of its own: what it points to is found where it is, or is not installed.
  const directories = async (path: string) =>
    (await readdir(join(root, path), { withFileTypes: true }))
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => join(path, entry.name))
      .sort();
  const visit = async (modules: string): Promise<void> => {
    for (const path of await directories(modules)) {
      const scope = basename(path).startsWith('@');
      for (const candidate of scope ? await directories(path) : [path]) await add(candidate);
    }
  };
  const add = async (path: string): Promise<void> => {
    const names = await readdir(join(root, path));
    if (names.includes('package.json')) {
      const manifest = await readManifest(join(root, path));
      found.push({ id: idOf(manifest, path), path });
    }
    if (names.includes('node_modules')) await visit(join(path, 'node_modules'));
  };
  await visit('.');
  return found;
}

function idOf({ name, version }: Manifest, path: string): string {
  const words = `${name}-${version}`.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-/, '');
  return `${words.slice(0, 100)}-${sha256(path).slice(0, 8)}`;
}

/** What package.json says; one that cannot be read declares nothing. */
export async function readManifest(directory: string): Promise<Manifest> {
  const text = await readFile(join(directory, 'package.json'), 'utf8');
  let json: Record<string, unknown> = {};
  try {
    json = Object(JSON.parse(text));
  } catch {}
  const string = (value: unknown) => (typeof value === 'string' && value !== '' ? value : null);
  return {
    name: string(json.name) ?? basename(directory),
    version: string(json.version) ?? '0',
    declared: expression(json.license ?? json.licenses),
  };
}

/** `"MIT"`, and what npm allowed before: `{ "type": "MIT" }` and a list of either. */
function expression(license: unknown): string | null {
  if (typeof license === 'string') return license.trim() || null;
  if (Array.isArray(license)) return license.map(expression).filter(Boolean).join(' OR ') || null;
  return typeof license === 'object' && license !== null && 'type' in license
    ? expression(license.type)
    : null;
}

/**
 * The hash of all files of a package, in the order of their paths, read in pieces: a package may be larger than
 * memory. Packages nested in this one are packages of their own.
 */
export async function hashFiles(directory: string, signal?: AbortSignal): Promise<Contents> {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  let bytes = 0;
  const files = await filesBelow(directory);
  for (const { path, link } of files) {
    hash.update(`${path}\0`);
    // What a link points to is no part of the package; where it points is.
    if (link) hash.update(await readlink(join(directory, path)));
    else
      for await (const chunk of pieces(join(directory, path), piece)) {
        signal?.throwIfAborted();
        hash.update(chunk);
        bytes += chunk.length;
      }
    hash.update('\0');
  }
  return { files: files.length, bytes, sha256: hash.digest('hex') };
}

const PIECE_BYTES = 256 * 1024;

/** A file's contents, piece after piece in the same buffer. */
async function* pieces(file: string, buffer: Buffer): AsyncGenerator<Buffer> {
  const handle = await open(file);
  try {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

async function filesBelow(directory: string): Promise<{ path: string; link: boolean }[]> {
  const files: { path: string; link: boolean }[] = [];
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(directory, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) {
        if (path !== 'node_modules') await visit(path);
      } else files.push({ path, link: entry.isSymbolicLink() });
    }
  };
  await visit('');
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * A licence counts when it is declared and its text, which nearly every licence asks to be kept, is there and
 * says the same.
 */
export async function detectLicence(directory: string, declared: string | null): Promise<Licence> {
  const found = licencesIn(await licenceText(directory));
  const licence = declared ?? 'none';
  const confirmed = licence.split(/[()\s]+/).some((word) => found.includes(word));
  const verdict = confirmed ? classify(licence) : 'unknown';
  if (verdict === 'permissive') return { licence, verdict, doubt: null };
  const text = found.length === 0 ? 'no licence text' : `text says ${found.join(' and ')}`;
  return { licence, verdict, doubt: confirmed ? verdict : text };
}

/** The reviewer's own rule: what it decides, and what it leaves until it is escalated to the lead. */
export function approverOf(id: string): Approver {
  return Number.parseInt(sha256(id).slice(0, 2), 16) % 2 === 0 ? 'reviewer' : 'lead';
}

const TEXT_MAX = 256 * 1024;

async function licenceText(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) =>
    /^(un)?licen[cs]e|^copying/i.test(name),
  );
  let text = '';
  for (const name of names.sort()) {
    const file = await open(join(directory, name));
    try {
      if (!(await file.stat()).isFile()) continue;
      const { buffer, bytesRead } = await file.read(Buffer.alloc(TEXT_MAX));
      text += `${buffer.toString('utf8', 0, bytesRead)}\n`;
    } finally {
      await file.close();
    }
  }
  return text.replace(/\s+/g, ' ');
}

/** Words only that licence has. */
const TEXTS: [licence: string, words: RegExp][] = [
  ['MIT', /Permission is hereby granted, free of charge, to any person obtaining/i],
  [
    'ISC',
    /Permission to use, copy, modify,? and\/?(or)? ?distribute this software for any purpose/i,
  ],
  [
    'BSD-3-Clause',
    /Redistribution and use in source and binary forms.*\b(Neither|endorse or promote)\b/i,
  ],
  ['BSD-2-Clause', /Redistribution and use in source and binary forms/i],
  ['Apache-2.0', /Apache License,? Version 2\.0/i],
  ['MPL-2.0', /Mozilla Public License,? Version 2\.0/i],
  ['BlueOak-1.0.0', /Blue Oak Model License/i],
  ['Unlicense', /free and unencumbered software released into the public domain/i],
  ['AGPL-3.0', /GNU AFFERO GENERAL PUBLIC LICENSE/i],
  ['LGPL-3.0', /GNU LESSER GENERAL PUBLIC LICENSE/i],
  ['GPL-3.0', /GNU GENERAL PUBLIC LICENSE/i],
];

const licencesIn = (text: string) =>
  TEXTS.filter(([, words]) => words.test(text)).map(([licence]) => licence);

const PERMISSIVE =
  /^(MIT(-0)?|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0|Unlicense|BlueOak-1\.0\.0|CC0-1\.0)$/;
const COPYLEFT = /^([AL]?GPL|MPL|EPL|CDDL|EUPL)-/;

/** `A OR B` is the kinder of the two, `A AND B` the stricter. */
export function classify(licence: string): Verdict {
  const one = (name: string) =>
    PERMISSIVE.test(name) ? 0 : COPYLEFT.test(name) ? 1 : VERDICTS.length - 1;
  const alternatives = licence.replace(/[()]/g, '').split(/\s+OR\s+/);
  const strictness = alternatives.map((all) => Math.max(...all.split(/\s+AND\s+/).map(one)));
  return VERDICTS[Math.min(...strictness)] as Verdict;
}

const VERDICTS: Verdict[] = ['permissive', 'copyleft', 'unknown'];

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
