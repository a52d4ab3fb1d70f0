import type { MachineRecord, OtherNodes } from './elsewhere.ts';

/** What a node says of itself. */
export interface NodeInfo {
  /** This incarnation; a restarted process is a new one. */
  nodeId: string;
  /** Name for people. */
  name: string;
  host: string;
  pid: number;
  /** Version of the perdure package. */
  version: string;
  /** What actors it can open; left out: it does not say. */
  opens?: readonly OpenedVersion[];
  /** Its machines, for whoever looks at actors without having their code. */
  machines?: readonly MachineRecord[];
}

/** A version of an actor type that a node can open. */
export interface OpenedVersion {
  type: string;
  version: string;
  /** What the actor is then: the same, or the version it is migrated to. */
  as: string;
}

export interface ShardEpoch {
  shard: number;
  epoch: number;
}

export interface Standing {
  /**
   * Nodes the shards are shared by: those that are not known to be dead, do not drain and reach NATS. When none of
   * them reaches NATS, that counts for nothing.
   */
  sharing: number;
  /** Whether this node is one of them. */
  shares: boolean;
  /** How many other nodes say that they do not reach NATS. */
  cutOff: number;
  /** Shards that nobody owns. */
  free: number;
  /** Other owners that are known to be dead. */
  dead: string[];
  /** What this node owns by the record. */
  owned: OwnedShard[];
  /** The other nodes whose leases run and that do not drain; those that do not say what they open are left out. */
  others: OtherNodes[];
  /** Shards whose owners were asked to open something lately. `fresh`: for less than half of `NEEDS_LAST_MS`. */
  needs: { shard: number; needs: readonly string[]; fresh: boolean }[];
}

export interface OwnedShard extends ShardEpoch {
  /** Number of the last commit that is recorded. */
  commitNo: number;
}

export interface OpenedShard extends ShardEpoch {
  /** Last log sequence whose effect on the shard is committed. */
  cursor: number;
  /** Number of the shard's last landed commit. */
  commitNo: number;
  /** Owner before this claim, when it was taken from somebody (or from an earlier incarnation). */
  previousOwner: string | null;
  /** Owners that died one after the other without the cursor having got on. */
  crashes: number;
  /** The message that was being tried alone when the last one died. */
  suspectSeq: number | null;
}
