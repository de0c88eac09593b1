// What the overview says of subscriptions that need attention.

package console

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/subscribed"
)

const (
	mostProblems = 20  // that are told of in detail
	mostTicks    = 200 // parked events of a subscription that are looked at
)

// problem is a subscription that needs attention, and the event at which that began.
type problem struct {
	status
	Event     string // its id; "": none is known
	ID        evento.ID
	Name      string
	Position  uint64
	Aggregate *evento.AggregateKey
	Version   uint64
	Reason    string // the first line of the error
	Frames    string // of the program's own code
	Since     time.Time
	ticks     []uint64 // the positions of what is parked
}

// problemOf finds out what the problem is.
func (c *console) problemOf(ctx context.Context, s *status) (*problem, error) {
	p := &problem{status: *s}
	if s.Error != "" {
		own := subscribed.OwnError(s.name(), s.Error)
		p.Reason, p.Frames = firstLine(own), framesOf(own)
	}
	if id, err := ulid.ParseStrict(s.Event); err == nil {
		p.Event, p.ID = s.Event, id
		if e, err := c.stoppedAt(ctx, s, id); err == nil { // else it is linked to by its id
			p.at(e.Name, e.Position, e.Version, e.Aggregate())
		}
	}
	if s.Parked == 0 {
		return p, nil
	}
	for parked, err := range c.control(s.name()).Parked(ctx, evento.AllParked()) {
		if errors.Is(err, evento.ErrDamaged) { // those before it are told of
			p.Reason = cmp.Or(p.Reason, firstLine(err.Error()))
			break
		}
		if err != nil {
			return nil, err
		}
		if p.ticks = append(p.ticks, parked.Position); len(p.ticks) == mostTicks {
			break
		}
		if parked.Error != "" && p.Event == "" {
			p.Event, p.ID, p.Since = parked.ID.String(), parked.ID, parked.ParkedAt
			p.Reason, p.Frames = reasonOf(parked.Error), framesOf(parked.Error)
			p.at(parked.Name, parked.Position, parked.Version, evento.AggregateKey{Type: parked.AggregateType, ID: parked.AggregateID})
		}
	}
	return p, nil
}

// stoppedAt finds the event at which a subscription has stopped: mostly it is the one behind its
// place.
func (c *console) stoppedAt(ctx context.Context, s *status, id evento.ID) (*evento.RawEvent, error) {
	if e, err := c.at(ctx, s.Position+1); err == nil && e.Node.ID == id {
		return &e.Node, nil
	}
	e, err := c.byID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &e.Node, nil
}

func (p *problem) at(name string, position, version uint64, aggregate evento.AggregateKey) {
	p.Name, p.Position, p.Version, p.Aggregate = name, position, version, &aggregate
}

// ticks are the places of what is parked, as a path over a rail from one position to another.
func ticks(positions []uint64, from, to uint64) string {
	var b strings.Builder
	for _, at := range positions {
		if at >= from && at <= to {
			b.WriteString("M" + strconv.Itoa(railAt(at, from, to)) + ",0 V10 ")
		}
	}
	return strings.TrimSpace(b.String())
}
