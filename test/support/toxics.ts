/** Bytes under way, and when they were read: ms, `performance.now`. */
export interface Chunk {
  readonly data: Buffer;
  readonly at: number;
}

export type Attributes = Readonly<Record<string, number>>;

/** One direction of one connection, as the toxic at work on it sees it. */
export interface Pipe {
  /** Passes bytes on; resolves when there is room for more. */
  emit(chunk: Chunk): void | Promise<void>;
  /** Resolves false as soon as the toxic is changed or removed, or the connection is over. */
  sleep(ms: number): Promise<boolean>;
  /** Ends this direction; whatever comes later is lost. */
  close(): void;
  /** The toxic's own count for this connection. */
  tally: number;
}

/** What a kind of toxic does to the bytes. Nothing is ever reordered, and what a removed toxic held is passed on. */
export interface ToxicKind {
  /** Its attributes with the values they have when nobody gives them. */
  readonly attributes: Attributes;
  /** Chunks it may hold before the sender has to wait. Default 0. */
  readonly holds?: number;
  start?(pipe: Pipe, attributes: Attributes): void;
  pass(chunk: Chunk, pipe: Pipe, attributes: Attributes): void | Promise<void>;
  /** The sender has closed. The direction ends when this is over. */
  end?(pipe: Pipe, attributes: Attributes): void | Promise<void>;
  removed?(pipe: Pipe): void;
}

/** At a low rate a chunk goes out in pieces, one every so many ms. */
const PIECE_MS = 100;

/** Every toxic of toxiproxy 2.x, by the names of its API. Source: Shopify/toxiproxy, README.md and toxics/. */
export const toxicKinds: Readonly<Record<string, ToxicKind>> = {
  noop: {
    attributes: {},
    pass: (chunk, pipe) => pipe.emit(chunk),
  },

  latency: {
    attributes: { latency: 0, jitter: 0 },
    holds: 1024,
    async pass(chunk, pipe, { latency = 0, jitter = 0 }) {
      const due = chunk.at + latency + jitter * (2 * Math.random() - 1);
      const wait = due - performance.now();
      const slept = wait <= 0 || (await pipe.sleep(wait));
      // A second latency counts from when this one is over.
      await pipe.emit(slept ? { data: chunk.data, at: Math.max(due, chunk.at) } : chunk);
    },
  },

  bandwidth: {
    attributes: { rate: 0 },
    /** The tally is the time in ms that the bytes so far have not yet paid for. */
    async pass({ data, at }, pipe, { rate = 0 }) {
      if (rate <= 0) {
        await pipe.sleep(Number.POSITIVE_INFINITY);
        return pipe.emit({ data, at });
      }
      const piece = rate * PIECE_MS;
      pipe.tally += data.length / rate;
      for (; data.length > piece; data = data.subarray(piece)) {
        if (!(await owed(pipe, PIECE_MS))) return pipe.emit({ data, at });
        await pipe.emit({ data: data.subarray(0, piece), at });
      }
      await owed(pipe, pipe.tally);
      await pipe.emit({ data, at });
    },
  },

  slow_close: {
    attributes: { delay: 0 },
    pass: (chunk, pipe) => pipe.emit(chunk),
    async end(pipe, { delay = 0 }) {
      await pipe.sleep(delay);
    },
  },

  timeout: {
    attributes: { timeout: 0 },
    start: expire,
    // It swallows the bytes and does not stop reading: a sender never notices a full socket.
    pass: (_chunk, pipe, attributes) => expire(pipe, attributes),
    // There is a hole in the stream now; nobody may read on after it.
    removed: (pipe) => pipe.close(),
  },

  reset_peer: {
    attributes: { timeout: 0 },
    async pass(_chunk, pipe, { timeout = 0 }) {
      await pipe.sleep(timeout);
      pipe.close();
    },
    async end(pipe, { timeout = 0 }) {
      await pipe.sleep(timeout);
    },
  },

  slicer: {
    attributes: { average_size: 0, size_variation: 0, delay: 0 },
    /** The tally is the delay in ms that is due: a timer cannot wait for microseconds. */
    async pass({ data, at }, pipe, { average_size = 0, size_variation = 0, delay = 0 }) {
      let rest = data;
      for (const size of slices(data.length, Math.max(1, average_size), size_variation)) {
        await pipe.emit({ data: rest.subarray(0, size), at });
        rest = rest.subarray(size);
        pipe.tally += delay / 1_000;
        if (pipe.tally >= 1 && !(await owed(pipe, pipe.tally))) break;
      }
      if (rest.length > 0) await pipe.emit({ data: rest, at });
    },
  },

  limit_data: {
    attributes: { bytes: 0 },
    /** The tally is the number of bytes let through. */
    async pass({ data, at }, pipe, { bytes = 0 }) {
      const part = data.subarray(0, Math.max(0, bytes - pipe.tally));
      pipe.tally += part.length;
      if (part.length > 0) await pipe.emit({ data: part, at });
      if (pipe.tally >= bytes) pipe.close();
    },
  },
};

/** Sleeps `ms` of what the tally owes, and takes off how long it really was. */
async function owed(pipe: Pipe, ms: number): Promise<boolean> {
  if (ms <= 0) return true;
  const from = performance.now();
  const slept = await pipe.sleep(ms);
  pipe.tally -= performance.now() - from;
  return slept;
}

/** Closes after `timeout` without a byte; the tally tells the latest call. 0 never closes. */
function expire(pipe: Pipe, { timeout = 0 }: Attributes): void {
  const latest = ++pipe.tally;
  if (timeout > 0)
    void pipe.sleep(timeout).then((slept) => {
      if (slept && pipe.tally === latest) pipe.close();
    });
}

/** Halves until the pieces are about as large as they shall be, so that no end of the bytes has the small ones. */
function slices(length: number, average: number, variation: number): number[] {
  if (length <= 1 || length - average <= variation) return [length];
  const half = Math.floor(length / 2 + variation * (2 * Math.random() - 1));
  const left = Math.min(Math.max(1, half), length - 1);
  return [...slices(left, average, variation), ...slices(length - left, average, variation)];
}
