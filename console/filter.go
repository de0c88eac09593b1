// Which events a page shows, as its URL says.

package console

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/seek"
)

// filter is what the fields of the page of events say. Empty fields select nothing.
type filter struct {
	Type, Name, ID, RoutingKey, Tag string // by index
	From, To                        string // times, by search
	Correlation, Text               string // by looking at the events
	from, to                        time.Time
	before, after                   string // a position, or a cursor where positions are no places; "": from the newest on
}

// fields are the names in the URL.
var fields = []string{"type", "name", "id", "routing_key", "tag", "from", "to", "correlation", "text"}

func (f *filter) field(name string) *string {
	return map[string]*string{
		"type": &f.Type, "name": &f.Name, "id": &f.ID, "routing_key": &f.RoutingKey, "tag": &f.Tag,
		"from": &f.From, "to": &f.To, "correlation": &f.Correlation, "text": &f.Text,
	}[name]
}

// filterOf reads a filter.
func filterOf(values url.Values) (*filter, error) {
	f := &filter{}
	for _, name := range fields {
		*f.field(name) = strings.TrimSpace(values.Get(name))
	}
	var err error
	now := time.Now().UTC()
	if f.from, err = timeOf(f.From, now); err != nil {
		return nil, err
	}
	if f.to, err = timeOf(f.To, now); err != nil {
		return nil, err
	}
	f.before, f.after = values.Get("before"), values.Get("after")
	if err := f.query().Check(); err != nil {
		return nil, badRequest("These events cannot be asked for: %v.", err)
	}
	return f, nil
}

// timeOf reads a time: a date, a date and time, a time of today, or how long ago.
func timeOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC), nil
		}
	}
	return time.Time{}, badRequest("%q is no time: write 90m, 12h, 7d, 15:04, 2026-03-07, or 2026-03-07 15:04.", text)
}

// query is the part of a filter that the store has indexes for.
func (f *filter) query() evento.Query {
	q := evento.Query{RoutingKey: f.RoutingKey}
	if f.Type == "" && f.Tag == "" {
		return q
	}
	one := evento.Filter{AggregateType: evento.AggregateType(f.Type)}
	if f.Type != "" {
		one.AggregateID, one.Name = f.ID, f.Name
	}
	if f.Tag != "" {
		one.Tags = []string{f.Tag}
	}
	q.Filters = []evento.Filter{one}
	return q
}

// scans reports whether events have to be looked at.
func (f *filter) scans() bool {
	return f.Correlation != "" || f.Text != "" || f.Type == "" && (f.ID != "" || f.Name != "")
}

// matches looks at an event.
func (f *filter) matches(e *evento.RawEvent) bool {
	return (f.ID == "" || e.AggregateID == f.ID) && (f.Name == "" || e.Name == f.Name) &&
		(f.Correlation == "" || e.Metadata.CorrelationID == f.Correlation) &&
		(f.Text == "" || strings.Contains(strings.ToLower(payload.Text(e, payload.InLine)), strings.ToLower(f.Text)))
}

// any reports whether something is selected.
func (f *filter) any() bool {
	return slices.ContainsFunc(fields, func(name string) bool { return *f.field(name) != "" })
}

// values is the filter as it is in a URL.
func (f *filter) values() url.Values {
	values := url.Values{}
	for _, name := range fields {
		if text := *f.field(name); text != "" {
			values.Set(name, text)
		}
	}
	return values
}

const (
	pageRows = 50
	// mostLooked is how many events a page looks at, of which it shows a few: twenty times
	// as many as it has rows.
	mostLooked = 20 * pageRows
	// mostBytes is after how many bytes of payloads it looks at no more: 16 MiB stand in a
	// single event.
	mostBytes = 64 << 20
)

// found is a page of events, the newest first.
type found struct {
	rows         []eventRow
	older, newer string // the places before which and behind which there may be more; "": there are none
	looked       int    // events that were looked at
	bytes        int    // of their payloads
	last         time.Time
	more         bool // it was looked no further
	placeless    bool // positions are no places
}

// find reads the page of a filter.
func (f *filter) find(ctx context.Context, ex evento.Executor) (*found, error) {
	if !hasPositions(ex) {
		return f.browse(ctx, ex)
	}
	before, err := positionOf("before", f.before)
	if err != nil {
		return nil, err
	}
	after, err := positionOf("after", f.after)
	if err != nil {
		return nil, err
	}
	head, err := headOf(ctx, ex)
	if err != nil || head.Position == 0 {
		return &found{}, err
	}
	low, high := uint64(0), head.Position+1 // both excluded
	if !f.from.IsZero() {
		if low, err = firstOf(ctx, ex, f.from, head.Position); err != nil {
			return nil, err
		}
		low--
	}
	if !f.to.IsZero() {
		if high, err = firstOf(ctx, ex, f.to, head.Position); err != nil {
			return nil, err
		}
	}
	if after > 0 {
		return f.up(ctx, ex, low, after, high)
	}
	newer := ""
	if before > 0 && before < high {
		high, newer = before, strconv.FormatUint(before-1, 10)
	}
	p, err := f.down(ctx, ex, low, high, high <= head.Position)
	if err == nil {
		p.newer = newer
	}
	return p, err
}

// full reports whether a page has enough, or has looked at enough.
func (p *found) full() bool {
	return len(p.rows) == pageRows || p.looked == mostLooked || p.bytes >= mostBytes
}

// look counts an event that is looked at.
func (p *found) look(e *evento.RawEvent) {
	p.looked++
	p.bytes += len(e.Data)
	p.last = e.Timestamp
}

// positionOf is a position of a query; 0: there is none.
func positionOf(name, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	at, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badRequest("%s=%q is no position.", name, text)
	}
	return at, nil
}

// browse reads the page of a filter where positions are no places: from cursor to cursor. Times
// are looked for among the events then.
func (f *filter) browse(ctx context.Context, ex evento.Executor) (*found, error) {
	p := &found{placeless: true, older: f.after, newer: f.before}
	at, up := cursor.Value(cmp.Or(f.after, f.before)), f.after != ""
	for {
		args := cursor.Backward(pageRows+1, at)
		if up {
			args = cursor.Onward(pageRows+1, at)
		}
		page, err := ex.Read(ctx, f.query(), args)
		if err != nil {
			return nil, err
		}
		if !up {
			slices.Reverse(page.Edges)
		}
		for i := range page.Edges {
			e := &page.Edges[i].Node
			if !up && !f.from.IsZero() && e.Timestamp.Before(f.from) || up && !f.to.IsZero() && !e.Timestamp.Before(f.to) {
				return p.ended(up, ""), nil
			}
			if p.full() {
				return p.ended(up, string(at)), nil
			}
			if at = page.Edges[i].Cursor; p.looked == 0 && up {
				p.older = string(at)
			} else if p.looked == 0 && f.before != "" {
				p.newer = string(at)
			}
			p.look(e)
			if (f.from.IsZero() || !e.Timestamp.Before(f.from)) && (f.to.IsZero() || e.Timestamp.Before(f.to)) && f.matches(e) {
				p.rows = append(p.rows, lineOf(e))
			}
		}
		if up && !page.PageInfo.HasNextPage || !up && !page.PageInfo.HasPreviousPage {
			return p.ended(up, ""), nil
		}
	}
}

// ended is what was found up to a place; "": there is nothing more.
func (p *found) ended(up bool, at string) *found {
	p.more = at != ""
	if !up {
		p.older = at
		return p
	}
	p.newer = at
	return p.turned()
}

// down reads the events below a position, the newest first. There says that the position is one
// of the store, rather than behind its end.
func (f *filter) down(ctx context.Context, ex evento.Executor, low, high uint64, there bool) (*found, error) {
	p := &found{}
	for high > low+1 {
		at, err := ex.CursorAt(high)
		if err != nil {
			return nil, err
		}
		// A place behind the last event is that of the end.
		page, err := ex.Read(ctx, f.query(), cursor.Backward(pageRows+1, before(at, there || p.looked > 0)))
		if err != nil {
			return nil, err
		}
		for i := len(page.Edges) - 1; i >= 0; i-- {
			e := &page.Edges[i].Node
			if e.Position <= low {
				return p, nil
			}
			if p.full() {
				p.older, p.more = strconv.FormatUint(high, 10), true
				return p, nil
			}
			high = e.Position
			p.look(e)
			if f.matches(e) {
				p.rows = append(p.rows, lineOf(e))
			}
		}
		if !page.PageInfo.HasPreviousPage {
			return p, nil
		}
	}
	return p, nil
}

// before is a cursor, or "" for the end.
func before(at cursor.Value, there bool) cursor.Value {
	if !there {
		return ""
	}
	return at
}

// up reads the events above a position, and above the first that the filter lets through, and
// returns them with the newest first.
func (f *filter) up(ctx context.Context, ex evento.Executor, first, low, high uint64) (*found, error) {
	p := &found{}
	if low > first {
		p.older = strconv.FormatUint(low+1, 10)
	}
	low = max(low, first)
	at, err := ex.CursorAt(low)
	if err != nil {
		return nil, err
	}
	for {
		page, err := ex.Read(ctx, f.query(), cursor.Onward(pageRows+1, at))
		if err != nil {
			return nil, err
		}
		for i := range page.Edges {
			e := &page.Edges[i].Node
			if e.Position >= high {
				return p.turned(), nil
			}
			if p.full() {
				p.newer, p.more = strconv.FormatUint(low, 10), true
				return p.turned(), nil
			}
			low = e.Position
			p.look(e)
			if f.matches(e) {
				p.rows = append(p.rows, lineOf(e))
			}
		}
		if at = page.PageInfo.EndCursor; !page.PageInfo.HasNextPage {
			return p.turned(), nil
		}
	}
}

func (p *found) turned() *found {
	slices.Reverse(p.rows)
	return p
}

// firstOf is the position of the first event of a time or later; behind the head if there is
// none. Times never fall from one position to the next, so it is searched for.
func firstOf(ctx context.Context, ex evento.Executor, t time.Time, head uint64) (position uint64, err error) {
	behind, err := seek.First(ctx, ex, evento.Query{}, head, func(e *evento.RawEvent) bool { return !e.Timestamp.Before(t) })
	if err != nil {
		return 0, fmt.Errorf("searching for %s: %w", t.Format(time.DateTime), err)
	}
	return behind + 1, nil
}
