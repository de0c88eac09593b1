// The statements, with the store's schema in them.

package postgres

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

type statements struct {
	schema string // quoted, with its dot

	untagged, tagged                                                appending
	identity, head, lock, lockFrom, allAppended, byID, headOf       string
	typeID, addType, kindID, addKind, routingID, addRouting         string
	kindsOf, countKinds, kind, routing                              string
	records, recordsOf, now, makeRecord, changeRecord, removeRecord string
	snapshot, saveSnapshot, snapshots, snapshotsOf, removeSnapshots string
	lastRecorded, headsOf, moveCounter                              string
	recent, interpreted, asBefore                                   string
	publish, publishAtOnce                                          string // set when the store is known
}

// appending is the statements that append events: of a group, of one append, and of one
// event. Those that end in At are for a store whose last event is at a position.
type appending struct {
	group, groupAt, one                  string
	oneAlone, oneAloneAt, event, eventAt grown
}

func newStatements(schema string) statements {
	s := statements{schema: pgx.Identifier{schema}.Sanitize() + "."}
	s.identity = s.in("SELECT identity FROM SCHEMA.store")
	s.head = s.in("SELECT position FROM SCHEMA.counter")
	s.counterTexts()
	s.untagged = s.appendTexts(untaggedParts())
	s.tagged = s.appendTexts(taggedParts())
	s.headTexts()
	s.nameTexts()
	s.recordTexts()
	s.snapshotTexts()
	return s
}

// in puts the schema, and the time in microseconds since 1970, into a text.
func (s *statements) in(text string) string {
	text = strings.ReplaceAll(text, "NOW", "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint")
	return strings.ReplaceAll(text, "SCHEMA.", s.schema)
}

func (s *statements) counterTexts() {
	// A statement of its own, so that the next one sees all that was
	// committed before the lock was given.
	// Planning the next statement takes longer than running it, and its plan is
	// the same whatever the parameters: by the indexes.
	s.lock = s.in("SELECT position, set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true) FROM SCHEMA.counter WHERE id = 1 FOR UPDATE")
	// The same for a transaction of somebody else: what it appends itself is
	// above the position that is kept in the setting. Its ids would not tell:
	// with savepoints it has many.
	s.lockFrom = strings.Replace(s.lock, "SELECT position,", "SELECT set_config('evento.appended_from', position::text, true),", 1)
}

// appendTexts are the statements for events without tags, or with.
func (s *statements) appendTexts(p parts) (a appending) {
	// The search for the head begins at the version that is expected, as the
	// server looks at each entry of an index page that fits: a head that is
	// below stays unknown.
	a.group = s.in(appendText("", "", p.taggedGroup))
	// The same, with writes that are for a store whose last event is at a position.
	a.groupAt = s.in(appendText(", unnest("+p.guarded+"::boolean[]) AS guarded", " AND (NOT a.guarded OR "+p.groupAt+" = (SELECT position FROM SCHEMA.counter WHERE id = 1))", p.taggedGroup))
	one := withHead + bumped + p.addedBehind
	// This is for one append with an expected version, which most flushes of a single
	// caller are: a third of the work.
	a.one = s.in(one + `
SELECT $3, true, before + $4, NULL::uuid FROM bumped
UNION ALL
SELECT coalesce((SELECT version FROM head), ` + headNow("$1", "$2") + `), false, 0, ` + above("$1", "$2", "$3") + ` WHERE NOT EXISTS (SELECT FROM bumped)`)
	// For one append that nobody else waits with. It gives no row when it does not fit.
	a.oneAlone = plannedAnew(s.in(one + `SELECT before + $4 FROM bumped`))
	a.oneAloneAt = a.oneAlone.guarded(p.oneAt)
	// The same for one event: less work again.
	a.event = plannedAnew(s.in(withHead + `, bumped AS (
  UPDATE SCHEMA.counter SET position = position + 1, recorded_at = greatest(recorded_at, NOW)
  WHERE id = 1 AND coalesce((SELECT version FROM head), 0) = $3
  RETURNING position, recorded_at
)` + p.taggedEvent + `
INSERT INTO SCHEMA.event (position, recorded_at, version, kind_id, type_id, routing_id, event_id, codec, aggregate_id, data, metadata)
SELECT position, recorded_at, $3 + 1, $6::int, $2, CASE WHEN $3 = 0 THEN $4 ELSE (SELECT routing_id FROM head) END,
       $7::uuid, $8::text, $1, $9::bytea, $5
FROM bumped RETURNING position`))
	a.eventAt = a.event.guarded(p.eventAt)
	return a
}

// appendText is the statement that judges and inserts a group, with more columns of the
// appends, more that each has to fit, and a further part. Why: docs/decisions.md, "The
// server judges the versions".
func appendText(columns, fits, more string) string {
	return `
WITH a AS MATERIALIZED (
  SELECT a.*, h.version AS head, h.routing_id AS head_routing,
         bool_and((a.expected < 0 OR a.expected = coalesce(h.version, 0))
           AND (a.retried IS NULL OR NOT EXISTS (SELECT FROM SCHEMA.event e WHERE e.event_id = a.retried))` + fits + `)
           OVER (PARTITION BY a.write_no) AS fits
  FROM (SELECT unnest($1::int[]) AS no, unnest($2::int[]) AS write_no, unnest($3::int[]) AS type_id, unnest($4::text[]) AS aggregate_id,
               unnest($5::int[]) AS routing_id, unnest($6::bigint[]) AS expected, unnest($7::uuid[]) AS retried, unnest($8::int[]) AS events` + columns + `) a
  LEFT JOIN LATERAL (
    SELECT e.version, e.routing_id FROM SCHEMA.event e
    WHERE e.aggregate_id = a.aggregate_id AND e.type_id = a.type_id AND e.version >= a.expected
    ORDER BY e.version DESC LIMIT 1
  ) h ON true
), added AS (
  INSERT INTO SCHEMA.event (position, recorded_at, version, kind_id, type_id, routing_id, event_id, codec, aggregate_id, data, metadata)
  SELECT c.position + row_number() OVER (ORDER BY e.ordinal), greatest(c.recorded_at, NOW), coalesce(a.head, 0) + e.step, coalesce(e.kind_id, ($11::int[])[1]), a.type_id,
         CASE WHEN a.head IS NULL THEN a.routing_id ELSE a.head_routing END, e.event_id, coalesce(e.codec, ($13::text[])[1]), a.aggregate_id, e.data, e.metadata
  FROM unnest($9::int[], $10::int[], $11::int[], $12::uuid[], $13::text[], $14::bytea[], $15::text[])
       WITH ORDINALITY AS e (no, step, kind_id, event_id, codec, data, metadata, ordinal)
  JOIN a ON a.no = e.no AND a.fits
  JOIN SCHEMA.counter c ON c.id = 1
), bumped AS (
  UPDATE SCHEMA.counter c SET position = c.position + taken.events, recorded_at = greatest(c.recorded_at, NOW)
  FROM (SELECT sum(events) AS events FROM a WHERE fits) taken
  WHERE c.id = 1 AND taken.events IS NOT NULL
)` + more + `
SELECT a.no, CASE WHEN a.fits OR a.head IS NOT NULL OR a.expected <= 0 THEN coalesce(a.head, 0) ELSE ` + headNow("a.aggregate_id", "a.type_id") + ` END,
       a.fits, c.position, CASE WHEN NOT a.fits THEN ` + above("a.aggregate_id", "a.type_id", "a.expected") + ` END
FROM a JOIN SCHEMA.counter c ON c.id = 1 ORDER BY a.no`
}

// headNow is the version of an aggregate, and above the id of its event behind a version.
func headNow(id, typeID string) string {
	return "coalesce((SELECT max(e.version) FROM SCHEMA.event e WHERE e.aggregate_id = " + id + " AND e.type_id = " + typeID + "), 0)"
}

func above(id, typeID, version string) string {
	return "(SELECT e.event_id FROM SCHEMA.event e WHERE e.aggregate_id = " + id + " AND e.type_id = " + typeID + " AND e.version = " + version + " + 1)"
}

// withHead is the aggregate's head, if that is at the expected version or beyond it.
const withHead = `
WITH head AS MATERIALIZED (
  SELECT version, routing_id FROM SCHEMA.event WHERE aggregate_id = $1 AND type_id = $2 AND version >= $3 ORDER BY version DESC LIMIT 1
)`

// bumped moves the counter, if the head is at the expected version.
const bumped = `, bumped AS (
  UPDATE SCHEMA.counter SET position = position + $4, recorded_at = greatest(recorded_at, NOW)
  WHERE id = 1 AND coalesce((SELECT version FROM head), 0) = $3
  RETURNING position - $4 AS before, recorded_at
)`

// addedBehind inserts the events of one append, with an expression for their metadata and
// further columns that it needs. Arrays that are unnested in a list of columns are not
// copied first, as those of a FROM are. (A generate_series of $4 for the steps would be
// planned anew for every append: the server takes a number that it is not told for 1,000.)
func addedBehind(metadata, columns string) string {
	return `, added AS (
  INSERT INTO SCHEMA.event (position, recorded_at, version, kind_id, type_id, routing_id, event_id, codec, aggregate_id, data, metadata)
  SELECT b.before + e.step, b.recorded_at, $3 + e.step, coalesce(e.kind_id, ($8::int[])[1]), $2, CASE WHEN $3 = 0 THEN $5 ELSE (SELECT routing_id FROM head) END,
         e.event_id, coalesce(e.codec, ($10::text[])[1]), $1, e.data, ` + metadata + `
  FROM bumped b, (SELECT unnest($7::int[]) AS step, unnest($8::int[]) AS kind_id, unnest($9::uuid[]) AS event_id, unnest($10::text[]) AS codec, unnest($11::bytea[]) AS data` + columns + `) e
)`
}

// grown is one statement as texts that differ when the store has grown fourfold, so that
// the server plans it anew: the plan for a table of one page is to read it.
type grown [33]string

func plannedAnew(text string) (g grown) {
	for i := range g {
		g[i] = text + " -- " + strconv.Itoa(i)
	}
	return g
}

// guarded is the same for a store whose last event is at a position, a parameter.
func (g grown) guarded(position string) grown {
	const head = "coalesce((SELECT version FROM head), 0) = $3\n"
	for i := range g {
		g[i] = strings.Replace(g[i], head, head[:len(head)-1]+" AND position = "+position+"\n", 1)
	}
	return g
}

// at is the text for a store whose last event is at a position.
func (g *grown) at(position int64) string { return g[bits.Len64(uint64(position))/2] }

func (s *statements) headTexts() {
	s.recent = s.in(`SELECT e.position, e.event_id, t.name, e.aggregate_id, k.name, coalesce(r.key, ''), CASE WHEN starts_with(e.metadata, '{"tags":[') THEN e.metadata END
FROM SCHEMA.event e JOIN SCHEMA.kind k ON k.id = e.kind_id JOIN SCHEMA.type t ON t.id = k.type_id LEFT JOIN SCHEMA.routing r ON r.id = e.routing_id
WHERE e.position > $1 ORDER BY e.position LIMIT $2`)
	// An error, where the transaction has not appended all of these events: what
	// follows in the batch, the commit, is not done then.
	s.allAppended = s.in("SELECT 1 / CASE WHEN count(*) = $2 THEN 1 ELSE 0 END FROM SCHEMA.event WHERE event_id = ANY($1::uuid[]) AND position > current_setting('evento.appended_from')::bigint")
	s.headOf = s.in("SELECT e.version, coalesce(r.key, '') FROM SCHEMA.event e LEFT JOIN SCHEMA.routing r ON r.id = e.routing_id WHERE e.type_id = (SELECT id FROM SCHEMA.type WHERE name = $1) AND e.aggregate_id = $2 ORDER BY e.version DESC LIMIT 1")
	// The server would compile a statement of a thousand legs, which takes seconds.
	s.interpreted = "SELECT set_config('evento.jit', current_setting('jit'), true), set_config('jit', 'off', true)"
	s.asBefore = "SELECT set_config('jit', current_setting('evento.jit'), true)"
	s.byID = s.in("SELECT e.event_id, t.name, e.aggregate_id, e.version, e.position FROM SCHEMA.event e JOIN SCHEMA.type t ON t.id = e.type_id WHERE e.event_id = ANY($1::uuid[])")

	s.lastRecorded = s.in("SELECT position, recorded_at FROM SCHEMA.counter WHERE id = 1")
	s.headsOf = s.in(`SELECT a.no, h.version, coalesce(h.routing_id, 0)
FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS a (type_id, aggregate_id, no)
CROSS JOIN LATERAL (
  SELECT e.version, e.routing_id FROM SCHEMA.event e
  WHERE e.aggregate_id = a.aggregate_id AND e.type_id = a.type_id
  ORDER BY e.version DESC LIMIT 1
) h ORDER BY a.no`)
	s.moveCounter = s.in("UPDATE SCHEMA.counter SET position = $1, recorded_at = $2 WHERE id = 1")
}

func (s *statements) nameTexts() {
	s.typeID = s.in("SELECT id FROM SCHEMA.type WHERE name = $1")
	s.addType = s.in("INSERT INTO SCHEMA.type (name) VALUES ($1) ON CONFLICT DO NOTHING")
	s.kindID = s.in("SELECT id FROM SCHEMA.kind WHERE type_id = $1 AND name = $2")
	s.addKind = s.in("INSERT INTO SCHEMA.kind (type_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING")
	s.routingID = s.in("SELECT id FROM SCHEMA.routing WHERE key = $1")
	s.addRouting = s.in("INSERT INTO SCHEMA.routing (key) VALUES ($1) ON CONFLICT DO NOTHING")
	s.kindsOf = s.in("SELECT k.id, k.name, t.id FROM SCHEMA.kind k JOIN SCHEMA.type t ON t.id = k.type_id WHERE t.name = $1 ORDER BY k.id")
	s.countKinds = s.in("SELECT count(*) FROM SCHEMA.kind WHERE type_id = ANY($1)")
	s.kind = s.in("SELECT k.type_id, t.name, k.name FROM SCHEMA.kind k JOIN SCHEMA.type t ON t.id = k.type_id WHERE k.id = $1")
	s.routing = s.in("SELECT key FROM SCHEMA.routing WHERE id = $1")
}

func (s *statements) recordTexts() {
	s.records = s.in("SELECT key, part, revision, changed_at, value FROM SCHEMA.record WHERE kind = $1 AND (key, part) > ($2, $3) ORDER BY key, part LIMIT $4")
	s.recordsOf = s.in("SELECT key, part, revision, changed_at, value FROM SCHEMA.record WHERE kind = $1 AND (key, part) > ($2, $3) AND key = $5 ORDER BY key, part LIMIT $4")
	s.now = "SELECT clock_timestamp()"
	s.makeRecord = s.in("INSERT INTO SCHEMA.record (kind, key, part, revision, changed_at, value) VALUES ($1, $2, $3, 1, clock_timestamp(), $4) ON CONFLICT DO NOTHING")
	s.changeRecord = s.in("UPDATE SCHEMA.record SET revision = revision + 1, changed_at = clock_timestamp(), value = $4 WHERE kind = $1 AND key = $2 AND part = $3 AND revision = $5")
	s.removeRecord = s.in("DELETE FROM SCHEMA.record WHERE kind = $1 AND key = $2 AND part = $3 AND revision = $4")
}

func (s *statements) snapshotTexts() {
	s.snapshot = s.in("SELECT version, position, cursor, data FROM SCHEMA.snapshot WHERE projection = $1 AND revision = $2 AND variant = $3 AND type = $4 AND id = $5")
	s.saveSnapshot = s.in(`INSERT INTO SCHEMA.snapshot AS s (projection, revision, variant, type, id, version, position, cursor, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (projection, revision, variant, type, id) DO UPDATE
SET version = excluded.version, position = excluded.position, cursor = excluded.cursor, data = excluded.data, updated_at = now()
WHERE (excluded.version, excluded.position) >= (s.version, s.position)`)
	// States beyond the bytes of a page stay where they are: to end the rows is
	// to receive what is left of them. The length of one is known without it.
	s.snapshots = s.in(`
SELECT projection, revision, variant, type, id, version, position, length(data),
       CASE WHEN $7 THEN cursor ELSE '' END, CASE WHEN $7 AND (bytes <= $8 OR no = 1) THEN data END
FROM (
  SELECT s.*, sum(length(s.data)) OVER page AS bytes, row_number() OVER page AS no
  FROM (
    SELECT * FROM SCHEMA.snapshot WHERE (projection, revision, variant, type, id) > ($1, $2, $3, $4, $5)
    ORDER BY projection, revision, variant, type, id LIMIT $6
  ) s
  WINDOW page AS (ORDER BY projection, revision, variant, type, id ROWS UNBOUNDED PRECEDING)
) s
ORDER BY projection, revision, variant, type, id`)
	s.snapshotsOf = strings.Replace(s.snapshots, "WHERE (projection, revision, variant, type, id) > ($1, $2, $3, $4, $5)", "WHERE projection = $1 AND (revision, variant, type, id) > ($2, $3, $4, $5)", 1)
	s.removeSnapshots = s.in(`DELETE FROM SCHEMA.snapshot s
USING unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[]) AS k (projection, revision, variant, type, id)
WHERE s.projection = k.projection AND s.revision = k.revision AND s.variant = k.variant AND s.type = k.type AND s.id = k.id`)
}
