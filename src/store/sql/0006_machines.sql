-- What the machines of every version look like, so that whoever looks at actors needs none of their code.

-- Written by nodes when they start; kept, since actors and histories outlive the code.
CREATE TABLE machine (
  type        text        COLLATE "C" NOT NULL,
  version     text        COLLATE "C" NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  definition  text        NOT NULL,
  PRIMARY KEY (type, version)
);

-- Those people look for first, among all that went well. Of others it holds nothing; that `status` decides costs the one
-- update that ends an actor its place beside the old row, which most have lost already because something ran (`busy`).
CREATE INDEX actor_failed ON actor (type, id) WHERE status = 'error';

CREATE VIEW machines AS
  SELECT type, version, definition::json AS definition, recorded_at FROM machine;
