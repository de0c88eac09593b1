// The page of deadlines.

package console

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/evento-go/evento"
)

const (
	// late is how long a deadline may be due: those that make deadlines come true need a moment.
	late = time.Minute
	// mostDeadlines is how many deadlines a page passes over at most.
	mostDeadlines = mostLooked
	dueKind       = "due" // the kind of the records of deadlines, for the store's clock
)

// deadlinesBody is the page of deadlines.
type deadlinesBody struct {
	Rows         []deadlineRow
	Title        string
	Overdue      bool // some have been due for longer than late
	Problem      string
	Left         string
	Older, Newer string // links; "": none
}

type deadlineRow struct {
	Deadline evento.Deadline
	When     string // in how long, or since when
	Overdue  bool
}

func (c *console) deadlines(r *http.Request) (*page, error) {
	from, err := offsetOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if from > mostDeadlines {
		return nil, badRequest("The first %s deadlines are shown here. evento deadlines lists all of them.", number(mostDeadlines))
	}
	clock, err := c.ex.Records(r.Context(), evento.RecordQuery{Kind: dueKind, Limit: 1})
	if err != nil {
		return nil, err
	}
	b := &deadlinesBody{Newer: newerLink(r, from)}
	n, overdue, whole := 0, 0, true
	for d, err := range evento.Deadlines(r.Context(), c.ex) {
		if errors.Is(err, evento.ErrDamaged) {
			b.Problem = err.Error()
			break
		}
		if err != nil {
			return nil, err
		}
		if n == from+pageRows {
			whole = false
			break
		}
		if d.Late > late {
			overdue++
		}
		if n++; n > from {
			b.Rows = append(b.Rows, deadlineRow{Deadline: d, When: dueText(&d, clock.Now), Overdue: d.Late > late})
		}
	}
	b.Overdue = overdue > 0
	if b.Title = plural(n, "deadline"); !whole {
		b.Title += " and more"
	}
	if overdue > 0 {
		b.Title = fmt.Sprintf("%s, %s overdue", b.Title, number(overdue))
	}
	if !whole && from+pageRows <= mostDeadlines {
		b.Older = pageLink(r, from+pageRows, from+pageRows+1)
	} else if !whole {
		b.Left = "evento deadlines lists those that are left out here."
	}
	return &page{Template: "deadlines", Title: b.Title, Nav: "deadlines", Body: b}, nil
}

// dueText says when a deadline is due, by the store's clock.
func dueText(d *evento.Deadline, now time.Time) string {
	switch {
	case d.Late > late:
		return "overdue for " + ago(d.Late)
	case d.Late > 0:
		return "due now"
	}
	return "in " + ago(max(d.At.Sub(now), 0))
}
