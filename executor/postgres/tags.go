// Tags of events, and the table by which they are found.

package postgres

import (
	"context"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento/internal/sqlstore"
)

// areTagged reports whether an event of the writes has tags.
func areTagged(ops []*appendOp) bool {
	return slices.ContainsFunc(ops, func(op *appendOp) bool {
		return slices.ContainsFunc(op.metadata, func(m sqlstore.EventMetadata) bool { return m.Tags != nil })
	})
}

// tagArray is the numbers of an event's tags, as the text of an array; nil: it has none.
func tagArray(numbers []int64) *string {
	if len(numbers) == 0 {
		return nil
	}
	b := []byte("{")
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	text := string(append(b, '}'))
	return &text
}

// appending is the statements for the events of writes.
func (s *statements) appending(ops ...*appendOp) *appending {
	if areTagged(ops) {
		return &s.tagged
	}
	return &s.untagged
}

// parts are what differs between the statements for events without tags and with tags.
type parts struct {
	addedBehind, taggedGroup, taggedEvent string
	guarded, groupAt, oneAt, eventAt      string // numbers of parameters
}

func untaggedParts() parts {
	return parts{addedBehind: addedBehind("$6", ""), guarded: "$16", groupAt: "$17", oneAt: "$12", eventAt: "$10"}
}

func taggedParts() parts {
	p := parts{guarded: "$17", groupAt: "$18", oneAt: "$13", eventAt: "$11"}
	// Events get the same positions as in added.
	p.taggedGroup = `, tagged AS (
  INSERT INTO SCHEMA.event_tag (tag, position)
  SELECT unnest(e.tags::bigint[]), e.position
  FROM (
    SELECT e.tags, c.position + row_number() OVER (ORDER BY e.ordinal) AS position
    FROM unnest($9::int[], $16::text[]) WITH ORDINALITY AS e (no, tags, ordinal)
    JOIN a ON a.no = e.no AND a.fits
    JOIN SCHEMA.counter c ON c.id = 1
  ) e
)`
	// Each event has metadata of its own.
	p.addedBehind = addedBehind("e.metadata", ", unnest($6::text[]) AS metadata") + `, tagged AS (
  INSERT INTO SCHEMA.event_tag (tag, position)
  SELECT unnest(e.tags::bigint[]), b.before + e.step
  FROM bumped b, (SELECT unnest($7::int[]) AS step, unnest($12::text[]) AS tags) e
)`
	p.taggedEvent = `, tagged AS (
  INSERT INTO SCHEMA.event_tag (tag, position) SELECT unnest($10::bigint[]), position FROM bumped
)`
	return p
}

// copyTags imports the tags of events.
func (ex *Executor) copyTags(ctx context.Context, conn *pgx.Conn, im *imported) error {
	var rows [][]any
	for i := range im.events {
		for _, n := range im.metadata.Of(i).Tags {
			rows = append(rows, []any{n, int64(im.events[i].Position)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := conn.CopyFrom(ctx, pgx.Identifier{ex.opts.Schema, "event_tag"}, []string{"tag", "position"}, pgx.CopyFromRows(rows))
	return err
}

// writeTagged writes a leg for the events with tags. It goes through the events of the
// rarest tag in order and looks each of them up. The planner has no other choice, as it
// knows neither how rare a tag is nor which tags go together. Tags may share a number, so
// their texts are compared.
func (b *builder) writeTagged(f *sqlstore.TaggedFilter[sqlstore.Aggregate]) {
	b.beginFrom("event_tag t CROSS JOIN LATERAL (SELECT ", behindPosition, " FROM ", b.schema, "event e WHERE e.position = t.position")
	if f.Key.TypeID != 0 {
		b.write(" AND e.type_id = ")
		b.param(f.Key.TypeID)
		b.write(" AND e.aggregate_id = ")
		b.param(f.Key.ID)
	}
	if f.Kinds != nil {
		b.write(" AND e.kind_id = ANY(")
		b.param(f.Kinds)
		b.write(")")
	}
	b.write(" AND (e.metadata::jsonb -> 'tags') ?& ")
	b.param(f.Tags)
	b.write("::text[] OFFSET 0) e WHERE t.tag = ")
	if len(f.Numbers) == 1 {
		b.write("(SELECT ")
		b.param(f.Numbers[0])
		b.write("::bigint)")
	} else {
		b.writeRarest(f.Numbers)
	}
	b.end(byTag)
}

// writeRarest writes the tag of which the fewest events follow, and that an event has all
// of the tags. Events are counted up to a limit; of tags beyond it, the rarest is the one
// whose events are farthest apart.
func (b *builder) writeRarest(numbers []int64) {
	compare, order, last, farthest := " > ", "", "max", " DESC"
	if b.backward {
		compare, order, last, farthest = " < ", " DESC", "min", ""
	}
	b.write("(SELECT n.tag FROM unnest(")
	no := b.param(numbers)
	b.write("::bigint[]) AS n (tag) CROSS JOIN LATERAL (SELECT count(*) AS events, ", last, "(position) AS last FROM (SELECT position FROM ", b.schema, "event_tag WHERE tag = n.tag AND position", compare)
	b.writePlace()
	b.write(" ORDER BY position", order, " LIMIT (SELECT 1000)) o) o ORDER BY o.events, o.last", farthest, " LIMIT 1)")
	for i := range numbers {
		tag := "[" + strconv.Itoa(i+1) + "]"
		b.write(" AND (t.tag = (")
		b.number(no)
		b.write("::bigint[])", tag, " OR (SELECT true FROM ", b.schema, "event_tag o WHERE o.tag = (")
		b.number(no)
		b.write("::bigint[])", tag, " AND o.position = t.position))")
	}
}

// writeTagLimit writes a limit that the planner sees, and that is not below that of the
// page. Without it, the planner expects most events of the store where there are few
// tags, and compiles the statement.
func (b *builder) writeTagLimit() {
	for _, limit := range []int{128, 1024, 16384} {
		if b.limit <= limit {
			b.write(" LIMIT ", strconv.Itoa(limit))
			return
		}
	}
}
