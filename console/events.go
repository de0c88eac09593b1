// The pages of events: the list, and one of them.

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
)

// eventRow is an event in a table.
type eventRow struct {
	Event *evento.RawEvent
	Root  string
	// Line is the payload in a line; the event is without it, so that a page of large ones is
	// not held until it is written.
	Line string
}

// lineOf is the row of an event on a page of the root, whose payload may be let go then.
func lineOf(e *evento.RawEvent) eventRow {
	shown := *e
	shown.Data = nil
	return eventRow{&shown, "./", payload.Text(e, inLine)}
}

type eventsBody struct {
	Filter       *filter
	Rows         []eventRow
	Chips        []chip
	Total        string
	Looked       string
	Older, Newer string // links; "": none
	Types, Names []string
	Live         bool
}

// chip is a part of a filter that can be taken away.
type chip struct{ Name, Value, Without string }

func (c *console) events(r *http.Request) (*page, error) {
	ctx := r.Context()
	f, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	p, err := f.find(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	b := &eventsBody{Filter: f, Total: f.total(p)}
	b.Rows = p.rows
	values := f.values()
	for _, name := range fields {
		if values.Has(name) {
			without := f.values()
			without.Del(name)
			b.Chips = append(b.Chips, chip{name, values.Get(name), "?" + without.Encode()})
		}
	}
	b.Older, b.Newer = f.link("before", p.older), f.link("after", p.newer)
	if b.Types, b.Names, err = c.kinds(ctx); err != nil {
		return nil, err
	}
	if (f.scans() || p.placeless && (f.From != "" || f.To != "")) && p.more && len(p.rows) < pageRows {
		how := "back"
		if f.after != "" {
			how = "up"
		}
		b.Looked = fmt.Sprintf("Looked at %s, %s to %s. These are not found by an index.", plural(p.looked, "event"), how, clock(p.last))
	}
	stream := ""
	if b.Live = f.before == "" && f.after == "" && f.to.IsZero() && !f.scans(); b.Live {
		values.Set("rows", "1")
		stream = values.Encode()
	}
	return &page{Template: "events", Title: "Events", Nav: "events", Stream: stream, Body: b}, nil
}

// link is a link to the page on one side of a place; "": there is none.
func (f *filter) link(name, place string) string {
	if place == "" {
		return ""
	}
	values := f.values()
	values.Set(name, place)
	return "?" + values.Encode()
}

// total says how many there are, as far as that is known.
func (f *filter) total(p *found) string {
	switch n := len(p.rows); {
	case p.older != "" || p.newer != "":
		return plural(n, "event") + " of more"
	case f.any():
		return plural(n, "event")
	default:
		return "All " + plural(n, "event")
	}
}

// kinds are the types and names of the newest events, as proposals for the fields.
func (c *console) kinds(ctx context.Context) (types, names []string, err error) {
	newest, err := c.ex.Read(ctx, evento.Query{}, cursor.Backward(newestEvents, ""))
	if err != nil {
		return nil, nil, err
	}
	for i := range newest.Edges {
		e := &newest.Edges[i].Node
		for list, text := range map[*[]string]string{&types: string(e.AggregateType), &names: e.Name} {
			if printable.Text(text) == text && !slices.Contains(*list, text) {
				*list = append(*list, text)
			}
		}
	}
	return types, names, nil
}

type eventBody struct {
	Event          *evento.RawEvent
	Payload        *value
	Bytes          int
	Cut            bool
	Wrong          string // why the payload cannot be shown as JSON
	Previous, Next uint64
	Cause          *evento.RawEvent
	Effects        []evento.RawEvent
	Looked         int
	Handled        []handled
	HandledMore    bool // there are more subscriptions than were looked at
	Values         []pair
}

type pair struct{ Name, Value string }

// handled is what has become of an event in a subscription.
type handled struct {
	Status status
	Parked *evento.Parked
	Done   bool
	Behind uint64
	// Unknown is why it cannot be said; "": it can.
	Unknown string
}

func (c *console) event(r *http.Request) (*page, error) {
	ctx := r.Context()
	edge, err := c.lookUp(ctx, r.PathValue("event"))
	if err != nil {
		return nil, err
	}
	e := &edge.Node
	b := &eventBody{Event: e, Bytes: len(e.Data)}
	b.Payload, b.Cut, b.Wrong = payloadOf(e, payload.Alone)
	if head, err := headOf(ctx, c.ex); err != nil {
		return nil, err
	} else if hasPositions(c.ex) {
		if b.Previous = e.Position - 1; head.Position > e.Position {
			b.Next = e.Position + 1
		}
	}
	for _, name := range sortedKeys(e.Metadata.Values) {
		b.Values = append(b.Values, pair{name, e.Metadata.Values[name]})
	}
	if err := c.related(ctx, b, edge.Cursor); err != nil {
		return nil, err
	}
	if b.Handled, b.HandledMore, err = c.handledBy(ctx, e); err != nil {
		return nil, err
	}
	return &page{Template: "event", Title: fmt.Sprintf("%s %d", e.Name, e.Position), Nav: "events", Body: b}, nil
}

// lookUp finds an event by its position or its id.
func (c *console) lookUp(ctx context.Context, text string) (*cursor.Edge[evento.RawEvent], error) {
	if id, err := ulid.ParseStrict(text); err == nil {
		return c.byID(ctx, id)
	}
	position, err := strconv.ParseUint(text, 10, 63)
	if err != nil || position == 0 {
		return nil, notFound("%q is neither the position of an event nor an id.", text)
	}
	return c.at(ctx, position)
}

// at reads the event at a position.
func (c *console) at(ctx context.Context, position uint64) (*cursor.Edge[evento.RawEvent], error) {
	if !hasPositions(c.ex) {
		return nil, notFound("Several stores are together here, and each has its own positions: an event is found by its id.")
	}
	at, err := c.ex.CursorAt(position - 1)
	if err != nil {
		return nil, err
	}
	page, err := c.ex.Read(ctx, evento.Query{}, cursor.Onward(1, at))
	if err != nil && !errors.Is(err, cursor.ErrInvalid) { // beyond the end
		return nil, err
	}
	if err != nil || len(page.Edges) == 0 || page.Edges[0].Node.Position != position {
		return nil, notFound("There is no event at position %s.", number(position))
	}
	return &page.Edges[0], nil
}

// An id has the time at which it was made, near to which the event was recorded.
const (
	idEarly = time.Minute
	idLate  = 10 * time.Minute
)

// byID looks for an event near the time of its id: first from then on, as nearly all are recorded
// at once, and then before, as the clock of the storage may be behind.
func (c *console) byID(ctx context.Context, id evento.ID) (*cursor.Edge[evento.RawEvent], error) {
	if !hasPositions(c.ex) {
		return c.among(ctx, id)
	}
	head, err := headOf(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	made := ulid.Time(id.Time())
	first, err := firstOf(ctx, c.ex, made, head.Position)
	if err != nil {
		return nil, err
	}
	from, err := c.ex.CursorAt(first - 1)
	if err != nil {
		return nil, err
	}
	e, err := c.seek(ctx, id, mostLooked*3/4, cursor.Onward(pageRows, from))
	if err != nil || e != nil {
		return e, err
	}
	before := cursor.Value("")
	if first <= head.Position {
		if before, err = c.ex.CursorAt(first); err != nil {
			return nil, err
		}
	}
	e, err = c.seek(ctx, id, mostLooked/4, cursor.Backward(pageRows, before))
	if err != nil || e != nil {
		return e, err
	}
	return nil, notFound("There is no event %s among those recorded from %s before to %s after it was made.", id, idEarly, idLate)
}

// seek looks for an event in pages from one on, until they are too far from the time of its id, or
// so many were looked at; nil: it is not there.
func (c *console) seek(ctx context.Context, id evento.ID, most int, args cursor.Args) (*cursor.Edge[evento.RawEvent], error) {
	made := ulid.Time(id.Time())
	from, to := made.Add(-idEarly), made.Add(idLate)
	for looked := 0; looked < most; {
		page, err := c.ex.Read(ctx, evento.Query{}, args)
		if err != nil || len(page.Edges) == 0 {
			return nil, err
		}
		far := false
		for i := range page.Edges {
			e := &page.Edges[i].Node
			if e.ID == id {
				return &page.Edges[i], nil
			}
			far = far || e.Timestamp.Before(from) || e.Timestamp.After(to)
		}
		looked += len(page.Edges)
		switch {
		case far, args.IsBackward() && !page.PageInfo.HasPreviousPage, !args.IsBackward() && !page.PageInfo.HasNextPage:
			return nil, nil
		case args.IsBackward():
			args = cursor.Backward(pageRows, page.PageInfo.StartCursor)
		default:
			args = cursor.Onward(pageRows, page.PageInfo.EndCursor)
		}
	}
	return nil, nil
}

// among looks for an event among the newest, where positions are no places.
func (c *console) among(ctx context.Context, id evento.ID) (*cursor.Edge[evento.RawEvent], error) {
	made, at := ulid.Time(id.Time()), cursor.Value("")
	looked := 0
	for more := true; more && looked < mostLooked; {
		page, err := c.ex.Read(ctx, evento.Query{}, cursor.Backward(pageRows*2, at))
		if err != nil {
			return nil, err
		}
		for i := len(page.Edges) - 1; i >= 0; i-- {
			if looked++; page.Edges[i].Node.ID == id {
				return &page.Edges[i], nil
			}
		}
		at, more = page.PageInfo.StartCursor, page.PageInfo.HasPreviousPage
		if len(page.Edges) > 0 && page.Edges[0].Node.Timestamp.Before(made.Add(-idEarly)) {
			break
		}
	}
	return nil, notFound("There is no event %s among the newest %s. Several stores are together here, so it is looked for no further: look for it in its own.", id, number(looked))
}

// place is what the page of an event is called.
func (c *console) place(position uint64, id evento.ID) string {
	if hasPositions(c.ex) {
		return strconv.FormatUint(position, 10)
	}
	return id.String()
}

// related finds what an event was caused by, and what it has caused, among the events around.
func (c *console) related(ctx context.Context, b *eventBody, at cursor.Value) error {
	e := b.Event
	if id, err := ulid.ParseStrict(e.Metadata.CausationID); err == nil {
		if cause, err := c.byID(ctx, id); err == nil {
			b.Cause = &cause.Node
		}
	}
	page, err := c.ex.Read(ctx, evento.Query{}, cursor.Onward(pageRows*4, at))
	if err != nil {
		return err
	}
	b.Looked = len(page.Edges)
	for i := range page.Edges {
		if next := &page.Edges[i].Node; next.Metadata.CausationID == e.ID.String() {
			b.Effects = append(b.Effects, *next)
		}
	}
	return nil
}

// isPosition reports whether a text is a number with its thousands apart.
func isPosition(text string) bool {
	n, err := strconv.ParseUint(strings.ReplaceAll(text, ",", ""), 10, 63)
	return err == nil && number(n) == text
}

// find goes to what somebody has typed: a position, an id, a subscription, or part of a payload.
func (c *console) find(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	text := strings.TrimSpace(r.URL.Query().Get("q"))
	to := "events?text=" + url.QueryEscape(text)
	event := text
	if n := strings.ReplaceAll(text, ",", ""); event != n && isPosition(text) { // as pages write it
		event = n
	}
	_, err := c.lookUp(ctx, event)
	var refused *refusal
	switch {
	case err == nil:
		to = "events/" + url.PathEscape(event)
	case !errors.As(err, &refused):
		c.fail(w, r, err)
		return
	default:
		ok, err := c.hasSubscription(ctx, text)
		switch {
		case err != nil && !errors.Is(err, evento.ErrDamaged):
			c.fail(w, r, err)
			return
		case ok && err == nil:
			to = "subscriptions/" + escape(text)
		}
	}
	w.Header().Set("Location", to) // it is relative: the prefix is not known
	w.WriteHeader(http.StatusSeeOther)
}
