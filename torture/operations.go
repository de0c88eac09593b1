package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// kind is what an operation is for.
type kind string

const (
	appends  kind = "append"   // to an aggregate, at a version that is expected, or at any
	pair     kind = "pair"     // to two aggregates
	claim    kind = "claim"    // of a name, of which there is one
	topic    kind = "topic"    // behind the last event that has a tag
	counted  kind = "counted"  // with a record that counts such operations
	decision kind = "decision" // that takes a seat, if one is free
	deadline kind = "deadline" // that is set
	clearing kind = "clearing" // of a deadline
)

const aggregateType evento.AggregateType = "torture/Thing"

const (
	hot    = 8 // aggregates that all workers append to
	topics = 4
	seats  = 10 // of each round of decisions
	timers = 4  // aggregates with deadlines
)

// Events of decisions and deadlines, which are committed by builders.
type (
	taken   struct{ Round, Seat int }
	set     struct{ Of string }
	fired   struct{ Of string }
	cleared struct{ Of string }
)

func (taken) AggregateType() evento.AggregateType   { return aggregateType }
func (taken) EventName() string                     { return "Taken" }
func (t taken) Tags() []string                      { return []string{roundTag(t.Round)} }
func (set) AggregateType() evento.AggregateType     { return aggregateType }
func (set) EventName() string                       { return "Set" }
func (fired) AggregateType() evento.AggregateType   { return aggregateType }
func (fired) EventName() string                     { return firedName }
func (cleared) AggregateType() evento.AggregateType { return aggregateType }
func (cleared) EventName() string                   { return "Cleared" }

const firedName = "Fired"

func roundTag(n int) string { return "round " + strconv.Itoa(n) }

func tagged(tag string) evento.Query {
	return evento.Query{Filters: []evento.Filter{{Tags: []string{tag}}}}
}

// counter is the record that changes with events.
var counter = evento.RecordKey{Kind: "torture", Key: "counter"}

// number is the payload of a counted event.
type number struct{ N uint64 }

// writer makes random operations, one after the other.
type writer struct {
	ex      evento.Executor
	history *history
	r       *rand.Rand
	name    string // begins the names of its operations
	n       int
	heads   map[string]uint64 // versions of aggregates, as far as it knows
	round   int               // of decisions that probably has a free seat
	set     []string          // operations whose deadlines may still be set
}

// pauses are between operations: this is no benchmark.
const pauses = 4 * time.Millisecond

// run works until ctx ends. Its error is one of the history.
func (w *writer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		w.n++
		if err := w.one(ctx, fmt.Sprint(w.name, "-", w.n)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(w.r.Int64N(int64(2 * pauses)))):
		}
	}
	return nil
}

// one makes an operation.
func (w *writer) one(ctx context.Context, op string) error {
	switch n := w.r.IntN(100); {
	case n < 30:
		return w.write(ctx, op, &operation{Kind: appends, Parts: []part{w.part(1 + w.r.IntN(3))}}, evento.Write{})
	case n < 45:
		a, b := w.part(1), w.part(1+w.r.IntN(2))
		if a.ID == b.ID {
			b.ID = "other " + b.ID
			b.Any, b.Expected = true, 0
		}
		return w.write(ctx, op, &operation{Kind: pair, Parts: []part{a, b}}, evento.Write{})
	case n < 55:
		return w.claim(ctx, op)
	case n < 67:
		return w.topic(ctx, op)
	case n < 77:
		return w.counted(ctx, op)
	case n < 87:
		return w.decide(ctx, op)
	default:
		return w.deadline(ctx, op)
	}
}

// part is an append to one of the hot aggregates.
func (w *writer) part(events int) part {
	p := part{ID: fmt.Sprint("hot ", w.r.IntN(hot)), Events: events}
	if p.Any = w.r.IntN(3) == 0; !p.Any {
		p.Expected = w.heads[p.ID]
	}
	return p
}

// claim takes a name that nobody has, or that somebody takes at the same time.
func (w *writer) claim(ctx context.Context, op string) error {
	name := fmt.Sprint("name ", w.n/2*7+w.r.IntN(3))
	o := &operation{Kind: claim, Parts: []part{{ID: "claim " + op, Events: 1}}, Unless: []condition{{Query: tagged(name)}}}
	return w.write(ctx, op, o, evento.Write{Unless: []evento.Condition{{Query: tagged(name)}}}, name)
}

// topic appends behind the last event of a topic that it has read.
func (w *writer) topic(ctx context.Context, op string) error {
	tag := fmt.Sprint("topic ", w.r.IntN(topics))
	page, err := w.ex.Read(ctx, tagged(tag), cursor.Backward(1, ""))
	if err != nil {
		return nil //nolint:nilerr // the store fails: nothing was asked of it
	}
	c := condition{Query: tagged(tag)}
	place := cursor.Value("")
	if len(page.Edges) > 0 {
		c.After, place = page.Edges[0].Node.Position, page.Edges[0].Cursor
	}
	o := &operation{Kind: topic, Parts: []part{{ID: fmt.Sprint("hot ", w.r.IntN(hot)), Any: true, Events: 1}}, Unless: []condition{c}}
	return w.write(ctx, op, o, evento.Write{Unless: []evento.Condition{{Query: c.Query, After: place}}}, tag)
}

// counted appends an event that says how many there are, and changes the record that counts them.
func (w *writer) counted(ctx context.Context, op string) error {
	page, err := w.ex.Records(ctx, evento.RecordQuery{Kind: counter.Kind, Key: counter.Key})
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	var n number
	change := evento.Change{RecordKey: counter}
	if len(page.Records) > 0 {
		change.Revision = page.Records[0].Revision
		if err := json.Unmarshal(page.Records[0].Value, &n); err != nil {
			return err
		}
	}
	n.N++
	if change.Value, err = json.Marshal(n); err != nil {
		return err
	}
	o := &operation{Kind: counted, Parts: []part{{ID: "counted", Any: true, Events: 1}}}
	return w.writeData(ctx, op, o, evento.Write{Swap: &evento.Swap{Changes: []evento.Change{change}}}, change.Value)
}

var errFull = errors.New("no seat is free")

// decide takes a free seat of a round, or goes on to the next round.
func (w *writer) decide(ctx context.Context, op string) error {
	o := &operation{Kind: decision, Parts: []part{{ID: "seat " + op, Events: 1}}}
	err := w.attempt(op, o, func() ([]evento.Receipt, error) {
		return evento.Decide(ctx, w.ex, func(ctx context.Context, d evento.Executor) error {
			page, err := d.Read(ctx, tagged(roundTag(w.round)), cursor.Forward(seats, ""))
			if err != nil {
				return err
			}
			n := len(page.Edges)
			if n == seats {
				w.round++
				return errFull
			}
			_, err = evento.Aggregate(o.Parts[0].ID).MetadataFrom(evento.Metadata{ID: op}).Codec(evento.JSON()).Event(taken{w.round, n + 1}).Commit(ctx, d)
			return err
		})
	}, func() bool { return false })
	return err
}

// deadline sets a deadline, or clears one that it has set.
func (w *writer) deadline(ctx context.Context, op string) error {
	aggregate, o := fmt.Sprint("timer ", w.r.IntN(timers)), &operation{Kind: deadline}
	if len(w.set) > 0 && w.r.IntN(3) == 0 {
		i := w.r.IntN(len(w.set))
		aggregate, o.Clears, _ = strings.Cut(w.set[i], "|")
		w.set = append(w.set[:i], w.set[i+1:]...)
		o.Kind = clearing
	}
	o.Parts = []part{{ID: aggregate, Any: true, Events: 1}}
	b := evento.Aggregate(aggregate).AnyVersion().MetadataFrom(evento.Metadata{ID: op, CorrelationID: op}).Codec(evento.JSON())
	if o.Kind == clearing {
		b.Event(cleared{o.Clears}).ClearDeadline(o.Clears)
	} else {
		o.Due = time.Now().Add(time.Duration(w.r.IntN(700)-100) * time.Millisecond).UTC().Truncate(time.Microsecond)
		b.Event(set{op}).Deadline(op, o.Due, fired{op})
		w.set = append(w.set, aggregate+"|"+op)
	}
	return w.attempt(op, o, func() ([]evento.Receipt, error) {
		r, err := b.Commit(ctx, w.ex)
		return []evento.Receipt{r}, err
	}, func() bool { return ctx.Err() == nil })
}

// write makes events for an operation and writes them.
func (w *writer) write(ctx context.Context, op string, o *operation, write evento.Write, tags ...string) error {
	data := fmt.Appendf(nil, `{"filler":%q}`, strings.Repeat("x", w.r.IntN(300)))
	return w.writeData(ctx, op, o, write, data, tags...)
}

func (w *writer) writeData(ctx context.Context, op string, o *operation, write evento.Write, data []byte, tags ...string) error {
	for _, p := range o.Parts {
		a := evento.Append{AggregateType: aggregateType, AggregateID: p.ID, Expected: p.Expected, AnyVersion: p.Any, Metadata: evento.Metadata{ID: op}}
		for range p.Events {
			e := evento.NewEvent{ID: evento.NewID(), Name: "Happened", Codec: evento.JSON().Name(), Data: data, Tags: tags}
			a.Events = append(a.Events, e)
			o.Contents = append(o.Contents, content(e.ID, e.Name, e.Codec, e.Data, e.Tags))
		}
		write.Appends = append(write.Appends, a)
	}
	return w.attempt(op, o, func() ([]evento.Receipt, error) {
		receipts, err := w.ex.Write(ctx, write)
		w.learn(o, receipts, err)
		if errors.Is(err, evento.ErrOutcomeUnknown) {
			write.Retry = true
		}
		return receipts, err
	}, func() bool { return ctx.Err() == nil })
}

// learn notes the versions of aggregates.
func (w *writer) learn(o *operation, receipts []evento.Receipt, err error) {
	var conflict *evento.ConflictError
	if errors.As(err, &conflict) && conflict.Condition == 0 {
		w.heads[conflict.AggregateID] = conflict.Actual
	}
	for i := range receipts {
		w.heads[o.Parts[i].ID] = receipts[i].Version
	}
}

// attempt makes an operation, and writes into the history what the store says. As long as that is
// that it does not know, and again allows it, it is made again. Its error is one of the history.
func (w *writer) attempt(op string, o *operation, do func() ([]evento.Receipt, error), again func() bool) error {
	if err := w.history.add(entry{What: invoked, Op: op, Operation: o}); err != nil {
		return err
	}
	for waits := false; ; {
		receipts, err := do()
		e := entry{What: accepted, Op: op, Receipts: receipts}
		// After an attempt of unknown outcome only a conflict says that nothing is there.
		waits = errors.Is(err, evento.ErrOutcomeUnknown) || waits && !errors.Is(err, evento.ErrConflict) && !errors.Is(err, evento.ErrSwapped)
		switch {
		case err != nil && waits:
			e = entry{What: unknown, Op: op, Why: err.Error()}
		case err != nil:
			e = entry{What: refused, Op: op, Why: err.Error()}
		}
		if err := w.history.add(e); err != nil {
			return err
		}
		if e.What == accepted {
			return w.readBack(op, receipts)
		}
		failing := err != nil && !errors.Is(err, evento.ErrConflict) && !errors.Is(err, evento.ErrSwapped) && !errors.Is(err, errFull)
		if failing {
			time.Sleep(10 * pauses)
		}
		if e.What == refused || !again() {
			return nil
		}
	}
}

// readBack reads now and then what the store has acknowledged: it is there for whoever reads.
func (w *writer) readBack(op string, receipts []evento.Receipt) error {
	if len(receipts) == 0 || w.r.IntN(10) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q := evento.Query{Filters: []evento.Filter{evento.ByID(aggregateType, receipts[0].AggregateID)}}
	page, err := w.ex.Read(ctx, q, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) > 0 && page.Edges[0].Node.Version >= receipts[0].Version {
		return nil
	}
	return w.history.add(entry{What: stale, Op: op, Why: fmt.Sprintf("%s was acknowledged at version %d, and a read was given less", receipts[0].AggregateID, receipts[0].Version)})
}
