import { Worker } from 'node:worker_threads';
import type { ChartMachine } from '../actors/chart.ts';
import { invariant } from '../errors.ts';

/** A machine as it is drawn: from top to bottom, and from left to right. Pages take what fits them better. */
export interface Layout {
  down: Drawing;
  right: Drawing;
}

/** Positions are absolute, in pixels. */
export interface Drawing {
  width: number;
  height: number;
  /** Outer ones first. */
  states: DrawnState[];
  edges: DrawnEdge[];
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface DrawnState extends Box {
  id: string;
}

export interface DrawnEdge {
  /** `ChartEdge.id`, or `initial:` and the state's. */
  id: string;
  /** Its position among the edges of its state: two may have the same id, told apart by their guards. */
  position: number;
  source: string;
  points: { x: number; y: number }[];
  label?: Box;
}

/** A machine with thousands of states would keep a core busy for longer than anybody waits, ms. */
const LAYOUT_MAX_MS = 20_000;

/**
 * Lays a machine out, in a thread of its own: it is a second of work for a large one, and whoever serves the page may be
 * a node.
 * @throws Error when it takes too long
 */
export function layOut(machine: ChartMachine): Promise<Layout> {
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const worker = new Worker(new URL(`./layoutWorker${extension}`, import.meta.url), {
    workerData: machine,
  });
  worker.unref();
  return new Promise<Layout>((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`no layout of ${machine.id} within ${LAYOUT_MAX_MS} ms`)),
      LAYOUT_MAX_MS,
    );
    worker.once('message', (layout: Layout) => resolve(layout));
    worker.once('error', reject);
    worker.once('exit', (code) => {
      clearTimeout(late);
      reject(new Error(`the layout of ${machine.id} ended with code ${code}`));
    });
  }).finally(() => worker.terminate());
}

/** Where a browser library's file is: beside us once built, in the packages of a checkout. */
export function vendored(name: string, inPackage: string): URL {
  const built = import.meta.url.endsWith('.js');
  const url = built
    ? new URL(`./vendor/${name}`, import.meta.url)
    : new URL(import.meta.resolve(inPackage));
  invariant(url.protocol === 'file:', `${name} is a file`);
  return url;
}
