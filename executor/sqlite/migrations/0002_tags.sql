-- The events of each tag. A tag is its FNV-1a hash of 64 bits; its text is in the
-- metadata of the event.

CREATE TABLE evento_tag (
  tag      INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;
