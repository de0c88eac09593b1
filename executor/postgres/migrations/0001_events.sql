-- Events, their dictionaries, subscribers and snapshots. SCHEMA stands for the
-- quoted name of the store's schema. Format notes: docs/formats.md.

CREATE TABLE SCHEMA.store (
  id       smallint PRIMARY KEY CHECK (id = 1),
  identity uuid NOT NULL
);
-- Cursors carry this identity, so that those of another store are refused.
INSERT INTO SCHEMA.store VALUES (1, md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)::uuid);

-- The one row that every commit of events locks: it hands out the positions.
-- Its page has room for many versions of it.
CREATE TABLE SCHEMA.counter (
  id          smallint PRIMARY KEY CHECK (id = 1),
  position    bigint NOT NULL,
  recorded_at bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO SCHEMA.counter VALUES (1, 0, 0);

CREATE TABLE SCHEMA.type (
  id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE SCHEMA.kind (
  id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  type_id integer NOT NULL,
  name    text COLLATE "C" NOT NULL,
  UNIQUE (type_id, name)
);

CREATE TABLE SCHEMA.routing (
  id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE SCHEMA.event (
  position     bigint PRIMARY KEY,
  recorded_at  bigint NOT NULL, -- microseconds since 1970, UTC
  version      bigint NOT NULL,
  kind_id      integer NOT NULL,
  type_id      integer NOT NULL,
  routing_id   integer,
  event_id     uuid NOT NULL,
  codec        text COLLATE "C" NOT NULL,
  aggregate_id text COLLATE "C" NOT NULL,
  data         bytea NOT NULL,
  metadata     text             -- JSON; NULL: none
);
CREATE UNIQUE INDEX event_aggregate ON SCHEMA.event (aggregate_id, type_id, version);
-- A commit whose connection was lost may still be on its way to the server when
-- it is made again: only this makes the second of the two impossible.
CREATE UNIQUE INDEX event_id ON SCHEMA.event (event_id);
CREATE INDEX event_kind ON SCHEMA.event (kind_id, position);
CREATE INDEX event_routing ON SCHEMA.event (routing_id, position) WHERE routing_id IS NOT NULL;

CREATE FUNCTION SCHEMA.immutable() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'evento: events are immutable'; END $$;
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON SCHEMA.event
FOR EACH STATEMENT EXECUTE FUNCTION SCHEMA.immutable();

-- What subscriptions keep: small values that are compared and swapped.
CREATE TABLE SCHEMA.record (
  kind       text COLLATE "C" NOT NULL,
  key        text COLLATE "C" NOT NULL,
  part       text COLLATE "C" NOT NULL,
  revision   bigint NOT NULL,
  changed_at timestamptz NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (kind, key, part)
) WITH (fillfactor = 50);

CREATE TABLE SCHEMA.snapshot (
  projection text COLLATE "C" NOT NULL,
  revision   bigint NOT NULL,
  variant    text COLLATE "C" NOT NULL,
  type       text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL,
  version    bigint NOT NULL,
  position   bigint NOT NULL,
  cursor     text NOT NULL,
  data       bytea NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (projection, revision, variant, type, id)
);

-- For people: the events in words. An id is written as a ULID: 26 characters of 5 bits
-- each, the first two of which are 0.
CREATE VIEW SCHEMA.events AS
SELECT e.position, t.name AS aggregate_type, e.aggregate_id, e.version, k.name, r.key AS routing_key,
       to_timestamp(e.recorded_at / 1e6) AS recorded_at,
       (SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 +
                 substring(B'00' || ('x' || replace(e.event_id::text, '-', ''))::bit(128) FROM 5 * n + 1 FOR 5)::bit(5)::integer, 1), '' ORDER BY n)
        FROM generate_series(0, 25) AS n) AS event_id,
       e.codec,
       CASE e.codec WHEN 'json' THEN convert_from(e.data, 'UTF8') ELSE encode(e.data, 'hex') END AS data,
       e.metadata
FROM SCHEMA.event e
JOIN SCHEMA.kind k ON k.id = e.kind_id
JOIN SCHEMA.type t ON t.id = e.type_id
LEFT JOIN SCHEMA.routing r ON r.id = e.routing_id;

CREATE VIEW SCHEMA.subscriptions AS
SELECT key, part, revision, changed_at, convert_from(value, 'UTF8') AS state
FROM SCHEMA.record WHERE kind = 'subscription';
