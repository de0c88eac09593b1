// The overview: what needs attention, how far everything is, and what is new.

package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const (
	newestEvents = 500 // that the overview looks at
	newestRows   = 10  // of them that it shows
)

type overviewBody struct {
	Problems []problem
	Left     int  // problems that are not shown
	More     bool // there are more subscriptions than were looked at
	Count    int  // of those that were
	Hidden   int  // of them that are not shown
	Bad      int  // that need attention
	Head     evento.RawEvent
	Rate     *plot
	Lag      *plot
	Statuses []railRow
	From     uint64
	Newest   []eventRow
	Kinds    []kindRow
	Looked   int
}

type kindRow struct {
	Type  evento.AggregateType
	Name  string
	Count int
}

// railRow is a subscription, and where it is within the newest events.
type railRow struct {
	status
	Done  int    // of 1000
	Ticks string // what is parked, as a path
}

func (c *console) overview(r *http.Request) (*page, error) {
	ctx := r.Context()
	statuses, more, err := statusesOf(ctx, c.ex, "")
	if err != nil {
		return nil, err
	}
	c.live.see(statuses)
	b, err := c.glance(ctx, statuses, more)
	switch {
	case err != nil:
		return nil, err
	case b.Looked == 0:
		return &page{Template: "empty", Title: "An empty store", Nav: "overview", Stream: "clock"}, nil
	}
	return &page{Template: "overview", Title: b.Title(), Nav: "overview", Stream: "rows&figures", Body: b}, nil
}

// Title says whether anything needs attention.
func (b *overviewBody) Title() string {
	if n := b.Bad; n > 0 {
		return plural(n, "problem")
	}
	return "All is well"
}

// glance looks at the newest events, and puts the subscriptions beside them.
func (c *console) glance(ctx context.Context, statuses []status, more bool) (*overviewBody, error) {
	newest, err := c.ex.Read(ctx, evento.Query{}, cursor.Backward(newestEvents, ""))
	if err != nil || len(newest.Edges) == 0 {
		return &overviewBody{}, err
	}
	b := &overviewBody{Looked: len(newest.Edges), From: newest.Edges[0].Node.Position}
	counts := map[kindRow]int{}
	for i := len(newest.Edges) - 1; i >= 0; i-- {
		e := &newest.Edges[i].Node
		if len(b.Newest) < newestRows {
			b.Newest = append(b.Newest, lineOf(e))
		}
		counts[kindRow{Type: e.AggregateType, Name: e.Name}]++
	}
	b.Head = *b.Newest[0].Event
	for k, n := range counts {
		k.Count = n
		b.Kinds = append(b.Kinds, k)
	}
	slices.SortFunc(b.Kinds, func(a, b kindRow) int { return b.Count - a.Count })
	for i := range statuses {
		s := &statuses[i]
		row := railRow{status: *s, Done: railAt(s.Position, b.From, b.Head.Position)}
		if s.needsAttention() {
			if b.Bad++; len(b.Problems) < pageRows {
				p := &problem{status: *s}
				if !s.known() {
					p.Reason = firstLine(s.Error)
				}
				if len(b.Problems) < mostProblems && s.known() {
					if p, err = c.problemOf(ctx, s); err != nil {
						return nil, err
					}
				}
				b.Problems = append(b.Problems, *p)
				row.Ticks = ticks(p.ticks, b.From, b.Head.Position)
			}
		}
		if len(b.Statuses) == pageRows {
			continue
		}
		b.Statuses = append(b.Statuses, row)
	}
	b.More, b.Count, b.Left, b.Hidden = more, len(statuses), b.Bad-len(b.Problems), len(statuses)-len(b.Statuses)
	history := c.live.history()
	b.Rate, b.Lag = rateOf(history), lagOf(history, nil)
	return b, nil
}

// figures are the parts of the overview that change without an event, as its viewers are told of
// them.
func (c *console) figures(ctx context.Context, statuses []status, more bool) (text string, err error) {
	b, err := c.glance(ctx, statuses, more)
	if err != nil || b.Looked == 0 {
		return "", err
	}
	of := b.Figures()
	parts := []struct {
		name string
		data any
	}{{"attention", b.Bad}, {"problems", of}, {"figures", of}, {"glance", of}}
	for _, p := range parts {
		part, err := c.pages.fragment(p.name, p.data)
		if err != nil {
			return "", err
		}
		text += "event: put\ndata: " + part + "\n\n"
	}
	return text, nil
}

// figures are an overview for its fragments.
type figures struct {
	*overviewBody
	Root string
}

// Figures are those of the page.
func (b *overviewBody) Figures() figures { return figures{b, "./"} }

// railAt is where a position is between two others, of 1000.
func railAt(at, from, to uint64) int {
	switch {
	case at <= from:
		return 0
	case at >= to:
		return 1000
	}
	return int((at - from) * 1000 / (to - from))
}

// rateOf is how many events were appended in each interval.
func rateOf(history []sample) *plot {
	p := &plot{unit: "events"}
	for i := 1; i < len(history); i++ {
		p.values = append(p.values, float64(history[i].head-min(history[i].head, history[i-1].head)))
	}
	return p.since(history)
}

// lagOf is the longest lag at each moment: of one subscription, or of all.
func lagOf(history []sample, of *evento.SubscriptionName) *plot {
	p := &plot{unit: "seconds", least: 10}
	for i := range history {
		longest := time.Duration(0)
		if of != nil {
			longest = history[i].lags[*of]
		} else {
			for _, lag := range history[i].lags {
				longest = max(longest, lag)
			}
		}
		p.values = append(p.values, longest.Seconds())
	}
	return p.since(history)
}
