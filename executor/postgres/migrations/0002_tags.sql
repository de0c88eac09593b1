-- The events of each tag. A tag is its FNV-1a hash of 64 bits; its text is in the
-- metadata of the event.

CREATE TABLE SCHEMA.event_tag (
  tag      bigint NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (tag, position)
);
