/** The audit as actors: one `package` for each installed package, and one `reviewer` for all of them. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AnyActorRef, assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import {
  type Approver,
  type Audited,
  approverOf,
  type Contents,
  detectLicence,
  hashFiles,
  type Licence,
  type Manifest,
  type Package,
  readManifest,
} from './audit.ts';

export const REVIEWER = 'legal';
/** How long a package waits for the reviewer before it goes to the lead. */
const ESCALATE_AFTER_MS = 3_000;

export interface PackageInput extends Package {
  /** The `node_modules` that is audited. */
  root: string;
}

type PackageEvent = { type: 'APPROVE'; by: Approver };
type ReviewerEvent = { type: 'REVIEW'; id: string } | { type: 'ESCALATE'; id: string };

const machine = setup({
  types: {
    input: {} as PackageInput,
    context: {} as PackageInput &
      Partial<Manifest & Contents & Licence> & { approvedBy: Approver | null },
    events: {} as PackageEvent,
    output: {} as Audited,
  },
  actors: {
    read: fromPromise<Manifest, string>(({ input, self }) => {
      journal(self);
      return readManifest(input);
    }),
    hash: fromPromise<Contents, string>(({ input, self, signal }) => {
      journal(self);
      return hashFiles(input, signal);
    }),
    detect: fromPromise<Licence, { directory: string; declared: string | null }>(
      ({ input, self }) => {
        journal(self);
        return detectLicence(input.directory, input.declared);
      },
    ),
  },
  guards: { permissive: ({ context }) => context.verdict === 'permissive' },
  actions: {
    ask: sendTo(
      () => actorAddress<ReviewerEvent>('reviewer', REVIEWER),
      ({ context }) => ({ type: 'REVIEW', id: context.id }),
    ),
    escalate: sendTo(
      () => actorAddress<ReviewerEvent>('reviewer', REVIEWER),
      ({ context }) => ({ type: 'ESCALATE', id: context.id }),
    ),
  },
}).createMachine({
  context: ({ input }) => ({ ...input, approvedBy: null }),
  initial: 'reading',
  states: {
    reading: {
      invoke: {
        src: 'read',
        input: ({ context }) => join(context.root, context.path),
        onDone: { target: 'hashing', actions: assign(({ event }) => event.output) },
      },
    },
    hashing: {
      invoke: {
        src: 'hash',
        input: ({ context }) => join(context.root, context.path),
        onDone: { target: 'licensing', actions: assign(({ event }) => event.output) },
      },
    },
    licensing: {
      invoke: {
        src: 'detect',
        input: ({ context }) => ({
          directory: join(context.root, context.path),
          declared: context.declared ?? null,
        }),
        onDone: { target: 'judged', actions: assign(({ event }) => event.output) },
      },
    },
    judged: { always: [{ guard: 'permissive', target: 'finished' }, { target: 'approval' }] },
    approval: {
      initial: 'asked',
      states: {
        asked: { entry: 'ask', after: { [ESCALATE_AFTER_MS]: 'escalated' } },
        escalated: { entry: 'escalate' },
      },
      on: {
        APPROVE: { target: 'finished', actions: assign(({ event }) => ({ approvedBy: event.by })) },
      },
    },
    finished: { type: 'final' },
  },
  output: ({ context: { root: _, ...audited } }) => audited as Audited,
});

/**
 * Approves what it can decide at once, and the rest only when that is escalated. What it has approved already it
 * does not approve again when the answer was late: each package gets one APPROVE.
 */
const reviewerMachine = setup({
  types: {
    context: {} as { reviewed: number },
    events: {} as ReviewerEvent,
  },
  guards: {
    decides: (_, { id, as }: { id: string; as: Approver }) => approverOf(id) === as,
  },
  actions: {
    count: assign({ reviewed: ({ context }) => context.reviewed + 1 }),
    approve: sendTo(
      (_, { id }: { id: string; by: Approver }) => actorAddress<PackageEvent>('package', id),
      (_, { by }) => ({ type: 'APPROVE', by }),
    ),
  },
}).createMachine({
  context: { reviewed: 0 },
  on: {
    REVIEW: [
      {
        guard: { type: 'decides', params: ({ event }) => ({ id: event.id, as: 'reviewer' }) },
        actions: [
          'count',
          { type: 'approve', params: ({ event }) => ({ id: event.id, by: 'reviewer' }) },
        ],
      },
      { actions: 'count' },
    ],
    ESCALATE: {
      guard: { type: 'decides', params: ({ event }) => ({ id: event.id, as: 'lead' }) },
      actions: { type: 'approve', params: ({ event }) => ({ id: event.id, by: 'lead' }) },
    },
  },
});

export const packageType = defineActor('package', { machine, retry: { '*': { attempts: 3 } } });
export const reviewerType = defineActor('reviewer', { machine: reviewerMachine });

/**
 * Writes down that this invoke runs, in the file AUDIT_JOURNAL names: the demo's witness, outside of Perdure, of
 * what really ran and how often.
 */
function journal(self: AnyActorRef): void {
  const file = process.env.AUDIT_JOURNAL;
  if (file === undefined) return;
  const { idempotencyKey, attempt } = invocation(self);
  appendFileSync(file, `${JSON.stringify({ key: idempotencyKey, attempt, pid: process.pid })}\n`);
}
