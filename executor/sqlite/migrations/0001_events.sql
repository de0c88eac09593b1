-- Events, their dictionaries, records and snapshots.
-- Format notes: docs/formats.md.

CREATE TABLE evento_store (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  identity BLOB NOT NULL CHECK (length(identity) = 16),
  again    BLOB NOT NULL -- the same, to tell damage
) STRICT;
-- Cursors carry this identity, so that those of another store are refused.
INSERT INTO evento_store (id, identity, again) WITH new AS MATERIALIZED (SELECT randomblob(16) AS id) SELECT 1, id, id FROM new;

CREATE TABLE evento_type (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE evento_kind (
  id      INTEGER PRIMARY KEY,
  type_id INTEGER NOT NULL,
  name    TEXT NOT NULL,
  UNIQUE (type_id, name)
) STRICT;

CREATE TABLE evento_routing (
  id  INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE
) STRICT;

-- An aggregate's routing key is that of its first event, hence kept here.
CREATE TABLE evento_aggregate (
  key        INTEGER PRIMARY KEY,
  type_id    INTEGER NOT NULL,
  id         TEXT NOT NULL,
  routing_id INTEGER,
  UNIQUE (type_id, id)
) STRICT;

-- Columns that filters look at come before those that may be large. Checksums, here and
-- below, are a CRC-32C of the other columns (docs/formats.md). What was written by hand
-- has none.
CREATE TABLE evento_event (
  position    INTEGER PRIMARY KEY,
  agg_key     INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  kind_id     INTEGER NOT NULL,
  routing_id  INTEGER,
  event_id    BLOB NOT NULL,
  recorded_at INTEGER NOT NULL, -- microseconds since 1970, UTC
  codec       TEXT NOT NULL,
  checksum    INTEGER,
  data        BLOB NOT NULL,
  metadata    TEXT              -- JSON; NULL: none
) STRICT;
CREATE UNIQUE INDEX evento_event_aggregate ON evento_event (agg_key, version);
CREATE INDEX evento_event_kind ON evento_event (kind_id);
CREATE INDEX evento_event_routing ON evento_event (routing_id) WHERE routing_id IS NOT NULL;

-- Events are immutable, for a hand at the sqlite3 shell too.
CREATE TRIGGER evento_event_update BEFORE UPDATE ON evento_event
BEGIN SELECT raise(ABORT, 'evento: events are immutable'); END;
CREATE TRIGGER evento_event_delete BEFORE DELETE ON evento_event
BEGIN SELECT raise(ABORT, 'evento: events are immutable'); END;

-- What subscriptions keep: small values that are compared and swapped.
CREATE TABLE evento_record (
  kind       TEXT NOT NULL,
  key        TEXT NOT NULL,
  part       TEXT NOT NULL,
  revision   INTEGER NOT NULL,
  changed_at INTEGER NOT NULL, -- microseconds since 1970, UTC
  checksum   INTEGER,
  value      BLOB NOT NULL,
  PRIMARY KEY (kind, key, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE evento_snapshot (
  projection TEXT NOT NULL,
  revision   INTEGER NOT NULL,
  variant    TEXT NOT NULL,
  type       TEXT NOT NULL,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  cursor     TEXT NOT NULL,
  checksum   INTEGER,
  data       BLOB NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (projection, revision, variant, type, id)
) STRICT;

-- For people: the events in words. An id is written as a ULID: 26 characters of 5 bits
-- each, the first two of which are 0, from two hexadecimal digits that have them.
CREATE VIEW evento_events AS
SELECT e.position,
       t.name AS aggregate_type,
       a.id AS aggregate_id,
       e.version,
       k.name,
       r.key AS routing_key,
       strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch') ||
         printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
       (WITH RECURSIVE ulid (n, text) AS (
          SELECT 0, ''
          UNION ALL
          SELECT n + 1, text || substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 +
            ((instr('123456789ABCDEF', substr('0' || hex(e.event_id), (5 * n + 2) / 4 + 1, 1)) * 16 +
              instr('123456789ABCDEF', substr('0' || hex(e.event_id), (5 * n + 2) / 4 + 2, 1)))
             >> (3 - (5 * n + 2) % 4)) % 32, 1)
          FROM ulid WHERE n < 26)
        SELECT text FROM ulid WHERE n = 26) AS event_id,
       e.codec,
       CASE e.codec WHEN 'json' THEN CAST(e.data AS TEXT) ELSE hex(e.data) END AS data,
       e.metadata
FROM evento_event e
JOIN evento_kind k ON k.id = e.kind_id
JOIN evento_aggregate a ON a.key = e.agg_key
JOIN evento_type t ON t.id = a.type_id
LEFT JOIN evento_routing r ON r.id = e.routing_id;

CREATE VIEW evento_subscriptions AS
SELECT key, part, revision,
       strftime('%Y-%m-%dT%H:%M:%S', changed_at / 1000000, 'unixepoch') || 'Z' AS changed_at,
       CAST(value AS TEXT) AS state
FROM evento_record WHERE kind = 'subscription';
