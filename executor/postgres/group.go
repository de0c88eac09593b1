// The statement for the writes of several callers.

package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/evento-go/evento/internal/sqlstore"
)

// group is appends that share a statement: of two to one aggregate, one fits at most.
type group struct {
	ops      []*appendOp
	at       int64     // where those with conditions are to find the counter; negative: it is held
	outcomes []outcome // by append
}

// outcomesOf sorts the outcomes by write.
func (g *group) outcomesOf(sent map[*appendOp][]outcome) {
	next := 0
	for _, op := range g.ops {
		n := len(op.write.Appends)
		sent[op] = g.outcomes[next : next+n]
		next += n
	}
}

// queueAppend adds the statement of a group to a batch, behind that which locks
// the counter.
func (ex *Executor) queueAppend(to *pgx.Batch, g *group) {
	args, events := arguments(g.ops)
	texts := ex.sql.appending(g.ops...)
	text := texts.group
	if g.at >= 0 && len(conditional(g.ops)) > 0 {
		text, args = texts.groupAt, append(args, guarded(g.ops), g.at)
	}
	to.Queue(text, args...).Query(func(rows pgx.Rows) error {
		g.outcomes = make([]outcome, 0, len(events))
		var no int32
		var o outcome
		var before int64 // the position before the statement
		taken := int64(0)
		_, err := pgx.ForEachRow(rows, []any{&no, &o.head, &o.fits, &before, &o.above}, func() error {
			if o.fits {
				taken += int64(events[no])
			}
			o.position = before + taken
			g.outcomes = append(g.outcomes, o)
			return nil
		})
		return err
	})
}

// guarded says of each append whether its write has conditions.
func guarded(ops []*appendOp) (are []bool) {
	for _, op := range ops {
		for range op.write.Appends {
			are = append(are, !op.conditions.None())
		}
	}
	return are
}

// arguments are the parameters of the append statement, and the number of
// events of each append.
func arguments(ops []*appendOp) ([]any, []int32) {
	var (
		no, writeNo, types []int32
		aggregates         []string
		routings           []*int32
		expected           []int64
		retried            []pgtype.UUID
		events             []int32
	)
	for w, op := range ops {
		for i := range op.write.Appends {
			a := &op.write.Appends[i]
			no, writeNo, types = append(no, int32(len(no))), append(writeNo, int32(w)), append(types, op.types[i])
			aggregates, routings = append(aggregates, a.AggregateID), append(routings, op.routings[i])
			e := int64(a.Expected)
			if a.AnyVersion {
				e = -1
			}
			expected, events = append(expected, e), append(events, int32(len(a.Events)))
			retried = append(retried, pgtype.UUID{Bytes: a.Events[0].ID, Valid: op.write.Retry})
		}
	}
	e := eventParamsOf(ops)
	args := []any{no, writeNo, types, aggregates, routings, expected, retried, events, e.no, e.step, e.kind, e.ids, e.codecs, e.data, e.metadata}
	if e.tags != nil {
		args = append(args, e.tags)
	}
	return args, events
}

// oneArguments are the parameters for one append.
func oneArguments(op *appendOp) []any {
	a, e := &op.write.Appends[0], eventParamsOf([]*appendOp{op})
	args := []any{a.AggregateID, op.types[0], int64(a.Expected), int64(len(a.Events)), op.routings[0], orNull(op.metadata.Of(0).Text), e.step, e.kind, e.ids, e.codecs, e.data}
	if e.tags != nil {
		args[5] = e.metadata
		args = append(args, e.tags)
	}
	return args
}

// eventArguments are the parameters for one event.
func eventArguments(op *appendOp) []any {
	a := &op.write.Appends[0]
	e := &a.Events[0]
	args := []any{a.AggregateID, op.types[0], int64(a.Expected), op.routings[0], orNull(op.metadata.Of(0).Text), op.kinds[0][0], pgtype.UUID{Bytes: e.ID, Valid: true}, e.Codec, sqlstore.NotNull(e.Data)}
	if tags := op.metadata.Of(0).Tags; tags != nil {
		args = append(args, tags)
	}
	return args
}

// eventParams are the parameters for the events of all appends.
type eventParams struct {
	no, step, kind []int32                       // no: of the append
	ids            pgtype.FlatArray[pgtype.UUID] // which pgx encodes without reflection
	codecs         []string
	data           pgtype.FlatArray[[]byte]
	metadata       []*string
	tags           []*string // arrays of numbers, as text; nil: no event has any
}

func eventParamsOf(ops []*appendOp) eventParams {
	n := 0
	for _, op := range ops {
		for i := range op.write.Appends {
			n += len(op.write.Appends[i].Events)
		}
	}
	c := eventParams{
		no: make([]int32, 0, n), step: make([]int32, 0, n), kind: make([]int32, 0, n), ids: make(pgtype.FlatArray[pgtype.UUID], 0, n),
		codecs: make([]string, 0, n), data: make(pgtype.FlatArray[[]byte], 0, n), metadata: make([]*string, 0, n),
	}
	no, tagged := int32(0), areTagged(ops)
	for _, op := range ops {
		metadata := op.metadata
		for i := range op.write.Appends {
			for j := range op.write.Appends[i].Events {
				e := &op.write.Appends[i].Events[j]
				c.no, c.step, c.kind = append(c.no, no), append(c.step, int32(j+1)), append(c.kind, op.kinds[i][j])
				c.ids, c.codecs = append(c.ids, pgtype.UUID{Bytes: e.ID, Valid: true}), append(c.codecs, e.Codec)
				m := metadata.Of(j)
				c.data, c.metadata = append(c.data, sqlstore.NotNull(e.Data)), append(c.metadata, orNull(m.Text))
				if tagged {
					c.tags = append(c.tags, tagArray(m.Tags))
				}
			}
			metadata = metadata.Behind(len(op.write.Appends[i].Events))
			no++
		}
	}
	c.kind, c.codecs = shorten(c.kind), shorten(c.codecs)
	if !slices.ContainsFunc(c.metadata, func(m *string) bool { return m != nil }) {
		c.metadata = c.metadata[:min(1, n)] // the others are NULL too
	}
	return c
}

// shorten leaves one of values that are all the same. The server unnests arrays side by
// side and fills up short ones with NULL, for which the statements take the first value.
// So it need not take apart what most events have in common.
func shorten[T comparable](values []T) []T {
	for _, v := range values {
		if v != values[0] {
			return values
		}
	}
	return values[:min(1, len(values))]
}

// orNull is a text for a column; NULL for none.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
