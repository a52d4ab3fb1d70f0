import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type NodeProcess, type Place, spawnNode } from '../support/cluster.ts';

/** A place in the cluster: the node in it is killed and replaced, the name stays. */
export interface ChaosNode {
  readonly name: string;
  readonly logFile: string;
  /** The node's id in Postgres, once the process that runs now is ready. */
  readonly nodeId: string | undefined;
  readonly running: boolean;
  /** Resolves with the new node's id when it is ready; when it runs already, with that one's. */
  start(): Promise<string>;
  /** Ends it with the signal, with SIGKILL when it is still there after `graceMs`; tells whether that was needed. */
  stop(signal: 'SIGKILL' | 'SIGTERM', graceMs?: number): Promise<'ended' | 'killed'>;
  /** SIGSTOP or SIGCONT. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Resident memory, bytes; 0 when it does not run. */
  memory(): number;
}

export interface ChaosNodeOptions extends Place {
  name: string;
  /** Exports the actor types. */
  file: string;
  env: Record<string, string>;
  replicas: number;
  logs: string;
  /** Told when it ends although nobody asked it to. */
  ended: (words: string) => void;
}

export function chaosNode(options: ChaosNodeOptions): ChaosNode {
  const { name, logs, ended, ...place } = options;
  mkdirSync(logs, { recursive: true });
  const logFile = join(logs, `${name}.log`);
  let run: NodeProcess | undefined;
  let nodeId: string | undefined;

  function launch(): NodeProcess {
    nodeId = undefined;
    const own = spawnNode({ ...place, name, logFile });
    run = own;
    own.ready.then(
      (id) => {
        if (run === own) nodeId = id;
      },
      () => {},
    );
    void own.exited.then(({ code, signal }) => {
      if (run !== own) return;
      run = undefined;
      nodeId = undefined;
      ended(`${name} ended by itself: ${signal ?? `exit code ${code}`}`);
    });
    return own;
  }

  return {
    name,
    logFile,
    get nodeId() {
      return nodeId;
    },
    get running() {
      return run !== undefined;
    },
    start: () => (run ?? launch()).ready,
    async stop(signal, graceMs = 15_000) {
      const own = run;
      if (!own) return 'ended';
      run = undefined;
      nodeId = undefined;
      own.process.kill(signal);
      if (signal === 'SIGKILL') {
        await own.exited;
        return 'killed';
      }
      const inTime = await Promise.race([
        own.exited.then(() => true),
        pause(graceMs, false, { ref: false }),
      ]);
      if (!inTime) await own.kill('SIGKILL');
      return inTime ? 'ended' : 'killed';
    },
    signal(signal) {
      run?.process.kill(signal);
    },
    memory() {
      try {
        const status = readFileSync(`/proc/${run?.pid}/status`, 'utf8');
        return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
      } catch {
        return 0;
      }
    },
  };
}
