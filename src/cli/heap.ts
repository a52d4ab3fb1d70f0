import v8 from 'node:v8';

/** Measured: 350 MiB at most with a long backlog instead of 430, and CPU within the noise; at 70 a node's statecharts cost 8 % more. */
const GROWING_PERCENT = 150;

/**
 * Has V8 collect once the heap has grown by 150 % since the last time. Left alone it lets garbage lie while the machine has
 * memory to spare, and a node with a long backlog holds a gigabyte for nothing. A limit would do, too, and end the
 * node that really needs more; this is none.
 */
export function keepHeapSmall(): void {
  v8.setFlagsFromString(`--heap-growing-percent=${GROWING_PERCENT}`);
}
