import { join } from 'node:path';
import {
  type Audited,
  approverOf,
  detectLicence,
  hashFiles,
  type Package,
  readManifest,
} from './audit.ts';

/** The same audit as one plain loop: what the actors must have found out, whatever happened to them. */
export async function auditSequentially(
  root: string,
  packages: readonly Package[],
): Promise<Map<string, Audited>> {
  const expected = new Map<string, Audited>();
  for (const { id, path } of packages) {
    const directory = join(root, path);
    const manifest = await readManifest(directory);
    const contents = await hashFiles(directory);
    const licence = await detectLicence(directory, manifest.declared);
    const approvedBy = licence.verdict === 'permissive' ? null : approverOf(id);
    expected.set(id, { id, path, ...manifest, ...contents, ...licence, approvedBy });
  }
  return expected;
}
