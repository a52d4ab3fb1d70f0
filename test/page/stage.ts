import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { createClient, type PerdureClient } from '../../src/index.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** What `perdure dev --json` says. */
interface Line {
  natsUrl: string;
  databaseUrl: string;
  inspectUrl: string;
  pids: { dev: number; nodes: number[] };
}

export interface Stage {
  line: Line;
  client: PerdureClient;
  /** Everything a page of ours has complained of, or asked of somebody else. */
  complaints: string[];
  page(options?: BrowserContextOptions): Promise<Page>;
  /** Runs a command of ours until it has printed a line, which is given back. */
  command(args: string[], env?: NodeJS.ProcessEnv): Promise<string>;
  stop(): Promise<void>;
}

/** A real `perdure dev`, and a browser to look at it with. */
export async function setStage(): Promise<Stage> {
  const data = mkdtempSync(join(tmpdir(), 'perdure-page-'));
  chmodSync(data, 0o755);
  const children: ChildProcess[] = [];
  const command = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    new Promise<string>((done, failed) => {
      const child = spawn(process.execPath, ['src/cli/main.ts', ...args, '--data', data], {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...env },
      });
      children.push(child);
      let text = '';
      child.stdout?.on('data', (chunk) => {
        text += chunk;
        if (text.includes('\n')) done(text.slice(0, text.indexOf('\n')));
      });
      child.once('exit', (code) =>
        failed(new Error(`perdure ${args.join(' ')} ended with ${code}`)),
      );
    });
  const actors = 'test/support/pageActors.ts';
  const line = JSON.parse(await command(['dev', actors, '--nodes', '2', '--json'])) as Line;
  const client = createClient({ natsUrl: line.natsUrl });
  const browser = await launch();
  const complaints: string[] = [];
  return {
    line,
    client,
    complaints,
    command,
    async page(options = {}) {
      const context = await browser.newContext({
        viewport: { width: 1440, height: 900 },
        ...options,
      });
      const page = await context.newPage();
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        // The browser itself says so of every answer that is no 200; what was refused is looked at elsewhere.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          complaints.push(message.text());
      });
      page.on('request', (request) => {
        const { hostname } = new URL(request.url());
        if (!['127.0.0.1', ''].includes(hostname)) complaints.push(`asked ${request.url()}`);
      });
      return page;
    },
    async stop() {
      await browser.close();
      await client.close();
      for (const child of children.reverse()) {
        if (child.exitCode !== null) continue;
        const gone = new Promise((done) => child.once('exit', done));
        child.kill('SIGINT');
        await gone;
      }
      rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Debian's, or the one PERDURE_TEST_CHROMIUM names. */
export function launch(): Promise<Browser> {
  const executablePath = process.env.PERDURE_TEST_CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath))
    throw new Error(
      'The page is tested with Chromium: apt-get install chromium, or set PERDURE_TEST_CHROMIUM.',
    );
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}
