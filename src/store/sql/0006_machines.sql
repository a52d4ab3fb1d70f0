-- What the machines of every version look like, so that whoever looks at actors needs none of their code.

-- Written by nodes when they start; kept, since actors and histories outlive the code.
CREATE TABLE machine (
  type        text        COLLATE "C" NOT NULL,
  version     text        COLLATE "C" NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  definition  text        NOT NULL,
  PRIMARY KEY (type, version)
);

-- Those people look for first, among all that went well. It goes by `error` and not by `status`: that is null before and
-- after all updates of an actor that goes well, so that none of them loses its place beside the old row (HOT).
CREATE INDEX actor_failed ON actor (type, id) WHERE error IS NOT NULL;

CREATE VIEW machines AS
  SELECT type, version, definition::json AS definition, recorded_at FROM machine;
