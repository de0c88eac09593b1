// The index of tags: inserting into it, and finding events by it.
//
// It has numbers for tags, and two tags may have the same. So the rows that it leads to
// are looked at again, with the texts of their tags.

package mysql

import (
	"cmp"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"slices"
	"strconv"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// tagAt is a row of evento_tag.
type tagAt struct{ tag, position int64 }

// tagSpare is what a row of insertTagsText has at most.
const tagSpare = 48

// insertTagsText is a statement with its numbers in the text: it inserts any number of
// rows without being prepared.
func insertTagsText(tags []tagAt) string {
	b := []byte("INSERT INTO evento_tag (tag, position) VALUES ")
	for i, t := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '('), t.tag, 10)
		b = append(strconv.AppendInt(append(b, ','), t.position, 10), ')')
	}
	return string(b)
}

func hasTags(q evento.Query) bool {
	return slices.ContainsFunc(q.Filters, func(f evento.Filter) bool { return len(f.Tags) > 0 })
}

// taggedText is the statement of a leg with tags. It goes through the events of the first,
// which is to be the rarest, and looks the others up for each of them.
func (l *leg) taggedText(r *search, backward bool) string {
	joins, where := "(SELECT STRAIGHT_JOIN t.position FROM evento_tag t FORCE INDEX (PRIMARY)", " WHERE t.tag = ?"
	for i := 1; i < len(l.tags); i++ {
		joins += fmt.Sprintf(" JOIN evento_tag t%d FORCE INDEX (PRIMARY) ON t%d.position = t.position", i, i)
		where += fmt.Sprintf(" AND t%d.tag = ?", i)
	}
	if l.kind != 0 {
		where += " AND kind_id = ?"
	}
	if l.aggregate.ID != "" {
		where += " AND aggregate_id = ? AND type_id = ?"
	}
	if more := among(l.kinds) + r.routed(); l.kind != 0 || l.aggregate.ID != "" || more != "" {
		joins += " JOIN evento_event e FORCE INDEX (PRIMARY) ON e.position = t.position"
		where += more
	}
	order := " ORDER BY t.position"
	if backward {
		order += " DESC"
	}
	return joins + where + " AND t.position BETWEEN ? AND ?" + order + " LIMIT ?)"
}

// taggedArgs are the parameters of taggedText before the positions.
func (l *leg) taggedArgs() (args []any) {
	for _, tag := range l.tags {
		args = append(args, tag)
	}
	if l.kind != 0 {
		args = append(args, l.kind)
	}
	if l.aggregate.ID != "" {
		args = append(args, l.aggregate.ID, l.aggregate.TypeID)
	}
	return args
}

// nearMatch finds where a tag has its 32nd event within some positions.
const (
	nearMatch     = "(SELECT tag, position FROM evento_tag WHERE tag = ? AND position BETWEEN ? AND ? ORDER BY position LIMIT 31, 1)"
	nearMatchBack = "(SELECT tag, position FROM evento_tag WHERE tag = ? AND position BETWEEN ? AND ? ORDER BY position DESC LIMIT 31, 1)"
)

// rarestFirst orders the tags of each leg: that whose next events are the furthest apart
// is the first.
func (p *page) rarestFirst(legs []leg) error {
	low, high := p.beyond(p.limit())
	distance := map[int64]int64{} // of a tag's next events, or more if they are few
	var args []any
	for i := range legs {
		for _, tag := range legs[i].tags {
			if distance[tag] == 0 && len(legs[i].tags) > 1 {
				distance[tag] = maxPosition
				args = append(args, tag, low, high)
			}
		}
	}
	text := nearMatch
	if p.backward {
		text = nearMatchBack
	}
	const perTag = 3
	for args := range slices.Chunk(args, maxLegs*perTag) {
		n := powerOfTwo(len(args) / perTag)
		for len(args) < n*perTag {
			args = append(args, args[:perTag]...) // again the first
		}
		if err := p.s.query(p.ctx, repeat(text, " UNION ALL ", n), args, func(rows *sql.Rows) error {
			var tag, position int64
			err := rows.Scan(&tag, &position)
			if distance[tag] = position - low; p.backward {
				distance[tag] = high - position
			}
			return err
		}); err != nil {
			return err
		}
	}
	for i := range legs {
		slices.SortStableFunc(legs[i].tags, func(a, b int64) int { return cmp.Compare(distance[b], distance[a]) })
	}
	return nil
}

// matches looks at a row of typedColumns, which one of the legs has met.
func (r *search) matches(values []sqldriver.Value) (bool, error) {
	kind, err := integer(values, 3)
	if err != nil {
		return false, err
	}
	typeID, err := integer(values, eventColumnCount)
	if err != nil {
		return false, err
	}
	key := sqlstore.Aggregate{TypeID: typeID, ID: string(octets(values[7]))}
	if slices.Contains(r.Kinds, kind) || slices.ContainsFunc(r.Aggregates, func(a sqlstore.PlannedAggregate[sqlstore.Aggregate]) bool {
		return a.Key == key && (a.Kinds == nil || slices.Contains(a.Kinds, kind))
	}) {
		return true, nil
	}
	tags := sqlstore.TagsIn(octets(values[9]))
	return slices.ContainsFunc(r.Tagged, func(f sqlstore.TaggedFilter[sqlstore.Aggregate]) bool { return f.Matches(key, kind, tags) }), nil
}
