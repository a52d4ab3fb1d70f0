import type { AnyMachineSnapshot } from 'xstate';
import { parse } from './codec.ts';
import type { ActorType } from './define.ts';
import type { Envelope } from './envelope.ts';
import type { Step } from './step.ts';

/** Event type of the transition that ends a child machine whose parent's new version has it no more. */
export const ABANDON = 'perdure.abandon';

/**
 * Ends an actor whose machine nobody has any more: it stays as it was written, and stopped. Pure as any step (P1).
 * `seq` is the number of its last transition.
 */
export function abandonStep(type: ActorType, seq: number, envelope: string): Step {
  const stored = JSON.parse(envelope) as Envelope;
  const { path = [], book } = stored;
  const snapshot = { ...stored.snapshot, children: {}, status: 'stopped' };
  const { machines: _gone, trace: _kept, ...kept } = stored;
  const written = JSON.stringify({
    ...kept,
    version: type.version,
    started: {},
    timers: {},
    snapshot,
  });
  const live = parse(written) as Envelope;
  return {
    live: {
      snapshot: live.snapshot as unknown as AnyMachineSnapshot,
      seq: seq + 1,
      book,
      started: {},
      timers: {},
      machines: {},
      path,
      envelope: written,
    },
    status: 'stopped',
    state: JSON.stringify((snapshot as { value?: unknown }).value ?? null),
    tags: '[]',
    output: null,
    error: null,
    envelope: written,
    edges: '[]',
    effects: [],
    timersArmed: [],
    timersDropped: Object.keys(stored.timers),
    messages: [],
    kin: [],
  };
}
