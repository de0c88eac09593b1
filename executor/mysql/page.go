// Collecting the rows of one page.

package mysql

import (
	"cmp"
	sqldriver "database/sql/driver"
	"fmt"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// page is a search for the rows of one page.
type page struct {
	*search
	backward bool
	want     int
	last     int64 // the position up to which all is found
	found    []row
	bytes    int
	more     bool
}

// eventColumnCount is how many there are.
const eventColumnCount = 10

const eventColumns = "SELECT position, recorded_at, version, kind_id, routing_id, codec, event_id, aggregate_id, data, metadata FROM evento_event "

// left is how many positions there are beyond the last.
func (p *page) left() int64 {
	if p.backward {
		return min(p.last, p.head+1) - 1
	}
	return p.head - max(p.last, 0)
}

// scan goes through a window of positions, or through all when everything is
// asked for. Ended: the page is complete.
func (p *page) scan() (ended bool, err error) {
	left := p.left()
	if left <= 0 {
		return true, nil
	}
	condition, window := p.routed(), left
	if !p.Everything || condition != "" {
		if len(p.Aggregates) > 0 {
			return false, nil // a small part of a large store
		}
		window = min(left, int64(p.want)*scanPerEvent)
		condition += among(p.Kinds)
	}
	var low, high int64 // both within
	order := ""
	if p.backward {
		high = min(p.last, p.head+1) - 1
		low = high - window + 1
		order = " DESC"
	} else {
		low = max(p.last, 0) + 1
		high = low + window - 1
	}
	full, err := p.fetch(eventColumns+"FORCE INDEX (PRIMARY) WHERE position BETWEEN ? AND ?"+condition+" ORDER BY position"+order+" LIMIT ?",
		low, high, int64(p.want)+1)
	if err != nil || full || window == left {
		return true, err
	}
	if p.backward {
		p.last = low
	} else {
		p.last = high
	}
	return false, nil
}

// follow goes through one aggregate after a version.
func (p *page) follow(l leg, version int64) error {
	_, err := p.fetch(eventColumns+"FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND version > ?"+among(l.kinds)+" ORDER BY version LIMIT ?",
		l.aggregate.ID, l.aggregate.TypeID, version, int64(p.want)+1)
	return err
}

// fetch adds rows until the page is full or there are none left.
func (p *page) fetch(text string, args ...any) (full bool, err error) {
	c := collector{page: p}
	err = p.s.stream(p.ctx, text, args, eventColumnCount, func(values []sqldriver.Value) (more bool, err error) {
		full, err = c.take(values)
		// Cut by size: what is left could be large, and to close the rows is
		// to read them. The connection is dropped instead.
		return !full || len(p.found) == p.want, err
	})
	return full && err == nil, err
}

// collector makes rows of values, whose bytes are the driver's.
type collector struct {
	page *page
	slab store.Slab
	last string // aggregate id: mostly the next row's too
}

// take reports whether the page has no room for the row.
func (c *collector) take(values []sqldriver.Value) (full bool, err error) {
	p := c.page
	if len(p.found) == p.want {
		p.more = true
		return true, nil
	}
	data := octets(values[8])
	if p.bytes += len(data); p.bytes > evento.PageBytes && len(p.found) > 0 {
		p.more = true
		return true, nil
	}
	if p.found == nil {
		p.found = takeRows()
	}
	p.found = append(p.found, row{})
	r := &p.found[len(p.found)-1]
	for i, into := range [...]*int64{&r.position, &r.recordedAt, &r.version, &r.kindID, &r.routingID} {
		n, ok := values[i].(int64)
		if !ok {
			return false, fmt.Errorf("evento: mysql: column %d of an event is of type %T", i+1, values[i])
		}
		*into = n
	}
	r.codec = sqlstore.CodecName(octets(values[5]))
	copy(r.id[:], octets(values[6]))
	if id := octets(values[7]); string(id) != c.last {
		c.last = string(id)
	}
	r.aggregateID = c.last
	r.data = c.slab.Copy(data)
	r.metadata = c.slab.Copy(octets(values[9]))
	return false, nil
}

// octets are the bytes of a value; none for NULL.
func octets(v sqldriver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// usedRows are those of pages that are done, to be used again.
var usedRows sync.Pool

func takeRows() []row {
	if rows, ok := usedRows.Get().(*[]row); ok {
		return *rows
	}
	return nil
}

func giveRows(rows []row) {
	clear(rows)
	rows = rows[:0]
	usedRows.Put(&rows)
}

// merge goes on through the indexes: it finds the positions of the rest of the
// page, and then their rows.
func (p *page) merge() error {
	found, err := p.positions(p.want + 1 - len(p.found))
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(found, maxFetch) {
		n := powerOfTwo(len(chunk))
		args := make([]any, n, n+1)
		for i := range args {
			args[i] = chunk[min(i, len(chunk)-1)]
		}
		order := ""
		if p.backward {
			order = " DESC"
		}
		full, err := p.fetch(eventColumns+"FORCE INDEX (PRIMARY) WHERE position IN ("+repeat("?", ",", n)+") ORDER BY position"+order+" LIMIT ?",
			append(args, int64(p.want)+1)...)
		if err != nil || full {
			return err
		}
	}
	return nil
}

// maxFetch is the most rows that are asked for by position at once.
const maxFetch = 512

// positions finds the next n positions that match, in order, each once.
func (p *page) positions(n int) ([]int64, error) {
	var found []int64
	legs := p.legs()
	limit := p.head // beyond which nothing can be among the first n
	if p.backward {
		limit = 1
	}
	for start := 0; start < len(legs); {
		end := start + 1
		for end < len(legs) && end-start < legsAtOnce && legs[end].sameAs(&legs[start]) {
			end++
		}
		more, err := p.follows(legs[start:end], limit, n)
		if err != nil {
			return nil, err
		}
		start = end
		found = append(found, more...)
		slices.SortFunc(found, func(a, b int64) int {
			if p.backward {
				a, b = b, a
			}
			return cmp.Compare(a, b)
		})
		found = slices.Compact(found)
		if len(found) >= n {
			found = found[:n]
			limit = found[n-1]
		}
	}
	return found, nil
}
