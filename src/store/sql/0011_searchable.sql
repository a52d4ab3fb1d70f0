-- Fields of their input that actors can be found by, of types that say so.

-- Written by the commit that creates the actor, once; nothing for types that mark no field. The key is the question: who
-- has this value, in the order in which pages of actors go on.
CREATE TABLE searchable (
  field text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  type  text COLLATE "C" NOT NULL,
  id    text COLLATE "C" NOT NULL,
  PRIMARY KEY (field, value, type, id)
);

CREATE VIEW searchable_fields AS
  SELECT type, id, field, value FROM searchable;
