// The overview: what needs attention, how far everything is, and what is new.

package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// glance is how many of the newest events the overview looks at.
const (
	glance     = 500
	glanceRows = 10
)

type overviewBody struct {
	Problems []status
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
	Done int // of 1000
}

func (c *console) overview(r *http.Request) (*page, error) {
	ctx := r.Context()
	newest, err := c.ex.Read(ctx, evento.Query{}, cursor.Backward(glance, ""))
	if err != nil {
		return nil, err
	}
	if len(newest.Edges) == 0 {
		return &page{Template: "empty", Title: "An empty store", Nav: "overview", Stream: "clock"}, nil
	}
	statuses, err := statusesOf(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	b := &overviewBody{Looked: len(newest.Edges), From: newest.Edges[0].Node.Position}
	counts := map[kindRow]int{}
	for i := len(newest.Edges) - 1; i >= 0; i-- {
		e := &newest.Edges[i].Node
		if len(b.Newest) < glanceRows {
			b.Newest = append(b.Newest, eventRow{Event: e, Root: "./"})
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
		if statuses[i].needsAttention() {
			b.Problems = append(b.Problems, statuses[i])
		}
		b.Statuses = append(b.Statuses, railRow{statuses[i], railAt(statuses[i].Position, b.From, b.Head.Position)})
	}
	history := c.live.history()
	b.Rate, b.Lag = rateOf(history), lagOf(history, nil)
	title := "All is well"
	if n := len(b.Problems); n > 0 {
		title = plural(n, "problem")
	}
	return &page{Template: "overview", Title: title, Nav: "overview", Stream: "rows", Body: b}, nil
}

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
		for name, lag := range history[i].lags {
			if of == nil || name == *of {
				longest = max(longest, lag)
			}
		}
		p.values = append(p.values, longest.Seconds())
	}
	return p.since(history)
}
