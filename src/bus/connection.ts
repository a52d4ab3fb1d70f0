import { readFileSync } from 'node:fs';
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import { atMost, backoff, type Clock, sleep } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { Posts } from './wire.ts';

export interface ConnectionSettings {
  /** `nats://user:password@host:4222`, `tls://…`, several separated by commas. A user without password is a token. */
  natsUrl: string;
  /** File with a user JWT and its key, read again at every reconnect. */
  credentialsFile?: string;
  /** Name shown in the server's connection list. */
  name?: string;
  clock: Clock;
  log: Logger;
  /** Stops waiting for a server that was never reached. */
  signal?: AbortSignal;
  /** Told why, after each try to reach a server for the first time. */
  onWaiting?: (reason: string) => void;
}

/** Whether NATS can be used now. A breaker: `closed` works, `open` waits for its next try, `half-open` tries. */
export interface ConnectionHealth {
  state: 'closed' | 'open' | 'half-open';
  /** Since when it works, or does not: wall time, ms since 1970. */
  since: number;
  /** The last trouble with the connection; null when there was none. */
  error: string | null;
  /** How often it came back. */
  reconnects: number;
}

/** Between two tries to reach a server, ms: at least, and how much chance adds. */
const RETRY_MS = 250;
const RETRY_JITTER_MS = 250;

/** While nothing answers, a line about it is logged this often, ms. */
const WAITING_LOG_MS = 5_000;
/** A stale socket that has not closed by itself after this is destroyed, ms. */
const STALE_GRACE_MS = 250;

/** What a subscription hears; a permission error ends it. */
type OnMessage = (error: Error | null, message: Msg) => void;

/**
 * One supervised connection to NATS that never gives up. The client's own defaults close it for good after
 * 20 s, and notice a silent cut only after 6 minutes.
 */
export class Connection {
  readonly #settings: ConnectionSettings;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #subscriptions = new Set<{ open(): void }>();
  readonly #posts = new Posts();
  #nc: NatsConnection;
  #connected = true;
  #closing = false;
  readonly #health: ConnectionHealth;

  /** Use `openConnection`. */
  constructor(settings: ConnectionSettings, nc: NatsConnection) {
    this.#settings = settings;
    this.#nc = nc;
    this.#health = { state: 'closed', since: settings.clock.now(), error: null, reconnects: 0 };
    this.#supervise(nc);
  }

  get health(): Readonly<ConnectionHealth> {
    return this.#health;
  }

  /** A try has failed, or there was none yet: the next one comes later. */
  rests(): void {
    if (!this.#connected) this.#health.state = 'open';
  }

  /** The client's connection. Ask for it each time: another may take its place. */
  get nc(): NatsConnection {
    return this.#nc;
  }

  /** Publishes a small thing that nobody waits for; it may wait for others of the same go. Nothing while disconnected. */
  post(subject: string, body: string | Uint8Array): void {
    if (this.#connected) this.#posts.post(this.#nc, subject, body);
  }

  /** What is published while this is false is lost. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Calls `listener` whenever the connection is lost or back. Returns the way to stop. */
  onChange(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves true once connected, false when `waitMs` have passed first. */
  async whenConnected(waitMs: number): Promise<boolean> {
    if (this.#connected || this.#closing) return this.#connected;
    const back = new AbortController();
    const stop = this.onChange(() => back.abort());
    await sleep(this.#settings.clock, waitMs, back.signal);
    stop();
    return this.#connected;
  }

  /** Subscribes for as long as this connection lives, through every reconnect. Returns the way to stop. */
  subscribe(subject: string, callback: OnMessage, queue?: string): () => void {
    let current: Subscription | undefined;
    const entry = {
      open: () => {
        current = this.#nc.subscribe(
          subject,
          queue === undefined ? { callback } : { callback, queue },
        );
      },
    };
    if (!this.#closing) entry.open();
    this.#subscriptions.add(entry);
    return () => {
      this.#subscriptions.delete(entry);
      current?.unsubscribe();
    };
  }

  /** Sends what is buffered and closes; gives up waiting after 2 s. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#posts.flush();
    const { clock } = this.#settings;
    const nc = this.#nc;
    if (this.#connected) await atMost(clock, 2_000, nc.drain());
    if (!nc.isClosed()) await atMost(clock, 1_000, nc.close());
    this.#changed(false);
  }

  #changed(connected: boolean) {
    if (this.#connected === connected) return;
    this.#connected = connected;
    this.#health.state = connected ? 'closed' : 'open';
    this.#health.since = this.#settings.clock.now();
    if (connected) this.#health.reconnects++;
    for (const listener of [...this.#listeners]) listener(connected);
  }

  async #supervise(nc: NatsConnection) {
    const { log, natsUrl, clock } = this.#settings;
    const server = withoutSecrets(natsUrl);
    let lastLine = 0;
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') {
        if (this.#connected && !this.#closing) log.warn({ server }, 'NATS connection lost');
        lastLine = clock.monotonic();
        if (this.#connected) this.#health.error = 'connection lost';
        this.#changed(false);
      } else if (status.type === 'reconnect') {
        if (!this.#connected) log.info({ server: nc.getServer() }, 'NATS connection is back');
        this.#changed(true);
      } else if (status.type === 'staleConnection') {
        this.#health.error = 'the server did not answer pings';
        this.#changed(false);
        this.#destroyStale(nc);
      } else if (status.type === 'reconnecting') {
        if (!this.#connected) this.#health.state = 'half-open';
        if (clock.monotonic() - lastLine > WAITING_LOG_MS) {
          lastLine = clock.monotonic();
          log.warn({ server }, 'waiting for NATS');
        }
      } else if (status.type === 'error') {
        if (!this.#connected) this.#health.error = status.error.message;
        log.warn({ server, reason: status.error.message }, 'NATS refused something');
      }
    }
    const reason = await nc.closed();
    if (reason) this.#health.error = reason.message;
    this.#changed(false);
    if (this.#closing) return;
    // Not expected with these options; but a node without NATS is useless, so start over.
    log.error({ server, reason: reason?.message }, 'NATS client closed itself; connecting anew');
    await this.#startOver();
  }

  async #startOver() {
    for (;;) {
      try {
        this.#health.state = 'half-open';
        const nc = await firstConnect(this.#settings, () => this.rests());
        this.#nc = nc;
        if (this.#closing) return void (await nc.close());
        for (const subscription of this.#subscriptions) subscription.open();
        this.#supervise(nc);
        this.#changed(true);
        return;
      } catch (thrown) {
        if (this.#closing) return;
        this.#health.state = 'open';
        this.#health.error = asError(thrown).message;
        this.#settings.log.error({ reason: asError(thrown).message }, 'cannot connect to NATS');
        await sleep(this.#settings.clock, 5_000);
      }
    }
  }

  /**
   * The client closes a stale socket only after its buffer has been written, which on a cut line can take
   * the kernel a quarter of an hour. There is no public way to the socket (nats-core 3.4.0,
   * NodeTransport._closed), hence the look inside.
   */
  #destroyStale(nc: NatsConnection) {
    type Inside = { protocol?: { transport?: { socket?: { destroy(): void } } } };
    const transport = (nc as unknown as Inside).protocol?.transport;
    const socket = transport?.socket;
    this.#settings.clock.after(STALE_GRACE_MS, () => {
      if (socket !== undefined && transport?.socket === socket) socket.destroy();
    });
  }
}

/**
 * Connects, waiting for a server as long as it takes.
 * @throws PerdureError `wrong_credentials` at once; `bad_options` for a URL that is none; `bus_unavailable`
 * when `signal` aborts.
 */
export async function openConnection(settings: ConnectionSettings): Promise<Connection> {
  let connection: Connection | undefined;
  const nc = await firstConnect(settings, () => connection?.rests());
  connection = new Connection(settings, nc);
  return connection;
}

/** `onRest`: before each wait between two tries, now and for as long as the client lives. */
async function firstConnect(
  settings: ConnectionSettings,
  onRest: () => void,
): Promise<NatsConnection> {
  const { clock, log, signal } = settings;
  const options = clientOptions(settings, onRest);
  const server = withoutSecrets(settings.natsUrl);
  let lastLine = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await connect(options);
    } catch (thrown) {
      if (
        thrown instanceof errors.AuthorizationError &&
        /authorization violation/i.test(thrown.message)
      )
        throw new PerdureError('wrong_credentials', `NATS at ${server} refused the credentials.`, {
          cause: thrown,
        });
      settings.onWaiting?.(asError(thrown).message);
      onRest();
      if (clock.monotonic() - lastLine > WAITING_LOG_MS) {
        lastLine = clock.monotonic();
        log.warn({ server, reason: asError(thrown).message }, 'waiting for NATS');
      }
    }
    await sleep(clock, retryDelay(clock), signal);
    if (signal?.aborted)
      throw new PerdureError('bus_unavailable', `Gave up waiting for NATS at ${server}.`);
  }
}

const retryDelay = (clock: Clock): number =>
  RETRY_MS + backoff(clock, 1, RETRY_JITTER_MS, RETRY_JITTER_MS);

/** @throws PerdureError `bad_options`. */
export function clientOptions(
  settings: ConnectionSettings,
  onRest: () => void = () => {},
): ConnectionOptions {
  const servers: string[] = [];
  const options: ConnectionOptions = {
    servers,
    maxReconnectAttempts: -1,
    // The client tells when it tries and when it is back, but not when a try has failed: then it asks how long to wait.
    reconnectDelayHandler: () => {
      onRest();
      return retryDelay(settings.clock);
    },
    // A cut line is noticed after 3 intervals, 4.5 s: within the 10 s of G7 with room for the takeover.
    pingInterval: 1_500,
    maxPingOut: 2,
    timeout: 4_000,
    noAsyncTraces: true,
    // Two equal refusals in a row would end the client; credentials may be on their way.
    ignoreAuthErrorAbort: true,
  };
  if (settings.name !== undefined) options.name = settings.name;
  for (const part of settings.natsUrl.split(',')) {
    let url: URL;
    try {
      url = new URL(/^[a-z]+:\/\//i.test(part.trim()) ? part.trim() : `nats://${part.trim()}`);
    } catch {
      throw new PerdureError('bad_options', `${withoutSecrets(part)} is not a NATS URL.`);
    }
    if (!['nats:', 'tls:'].includes(url.protocol))
      throw new PerdureError(
        'bad_options',
        `${withoutSecrets(part)} is not a NATS URL: write nats://host:4222 or tls://host:4222.`,
      );
    // The client ignores what stands before the @.
    if (url.password !== '') {
      options.user = decodeURIComponent(url.username);
      options.pass = decodeURIComponent(url.password);
    } else if (url.username !== '') options.token = decodeURIComponent(url.username);
    if (url.protocol === 'tls:') options.tls = {};
    servers.push(`${url.hostname}:${url.port || '4222'}`);
  }
  const file = settings.credentialsFile;
  if (file !== undefined)
    options.authenticator = (nonce) => credsAuthenticator(readFileSync(file))(nonce);
  return options;
}
