import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of its own, in memory, that can be filled up. Needs root, or sudo without a password. */
export interface SmallDisk {
  readonly dir: string;
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives back what `fill` took. */
  free(): void;
  /** Whatever uses it must have ended. */
  close(): void;
}

export function openSmallDisk(megabytes: number): SmallDisk {
  const dir = mkdtempSync(join(tmpdir(), 'perdure-disk-'));
  asRoot(
    'mount',
    '-t',
    'tmpfs',
    '-o',
    `size=${megabytes}m,mode=0755,uid=${process.getuid?.()}`,
    'perdure',
    dir,
  );
  // Postgres may run as another user, who must be able to enter.
  chmodSync(dir, 0o755);
  const ballast = join(dir, 'ballast');
  return {
    dir,
    fill() {
      const file = openSync(ballast, 'a');
      try {
        // Large pieces first; what is left at the end is less than a page.
        for (const size of [1 << 20, 4096, 1])
          try {
            for (const piece = Buffer.alloc(size, 1); ; ) writeSync(file, piece);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
          }
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast, { force: true }),
    close() {
      asRoot('umount', dir);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function asRoot(command: string, ...args: string[]): void {
  if (process.getuid?.() === 0) execFileSync(command, args);
  else execFileSync('sudo', ['-n', command, ...args]);
}
