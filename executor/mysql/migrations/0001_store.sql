-- Events, their dictionaries, records and snapshots.
-- Format notes: docs/formats.md. Every statement can be run again, as the
-- database cannot take table definitions back when a later one fails.

CREATE TABLE IF NOT EXISTS evento_store (
  id       TINYINT NOT NULL PRIMARY KEY,
  identity BINARY(16) NOT NULL
) ENGINE=InnoDB;
-- Cursors carry this identity, so that those of another store are refused.
INSERT INTO evento_store (id, identity)
SELECT 1, UNHEX(MD5(CONCAT(UUID(), RAND(), CONNECTION_ID(), SYSDATE(6)))) FROM DUAL
WHERE NOT EXISTS (SELECT 1 FROM evento_store WHERE id = 1);

-- The one row that every flush locks: whoever holds it hands out positions.
CREATE TABLE IF NOT EXISTS evento_counter (
  id          TINYINT NOT NULL PRIMARY KEY,
  position    BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL
) ENGINE=InnoDB;
INSERT INTO evento_counter (id, position, recorded_at)
SELECT 1, 0, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM evento_counter WHERE id = 1);

-- A write to it makes everything that was committed before durable.
CREATE TABLE IF NOT EXISTS evento_barrier (
  id TINYINT NOT NULL PRIMARY KEY,
  n  BIGINT NOT NULL
) ENGINE=InnoDB;
INSERT INTO evento_barrier (id, n)
SELECT 1, 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM evento_barrier WHERE id = 1);

CREATE TABLE IF NOT EXISTS evento_type (
  id   INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARBINARY(255) NOT NULL,
  UNIQUE KEY evento_type_name (name)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS evento_kind (
  id      INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  type_id INT NOT NULL,
  name    VARBINARY(255) NOT NULL,
  UNIQUE KEY evento_kind_name (type_id, name)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS evento_routing (
  id   INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARBINARY(255) NOT NULL,
  UNIQUE KEY evento_routing_name (name)
) ENGINE=InnoDB;

-- recorded_at: microseconds since 1970, UTC. routing_id: 0 is none.
-- metadata: JSON; NULL is none.
CREATE TABLE IF NOT EXISTS evento_event (
  position     BIGINT NOT NULL PRIMARY KEY,
  recorded_at  BIGINT NOT NULL,
  version      BIGINT NOT NULL,
  kind_id      INT NOT NULL,
  routing_id   INT NOT NULL,
  type_id      INT NOT NULL,
  codec        VARBINARY(32) NOT NULL,
  event_id     BINARY(16) NOT NULL,
  aggregate_id VARBINARY(255) NOT NULL,
  data         LONGBLOB NOT NULL,
  metadata     LONGBLOB,
  UNIQUE KEY evento_event_aggregate (aggregate_id, type_id, version),
  KEY evento_event_kind (kind_id, position, routing_id),
  KEY evento_event_routing (routing_id, position)
) ENGINE=InnoDB;

-- What subscriptions keep: small values that are compared and swapped.
-- changed_at: microseconds since 1970, by the server's clock. made: a random
-- number of the record's making, which tells it from a later one of that name.
CREATE TABLE IF NOT EXISTS evento_record (
  kind       VARBINARY(255) NOT NULL,
  name       VARBINARY(255) NOT NULL,
  part       VARBINARY(255) NOT NULL,
  made       BIGINT NOT NULL,
  revision   BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  value      MEDIUMBLOB NOT NULL,
  PRIMARY KEY (kind, name, part)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS evento_snapshot (
  projection   VARBINARY(255) NOT NULL,
  revision     BIGINT NOT NULL,
  variant      VARBINARY(64) NOT NULL,
  type         VARBINARY(255) NOT NULL,
  aggregate_id VARBINARY(255) NOT NULL,
  version      BIGINT NOT NULL,
  position     BIGINT NOT NULL,
  place        LONGBLOB NOT NULL,
  data         LONGBLOB NOT NULL,
  updated_at   BIGINT NOT NULL,
  PRIMARY KEY (projection, revision, variant, type, aggregate_id)
) ENGINE=InnoDB;

-- For people: the events in words. An id is written as a ULID: to the base of 32, its 48
-- bits of time and twice 40 random bits, without the letters I, L, O and U.
CREATE OR REPLACE VIEW evento_events AS
SELECT e.position,
       CONVERT(t.name USING utf8mb4) AS aggregate_type,
       CONVERT(e.aggregate_id USING utf8mb4) AS aggregate_id,
       e.version,
       CONVERT(k.name USING utf8mb4) AS name,
       CONVERT(r.name USING utf8mb4) AS routing_key,
       TIMESTAMPADD(MICROSECOND, e.recorded_at, '1970-01-01 00:00:00.000000') AS recorded_at,
       CONVERT(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(CONCAT(
         LPAD(CONV(HEX(SUBSTRING(e.event_id, 1, 6)), 16, 32), 10, '0'),
         LPAD(CONV(HEX(SUBSTRING(e.event_id, 7, 5)), 16, 32), 8, '0'),
         LPAD(CONV(HEX(SUBSTRING(e.event_id, 12, 5)), 16, 32), 8, '0')),
         'V', 'Z'), 'U', 'Y'), 'T', 'X'), 'S', 'W'), 'R', 'V'), 'Q', 'T'), 'P', 'S'), 'O', 'R'), 'N', 'Q'), 'M', 'P'), 'L', 'N'), 'K', 'M'), 'J', 'K'), 'I', 'J')
         USING utf8mb4) AS event_id,
       CONVERT(e.codec USING utf8mb4) AS codec,
       IF(e.codec = 'json', CONVERT(e.data USING utf8mb4), HEX(e.data)) AS data,
       CONVERT(e.metadata USING utf8mb4) AS metadata
FROM evento_event e
JOIN evento_kind k ON k.id = e.kind_id
JOIN evento_type t ON t.id = e.type_id
LEFT JOIN evento_routing r ON r.id = e.routing_id;

-- For people: the subscriptions, as the JSON that they keep.
CREATE OR REPLACE VIEW evento_subscriptions AS
SELECT CONVERT(name USING utf8mb4) AS name,
       CONVERT(part USING utf8mb4) AS part,
       revision,
       TIMESTAMPADD(MICROSECOND, changed_at, '1970-01-01 00:00:00.000000') AS changed_at,
       CONVERT(value USING utf8mb4) AS state
FROM evento_record WHERE kind = 'subscription';
