-- The events of each tag. A tag is its FNV-1a hash of 64 bits; its text is in the
-- metadata of the event.

CREATE TABLE IF NOT EXISTS evento_tag (
  tag      BIGINT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (tag, position)
) ENGINE=InnoDB;
