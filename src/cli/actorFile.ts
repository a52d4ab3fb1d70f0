import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type ActorType, isActorType } from '../actors/define.ts';
import { asError, PerdureError } from '../errors.ts';

/**
 * Imports a user's file and returns every actor type it exports, by whatever name; the default export may be
 * an array of them.
 *
 * @throws PerdureError `bad_options` when there is no such file, it does not load, or it exports none
 */
export async function loadActorTypes(file: string): Promise<ActorType[]> {
  const exported = await importFile(file);
  const values = Object.values(exported).flat();
  const types = [...new Set(values.filter(isActorType))];
  if (types.length > 0) return types;
  const names = Object.keys(exported);
  const foreign = values.some(looksLikeActorType)
    ? ' What looks like one was made by another copy of perdure: use the perdure installed in the project.'
    : '';
  throw new PerdureError(
    'bad_options',
    `${file} exports no actor type made by defineActor; it exports ${names.join(', ') || 'nothing'}.${foreign}`,
  );
}

/**
 * Lets `import … from 'perdure'` in the user's file mean the very copy that runs it: a global CLI over a local
 * install works, and so do the examples in a checkout, as printed.
 */
function shareThisCopy(): void {
  const url = new URL(`../index${extname(import.meta.url)}`, import.meta.url).href;
  // Node before 22.15 has no such hooks; there the project's own copy is used.
  nodeModule.registerHooks?.({
    resolve: (specifier, context, next) =>
      specifier === 'perdure' ? { url, shortCircuit: true } : next(specifier, context),
  });
}

/** What a file of the user's exports. @throws PerdureError `bad_options` */
export async function importFile(file: string): Promise<Record<string, unknown>> {
  const path = resolve(file);
  if (!existsSync(path)) throw new PerdureError('bad_options', `There is no file ${file}.`);
  shareThisCopy();
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (thrown) {
    // A definition that was refused says what is wrong better than we could.
    if (thrown instanceof PerdureError) throw thrown;
    const error = asError(thrown);
    if ((error as { code?: string }).code === 'ERR_UNKNOWN_FILE_EXTENSION')
      throw new PerdureError(
        'bad_options',
        `Node ${process.version} does not run ${file}. TypeScript needs Node 22.18 or newer, or a compiled .js file.`,
        { cause: error },
      );
    throw new PerdureError('bad_options', `${file} does not load: ${withPlace(error)}`, {
      cause: error,
    });
  }
}

/** The error with where it happened, without Node's own insides. */
function withPlace(error: Error): string {
  const lines = (error.stack ?? String(error)).split('\n');
  return lines.filter((line) => !/^\s+at .*node:internal/.test(line)).join('\n');
}

const looksLikeActorType = (value: unknown) =>
  typeof value === 'object' && value !== null && 'name' in value && 'machine' in value;
