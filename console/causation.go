// The page of a correlation: what caused what.

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

const (
	mostNodes = 200 // events of a graph
	// mostNested is how deep the list is nested: what is deeper stands with what it is caused by.
	mostNested = 12
)

type causationBody struct {
	Correlation  string
	Lede         string
	Looked       string // how far it was looked for
	Older, Newer string // links to look further; "": that is all
	Left         string // what is not shown
	Requests     string
	Near         uint64
	Roots        []*cause
	Graph        *graph
}

// cause is an event, and what followed from it.
type cause struct {
	Event   evento.RawEvent // without its payload
	Note    string          // what needs attention
	Missing string          // the id that caused it, if it does not stand below that
	Circle  bool            // what caused it followed from it
	By      uint64          // the position of what caused it, if the list does not show it; 0: it does
	Effects []*cause
	Nested  []*cause // those in the list
	by      *cause
	since   time.Duration // after the first
	x, y    float64
}

func (c *console) causation(r *http.Request) (*page, error) {
	ctx := r.Context()
	b := &causationBody{Correlation: unescape(r.PathValue("correlation"))}
	near, err := nearOf(r.URL.Query().Get("near"))
	if err != nil {
		return nil, err
	}
	around, err := c.around(ctx, near)
	if err != nil {
		return nil, err
	}
	var events []evento.RawEvent
	for i := range around.events {
		// An event without a correlation gives its id to what it causes.
		if e := &around.events[i]; e.Metadata.CorrelationID == b.Correlation || e.ID.String() == b.Correlation {
			events = append(events, *e)
		}
	}
	b.Looked = around.sentence()
	if len(events) == 0 {
		return nil, notFound("There is no event of the correlation %s here. %s", printable.Text(b.Correlation), b.Looked)
	}
	if n := len(events); n > mostNodes {
		at := slices.IndexFunc(events, func(e evento.RawEvent) bool { return e.Position >= near })
		first := min(max(at-mostNodes/2, 0), n-mostNodes)
		events = events[first : first+mostNodes]
		b.Left = fmt.Sprintf("%d of the %d events that were found are shown: %d earlier and %d later ones are left out.", mostNodes, n, first, n-mostNodes-first)
	}
	b.Near = near
	if around.older {
		b.Older = "?near=" + strconv.FormatUint(around.first, 10)
	}
	if around.newer {
		b.Newer = "?near=" + strconv.FormatUint(around.last, 10)
	}
	b.tree(events, c.notes(ctx, func(*evento.Parked) bool { return true }))
	b.Graph = graphOf(b)
	return &page{Template: "causation", Title: "What " + b.Correlation + " led to", Nav: "events", Body: b}, nil
}

// nearOf reads the position around which to look; 0: that of the newest.
func nearOf(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	near, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badRequest("near=%q is no position.", text)
	}
	return near, nil
}

// around are the events around a position, without their payloads.
type around struct {
	events       []evento.RawEvent
	first, last  uint64
	older, newer bool // there are more
}

// sentence says how far it was looked.
func (a *around) sentence() string {
	if len(a.events) == 0 {
		return "The store has no events."
	}
	if !a.older && !a.newer {
		return "All " + plural(len(a.events), "event") + " of the store were looked at."
	}
	return fmt.Sprintf("%s were looked at, from position %s to %s. Correlations are not found by an index.", plural(len(a.events), "event"), number(a.first), number(a.last))
}

// around reads as many events as may be looked at: half of them before a position, or the newest.
// Where positions are no places, it reads the newest.
func (c *console) around(ctx context.Context, near uint64) (*around, error) {
	head, err := headOf(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	a := &around{}
	if near > 0 && near < head.Position {
		at, err := c.ex.CursorAt(near)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil:
			return nil, err
		default:
			if err := c.after(ctx, a, at, mostLooked/2); err != nil {
				return nil, err
			}
			later := a.events
			a.events = nil
			if at, err = c.ex.CursorAt(near + 1); err != nil {
				return nil, err
			}
			if err := c.upTo(ctx, a, at, mostLooked-len(later)); err != nil {
				return nil, err
			}
			a.events = append(a.events, later...)
		}
	}
	if len(a.events) == 0 {
		if err := c.upTo(ctx, a, "", mostLooked); err != nil {
			return nil, err
		}
	}
	if n := len(a.events); n > 0 {
		a.first, a.last = a.events[0].Position, a.events[n-1].Position
	}
	return a, nil
}

// after reads the events behind a place. A page has fewer when their payloads are large.
func (c *console) after(ctx context.Context, a *around, at cursor.Value, n int) error {
	for len(a.events) < n {
		page, err := c.ex.Read(ctx, evento.Query{}, cursor.Onward(n-len(a.events), at))
		if err != nil {
			return err
		}
		a.events = append(a.events, withoutData(page)...)
		if at, a.newer = page.PageInfo.EndCursor, page.PageInfo.HasNextPage; !a.newer {
			break
		}
	}
	return nil
}

// upTo reads the events before a place; "": the newest.
func (c *console) upTo(ctx context.Context, a *around, at cursor.Value, n int) error {
	for len(a.events) < n {
		page, err := c.ex.Read(ctx, evento.Query{}, cursor.Backward(n-len(a.events), at))
		if err != nil {
			return err
		}
		a.events = append(withoutData(page), a.events...)
		if at, a.older = page.PageInfo.StartCursor, page.PageInfo.HasPreviousPage; !a.older {
			break
		}
	}
	return nil
}

func withoutData(page *cursor.Page[evento.RawEvent]) []evento.RawEvent {
	events := make([]evento.RawEvent, len(page.Edges))
	for i := range page.Edges {
		events[i] = page.Edges[i].Node
		events[i].Data = nil
	}
	return events
}

// tree finds out what caused what. An event whose cause is not here, or would be its own effect,
// is at the top.
func (b *causationBody) tree(events []evento.RawEvent, notes map[evento.ID]string) {
	byID := map[string]*cause{}
	var all []*cause
	aggregates, requests := map[evento.AggregateKey]bool{}, map[string]bool{}
	for i := range events {
		e := &events[i]
		n := &cause{Event: *e, Note: notes[e.ID], since: e.Timestamp.Sub(events[0].Timestamp)}
		all = append(all, n)
		byID[e.ID.String()] = n
		aggregates[e.Aggregate()] = true
	}
	for _, n := range all {
		id := n.Event.Metadata.CausationID
		by := byID[id]
		if by == nil || by.isFrom(n) {
			if n.Missing, n.Circle = id, by != nil; id == n.Event.Metadata.ID || id == b.Correlation {
				n.Missing = "" // it is the request
			}
			b.Roots = append(b.Roots, n)
			if n.Event.Metadata.ID != "" {
				requests[n.Event.Metadata.ID] = true
			}
			continue
		}
		n.by = by
		by.Effects = append(by.Effects, n)
	}
	for _, n := range b.Roots {
		n.nest(n, 1)
	}
	if len(requests) > 0 {
		b.Requests = plural(len(requests), "request")
	}
	b.Lede = fmt.Sprintf("%s of %s in %s. Left is what was asked for, right what followed from it. An event is caused by the one that a line comes from.",
		plural(len(all), "event"), plural(len(aggregates), "aggregate"), took(all[len(all)-1].since))
}

// isFrom reports whether something followed from n, or is n.
func (e *cause) isFrom(n *cause) bool {
	for ; e != nil; e = e.by {
		if e == n {
			return true
		}
	}
	return false
}

// nest puts the effects into the list: within what caused them, or, where that is too deep, behind
// it.
func (e *cause) nest(list *cause, depth int) {
	for _, effect := range e.Effects {
		if depth < mostNested {
			e.Nested = append(e.Nested, effect)
			effect.nest(effect, depth+1)
			continue
		}
		effect.By = e.Event.Position
		list.Nested = append(list.Nested, effect)
		effect.nest(list, depth)
	}
}

// took is a duration as it is read.
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	if d < 2*time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return ago(d)
}

// Since is how long after the first event it was.
func (e *cause) Since() string {
	if e.since < 2*time.Minute {
		return fmt.Sprintf("+%.3f s", e.since.Seconds())
	}
	return "+" + ago(e.since)
}

// List is a link to the events of the correlation.
func (b *causationBody) List() string {
	return "events?correlation=" + url.QueryEscape(b.Correlation)
}

// graph is the tree as lines and dots. Its measures are in pixels.
type graph struct {
	Width, Height int
	Label         string
	RootY         float64
	Lines         []string
	Nodes         []*cause
}

// The places of a graph.
const (
	rootText  = 168.0 // where the text of the correlation ends
	firstX    = 280.0
	columnX   = 440.0
	textX     = 200.0 // how wide the text of an event is
	leafY     = 44.0
	familyY   = 10.0 // more between the effects of two events
	firstY    = 26.0
	beyond    = 440 // on the right
	dotRadius = 8.0
)

// graphOf places the tree: an event is in the middle of its effects.
func graphOf(b *causationBody) *graph {
	g := &graph{}
	y, depth := firstY, 0
	var before *cause // the last one without effects
	var put func(n *cause, at int)
	put = func(n *cause, at int) {
		g.Nodes = append(g.Nodes, n)
		n.x, depth = firstX+columnX*float64(at), max(depth, at)
		for _, effect := range n.Effects {
			put(effect, at+1)
		}
		if len(n.Effects) > 0 {
			n.y = (n.Effects[0].y + n.Effects[len(n.Effects)-1].y) / 2
			for _, effect := range n.Effects {
				g.Lines = append(g.Lines, curve(n.x+textX, n.y, effect.x-dotRadius, effect.y))
			}
			return
		}
		if before != nil {
			if y += leafY; before.by != n.by {
				y += familyY
			}
		}
		n.y, before = y, n
	}
	for _, n := range b.Roots {
		put(n, 0)
	}
	g.RootY = (b.Roots[0].y + b.Roots[len(b.Roots)-1].y) / 2
	for _, n := range b.Roots {
		g.Lines = append(g.Lines, curve(rootText, g.RootY, n.x-dotRadius, n.y))
	}
	g.Width, g.Height = int(firstX+columnX*float64(depth))+beyond, int(y+firstY)+int(firstY)
	g.Label = fmt.Sprintf("Causation graph: %s, %s at the top, up to %d deep", plural(len(g.Nodes), "event"), number(len(b.Roots)), depth+1)
	return g
}

// curve is the path of a line from one event to another.
func curve(x1, y1, x2, y2 float64) string {
	middle := (x1 + x2) / 2
	return fmt.Sprintf("M%.0f,%.1f C%.0f,%.1f %.0f,%.1f %.0f,%.1f", x1, y1, middle, y1, middle, y2, x2, y2)
}

// The places of an event's dot and its two lines of text.
func (e *cause) X() float64     { return e.x }
func (e *cause) Y() float64     { return e.y }
func (e *cause) TextX() float64 { return e.x + 14 }
func (e *cause) NameY() float64 { return e.y + 4 }
func (e *cause) MoreY() float64 { return e.y + 21 }

// NameY and MoreY are the places of the correlation's lines of text.
func (g *graph) NameY() float64 { return g.RootY + 4 }
func (g *graph) MoreY() float64 { return g.RootY + 21 }

// Name is short enough to stand before the lines.
func (e *cause) Name() string { return cutText(e.Event.Name, 22) }

// Heading is the correlation as the title has it; Whole is the rest of it, if it is cut there.
func (b *causationBody) Heading() string { return cutText(b.Correlation, 26) }
func (b *causationBody) Whole() string {
	if whole := printable.Text(b.Correlation); whole != b.Heading() {
		return whole
	}
	return ""
}

// Name of the correlation is as short. One that has the id of an event has no name.
func (b *causationBody) Name() string {
	if slices.ContainsFunc(b.Roots, func(n *cause) bool { return n.Event.ID.String() == b.Correlation }) {
		return "a request"
	}
	return cutText(b.Correlation, 18)
}

func cutText(text string, most int) string {
	if r := []rune(text); len(r) > most {
		text = string(r[:most-1]) + "…"
	}
	return printable.Text(text)
}

// causeRow is an event in the list.
type causeRow struct {
	*cause
	Root    string
	Near    uint64
	Current bool
}

func causeIn(root string, near uint64, e *cause) causeRow {
	return causeRow{e, root, near, e.Event.Position == near}
}
