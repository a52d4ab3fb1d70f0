-- The record of what happened. Runs with search_path set to the namespace's schema.
--
-- Three rules shape every table below:
--   * JSON is kept as text: the engine never looks inside, parsing costs CPU on the hot path, and jsonb would
--     refuse the \u0000 that is legal in JSON. The views cast to json for people.
--   * Keys are compared byte by byte (COLLATE "C"): cheaper than a language's rules, and the same everywhere.
--   * Fixed-width columns come first, so that Postgres reads the ones a commit checks without walking the row.

-- What the namespace was created with; a node that disagrees refuses to start.
CREATE TABLE namespace (
  one        boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (one),
  name       text        NOT NULL,
  shards     integer     NOT NULL CHECK (shards BETWEEN 1 AND 4096),
  -- Name and creation time of the stream that every cursor counts in; null until a node has read one.
  log_id     text,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Second half of the advisory lock a node holds for as long as its lease connection lives; the first is node's
-- oid. Unique among incarnations, so a lock that is not in pg_locks means that its holder is gone.
CREATE SEQUENCE node_lock AS integer CYCLE;

CREATE TABLE node (
  node_id    text        COLLATE "C" PRIMARY KEY,
  name       text        NOT NULL,
  host       text        NOT NULL,
  pid        integer     NOT NULL,
  version    text        NOT NULL,
  lock_id    integer     NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Every commit updates the rows of its shards, thousands of times a second: half of a page's room and more stays
-- free, so that new row versions land beside the old ones (HOT) and are pruned without vacuum.
CREATE TABLE shard (
  epoch          bigint  NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  -- Last log sequence whose effect on the shard is committed.
  cursor         bigint  NOT NULL DEFAULT 0 CHECK (cursor >= 0),
  commit_no      bigint  NOT NULL DEFAULT 0 CHECK (commit_no >= 0),
  -- Epoch of the claim since which the owner has not changed. Without it an owner that lost the shard and got it
  -- back could take a stranger's commit number for its own.
  claimed_epoch  bigint  NOT NULL DEFAULT 0,
  -- The owner has nothing to do before this log sequence: an idle shard's cursor stands still although the log
  -- moves on. Only decides what the log may drop; reading always starts at the cursor.
  passed         bigint  NOT NULL DEFAULT 0,
  opened_at      timestamptz,
  shard          integer PRIMARY KEY,
  owner          text    COLLATE "C",
  -- Whom the owner took it from; kept so that a claim whose answer was lost can still say.
  previous_owner text    COLLATE "C"
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE actor (
  seq        bigint      NOT NULL CHECK (seq > 0),
  acted_seq  bigint      NOT NULL,
  epoch      bigint      NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  shard      integer     NOT NULL,
  busy       boolean     NOT NULL,
  status     text        COLLATE "C" NOT NULL CHECK (status IN ('active', 'done', 'error', 'stopped')),
  type       text        COLLATE "C" NOT NULL,
  id         text        COLLATE "C" NOT NULL,
  version    text        NOT NULL,
  state      text        NOT NULL,
  tags       text        NOT NULL,
  output     text,
  error      text,
  retries    text,
  snapshot   text        NOT NULL,
  PRIMARY KEY (type, id)
) WITH (fillfactor = 70);

-- What opening a shard loads.
CREATE INDEX actor_busy ON actor (shard) WHERE busy;

-- Append-only (G2): the primary key is the guard that no bug and no race gets past.
CREATE TABLE transition (
  seq        bigint      NOT NULL CHECK (seq > 0),
  epoch      bigint      NOT NULL,
  at         timestamptz NOT NULL,
  actions    integer     NOT NULL,
  type       text        COLLATE "C" NOT NULL,
  id         text        COLLATE "C" NOT NULL,
  node_id    text        COLLATE "C" NOT NULL,
  event_type text        NOT NULL,
  event_id   text        COLLATE "C",
  origin     text        COLLATE "C" NOT NULL,
  from_state text,
  to_state   text        NOT NULL,
  edges      text        NOT NULL,
  event      text        NOT NULL,
  snapshot   text        NOT NULL,
  PRIMARY KEY (type, id, seq)
);

-- An event is applied once in its actor's life; the owner asks this index, and it has the last word.
CREATE UNIQUE INDEX transition_event ON transition (type, id, event_id) WHERE event_id IS NOT NULL;

CREATE TABLE timer (
  fire_at   timestamptz NOT NULL,
  armed_seq bigint      NOT NULL,
  shard     integer     NOT NULL,
  position  integer     NOT NULL,
  type      text        COLLATE "C" NOT NULL,
  id        text        COLLATE "C" NOT NULL,
  timer_id  text        COLLATE "C" NOT NULL,
  event     text        NOT NULL,
  PRIMARY KEY (type, id, timer_id)
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX timer_due ON timer (shard, fire_at);

-- Committed and not yet known to be applied. Nearly always almost empty, while thousands of rows a second pass
-- through: vacuum by a fixed count, or its dead rows pile up.
CREATE TABLE outbox (
  created_at timestamptz NOT NULL,
  shard      integer     NOT NULL,
  message_id text        COLLATE "C" PRIMARY KEY,
  kind       text        COLLATE "C" NOT NULL CHECK (kind IN ('send', 'outcome')),
  type       text        COLLATE "C" NOT NULL,
  id         text        COLLATE "C" NOT NULL,
  body       text        NOT NULL
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX outbox_shard ON outbox (shard, created_at);

CREATE TABLE dead_letter (
  dead_letter_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at             timestamptz NOT NULL,
  log_seq        bigint      NOT NULL,
  shard          integer     NOT NULL,
  log_id         text        COLLATE "C" NOT NULL,
  reason         text        COLLATE "C" NOT NULL,
  detail         text        NOT NULL,
  subject        text        NOT NULL,
  headers        text        NOT NULL,
  message_id     text        COLLATE "C",
  body           bytea       NOT NULL,
  redriven_at    timestamptz,
  UNIQUE (log_id, log_seq)
);

-- Up to where every shard is done, with the time: the log keeps what is younger than the replay window.
CREATE TABLE log_mark (
  at  timestamptz NOT NULL PRIMARY KEY,
  seq bigint      NOT NULL CHECK (seq >= 0)
);

-- For people and SQL clients. These columns are a public contract; tables may change under them.

CREATE VIEW actors AS
  SELECT type, id, status, state::json AS state, version, seq, shard, epoch,
         ARRAY(SELECT json_array_elements_text(tags::json)) AS tags,
         output::json AS output, error::json AS error, created_at, updated_at
    FROM actor;

CREATE VIEW transitions AS
  SELECT type, id, seq, epoch, node_id, event_type, event::json AS event, event_id,
         from_state::json AS from_state, to_state::json AS to_state, at
    FROM transition;

CREATE VIEW timers AS
  SELECT type, id, timer_id, shard, fire_at, armed_seq, event::json AS event
    FROM timer;

CREATE VIEW dead_letters AS
  SELECT dead_letter_id, reason, detail, subject, headers::json AS headers, message_id,
         octet_length(body) AS bytes, body, log_id, log_seq, shard, at, redriven_at
    FROM dead_letter;

CREATE VIEW shards AS
  SELECT shard, owner, epoch, cursor, commit_no, opened_at
    FROM shard;

-- live: the lease is not over, and the session lock is held.
CREATE VIEW nodes AS
  SELECT node_id, name, host, pid, version, started_at, expires_at,
         expires_at > now() AND EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = 'node'::regclass::oid AND l.objid = n.lock_id::oid) AS live,
         (SELECT count(*)::integer FROM shard s WHERE s.owner = n.node_id) AS shards
    FROM node n;
