// The page of an aggregate: its events, and its state at each version.

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/seek"
)

const (
	nearEnd    = 4 * pageRows // versions that are read rather than searched for
	mostMarked = mostParked   // parked events that are looked at, of all subscriptions
)

type aggregateBody struct {
	Type         evento.AggregateType
	ID           string
	Last, V      uint64
	From, To     uint64 // of the page
	Said         string // that another version is shown than was asked for; "": it is that
	Rows         []versionRow
	Older, Newer string // links; "": none
	Prev, Next   string
	Hidden       []pair // of the form
	Event        *evento.RawEvent
	Payload      *value
	Wrong        string // why the payload cannot be shown so
	Line         string // the payload as a line then
	Bytes        int
	Cut          bool
	Projections  []option
	State        *stateBody // nil: no projection is of this type
}

// versionRow is an event in the timeline.
type versionRow struct {
	Event   evento.RawEvent // without its payload
	Link    string
	Brief   []pair // what is in the payload
	Line    string // the payload, when it has no names
	Note    string // what needs attention
	Current bool
}

// option is one of several, as a link.
type option struct {
	Name    string
	Link    string
	Current bool
}

func (c *console) aggregate(r *http.Request) (*page, error) {
	ctx, values := r.Context(), r.URL.Query()
	key := evento.AggregateKey{Type: evento.AggregateType(unescape(r.PathValue("type"))), ID: unescape(r.PathValue("id"))}
	q := evento.Query{Filters: []evento.Filter{evento.ByID(key.Type, key.ID)}}
	newest, err := c.ex.Read(ctx, q, cursor.Backward(1, ""))
	if err != nil {
		return nil, err
	}
	if len(newest.Edges) == 0 {
		return nil, notFound("There is no aggregate %s %s: nothing has been committed to it.", printable.Text(string(key.Type)), printable.Text(key.ID))
	}
	last := newest.Edges[0].Node
	b := &aggregateBody{Type: key.Type, ID: key.ID, Last: last.Version}
	if err := b.choose(values.Get("v")); err != nil {
		return nil, err
	}
	p, err := c.projectionOf(key.Type, values.Get("projection"))
	if err != nil {
		return nil, err
	}
	link := linker{values: url.Values{}}
	for _, name := range []string{"projection", "plot", "replay"} {
		if text := values.Get(name); text != "" {
			link.values.Set(name, text)
			b.Hidden = append(b.Hidden, pair{name, text})
		}
	}
	b.page(link)
	if err := c.timeline(ctx, b, q, last.Position, link); err != nil {
		return nil, err
	}
	c.note(ctx, b)
	for _, other := range c.opts.Projections {
		if other.aggregateType() == key.Type {
			b.Projections = append(b.Projections, option{other.name(), link.with("projection", other.name(), b.V), p != nil && other.name() == p.name()})
		}
	}
	if p != nil {
		b.State = c.state(ctx, b, p, values)
		b.State.link(link, b.V)
	}
	title := fmt.Sprintf("%s %s at version %d", key.Type, short(key.ID), b.V)
	return &page{Template: "aggregate", Title: title, Nav: "events", Body: b}, nil
}

// choose decides which version is shown: the nearest to the one that is asked for.
func (b *aggregateBody) choose(text string) error {
	b.V = b.Last
	if text == "" {
		return nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return badRequest("v=%q is no version: they are 1 to %s.", text, number(b.Last))
	}
	if b.V = min(max(v, 1), b.Last); b.V != v {
		b.Said = fmt.Sprintf("There is no version %s: versions are 1 to %s, and the nearest is shown.", printable.Thousands(v), number(b.Last))
	}
	return nil
}

// page chooses the versions around the one that is shown.
func (b *aggregateBody) page(link linker) {
	b.To = min(b.Last, max(b.V+pageRows/2, pageRows))
	b.From = max(b.To, pageRows) - pageRows + 1
	if b.V > 1 {
		b.Prev = link.to(b.V - 1)
	}
	if b.V < b.Last {
		b.Next = link.to(b.V + 1)
	}
	if b.From > 1 { // so that the page ends before this one
		b.Older = link.to(max(b.From, pageRows/2+2) - pageRows/2 - 1)
	}
	if b.To < b.Last {
		b.Newer = link.to(min(b.To+pageRows/2, b.Last))
	}
}

// linker makes links to versions, which keep what else was chosen.
type linker struct{ values url.Values }

func (l linker) to(version uint64) string {
	l.values.Set("v", strconv.FormatUint(version, 10))
	return "?" + l.values.Encode()
}

// with is a link to a version with something else chosen.
func (l linker) with(name, value string, version uint64) string {
	values := url.Values{}
	for n, v := range l.values {
		values[n] = v
	}
	if name == "projection" {
		values.Del("plot")
	}
	values.Set(name, value)
	return linker{values}.to(version)
}

// projectionOf is the projection of a name, or the first of a type; nil: there is none.
func (c *console) projectionOf(t evento.AggregateType, name string) (Projection, error) {
	for _, p := range c.opts.Projections {
		if p.aggregateType() == t && (name == "" || p.name() == name) {
			return p, nil
		}
	}
	if name != "" {
		return nil, notFound("The program has given the console no projection %s of %s.", printable.Text(name), printable.Text(string(t)))
	}
	return nil, nil
}

// timeline reads the events of the page, and the one at the version that is shown.
func (c *console) timeline(ctx context.Context, b *aggregateBody, q evento.Query, last uint64, link linker) error {
	add := func(e *evento.RawEvent) {
		if e.Version < b.From || e.Version > b.To {
			return
		}
		row := versionRow{Event: *e, Link: link.to(e.Version), Current: e.Version == b.V}
		row.Brief, row.Line = briefOf(e)
		row.Event.Data = nil
		b.Rows = append(b.Rows, row)
		if row.Current {
			b.event(e)
		}
	}
	at, err := c.before(ctx, b, q, last)
	if err != nil {
		return err
	}
	for len(b.Rows) < int(b.To-b.From+1) {
		// A page has fewer when their payloads are large.
		events, err := c.ex.Read(ctx, q, cursor.Onward(at.more(b), at.cursor))
		if err != nil {
			return err
		}
		for i := range events.Edges {
			add(&events.Edges[i].Node)
		}
		if at.skip -= uint64(min(len(events.Edges), int(at.skip))); !events.PageInfo.HasNextPage {
			break
		}
		at.cursor = events.PageInfo.EndCursor
	}
	for i, j := 0, len(b.Rows)-1; i < j; i, j = i+1, j-1 {
		b.Rows[i], b.Rows[j] = b.Rows[j], b.Rows[i]
	}
	if b.Event == nil {
		return notFound("The events of %s %s changed while they were read.", printable.Text(string(b.Type)), printable.Text(b.ID))
	}
	return nil
}

// place is where the reading of a timeline begins.
type place struct {
	cursor cursor.Value
	skip   uint64 // events before the first of the page
}

// more is how many events are to be read.
func (p place) more(b *aggregateBody) int {
	return int(p.skip + b.To - b.From + 1 - uint64(len(b.Rows)))
}

// before is a place before the first version of the page: the beginning if it is near, or one
// that is searched for.
func (c *console) before(ctx context.Context, b *aggregateBody, q evento.Query, last uint64) (place, error) {
	if b.From <= nearEnd {
		return place{skip: b.From - 1}, nil
	}
	at, err := c.search(ctx, q, b.From, last)
	if errors.Is(err, errors.ErrUnsupported) { // positions are no places here
		if b.From <= mostLooked-pageRows {
			return place{skip: b.From - 1}, nil
		}
		return c.fromEnd(ctx, b, q)
	}
	return place{cursor: at}, err
}

// fromEnd is a place before the first version of a page that is near the last version.
func (c *console) fromEnd(ctx context.Context, b *aggregateBody, q evento.Query) (place, error) {
	n := int(b.Last - b.From + 2)
	if n > mostLooked {
		return place{}, badRequest("This store can find the first and the last %s versions of an aggregate, and not version %s of %s.", number(mostLooked-2*pageRows), number(b.V), number(b.Last))
	}
	events, err := c.ex.Read(ctx, q, cursor.Backward(n, ""))
	if err != nil {
		return place{}, err
	}
	for i := range events.Edges {
		if events.Edges[i].Node.Version == b.From-1 {
			return place{cursor: events.Edges[i].Cursor}, nil
		}
	}
	return place{}, badRequest("The events around version %s are too large to be found.", number(b.V))
}

// search finds the place before a version. Versions rise with positions, so it halves.
func (c *console) search(ctx context.Context, q evento.Query, version, last uint64) (cursor.Value, error) {
	n, err := seek.First(ctx, c.ex, q, last, func(e *evento.RawEvent) bool { return e.Version >= version })
	if err != nil {
		return "", err
	}
	return c.ex.CursorAt(n)
}

// event keeps the event that is shown.
func (b *aggregateBody) event(e *evento.RawEvent) {
	shown := *e
	b.Event, b.Bytes = &shown, len(e.Data)
	b.Payload, b.Cut, b.Wrong = payloadOf(e, mostShown)
	if b.Event.Data = nil; b.Payload == nil {
		b.Line = payload.Text(e, payload.InLine)
	}
}

// briefOf is a payload in a row: its members, or a line if it has none.
func briefOf(e *evento.RawEvent) (brief []pair, line string) {
	text, _, err := payload.JSON(e, inLine)
	if err != nil {
		return nil, payload.Text(e, inLine)
	}
	open, members := membersOf(text)
	if open != '{' {
		return nil, payload.Text(e, inLine)
	}
	for _, m := range members {
		brief = append(brief, pair{printable.JSON(unquoted(m.key)), briefValue(m.raw)})
	}
	return brief, ""
}

// briefValue is a value of a payload in a row: long texts are shortened as ids are.
func briefValue(raw []byte) string {
	text := string(raw)
	if r := []rune(text); len(r) > 40 || raw[0] == '"' && len(r) > 26 {
		text = string(r[:min(len(r), 9)]) + "…"
		if raw[0] == '"' {
			text += `"`
		}
	}
	return printable.JSON(text)
}

// note says of the events of the page what needs attention. What cannot be read is not said.
func (c *console) note(ctx context.Context, b *aggregateBody) {
	notes := c.notes(ctx, func(p *evento.Parked) bool { return p.AggregateType == b.Type && p.AggregateID == b.ID })
	for i := range b.Rows {
		b.Rows[i].Note = notes[b.Rows[i].Event.ID]
	}
}

// notes says of events that a subscription has stopped at them, tries them again, or has parked
// them.
func (c *console) notes(ctx context.Context, wanted func(*evento.Parked) bool) map[evento.ID]string {
	notes, looked := map[evento.ID]string{}, 0
	add := func(id evento.ID, note string) {
		if notes[id] != "" {
			note = notes[id] + ", " + note
		}
		notes[id] = note
	}
	for _, s := range c.live.lastStatuses() {
		for i := range s.Partitions {
			p := &s.Partitions[i]
			if id, err := ulid.ParseStrict(p.ErrorEvent); err == nil && p.Owner == "" {
				add(id, printable.Text(s.Key)+" has stopped here")
			} else if err == nil {
				add(id, printable.Text(s.Key)+" tries it again")
			}
		}
		if s.Parked == 0 {
			continue
		}
		// A filter of the library would look at all of them.
		for p, err := range c.control(s.name()).Parked(ctx, evento.AllParked()) {
			if looked++; err != nil || looked > mostMarked {
				break
			}
			if !wanted(&p) {
				continue
			}
			if p.Error == "" {
				add(p.ID, "waits in "+printable.Text(s.Key))
			} else {
				add(p.ID, "parked in "+printable.Text(s.Key))
			}
		}
	}
	return notes
}

// lastStatuses are the subscriptions as they were when the last sample was taken.
func (l *live) lastStatuses() []status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]status(nil), l.statuses...)
}
