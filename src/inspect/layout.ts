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
/** What a layout leaves behind is collected early: the thread is kept for long, and seldom used. */
const YOUNG_MAX_MIB = 8;

let spare: Worker | undefined;

/**
 * Lays a machine out, in a thread of its own: it is a second of work for a large one, and whoever serves the page may be
 * a node. The thread is kept for the next one: to load the library and compile it takes longer than most layouts.
 * @throws Error when it takes longer than 20 s, or the library fails
 */
export async function layOut(machine: ChartMachine): Promise<Layout> {
  const worker = spare ?? startThread();
  spare = undefined;
  try {
    const layout = await answerOf(worker, machine);
    // One is kept; others, drawn at the same time, end.
    if (spare) void worker.terminate();
    else spare = worker;
    return layout;
  } catch (error) {
    void worker.terminate();
    throw error;
  }
}

function answerOf(worker: Worker, machine: ChartMachine): Promise<Layout> {
  return new Promise<Layout>((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(late);
      worker.off('message', done).off('error', failed).off('exit', gone);
      settle();
    };
    const done = (layout: Layout) => end(() => resolve(layout));
    const failed = (error: Error) => end(() => reject(error));
    const gone = (code: number) =>
      failed(new Error(`the layout of ${machine.id} ended with code ${code}`));
    const late = setTimeout(
      () => failed(new Error(`no layout of ${machine.id} within ${LAYOUT_MAX_MS} ms`)),
      LAYOUT_MAX_MS,
    );
    worker.on('message', done).on('error', failed).on('exit', gone);
    worker.postMessage(machine);
  });
}

function startThread(): Worker {
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const worker = new Worker(new URL(`./layoutWorker${extension}`, import.meta.url), {
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MAX_MIB },
  });
  worker.unref();
  // Whoever waits for it hears why; while nobody does, nobody has to.
  worker.on('error', () => {});
  worker.on('exit', () => {
    if (spare === worker) spare = undefined;
  });
  return worker;
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
