// Conditions of writes: what was read still holds when the write is stored.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testConditions(t *testing.T, c Config) {
	if c.NoPositions {
		c.run(t, "Unsupported", conditionsUnsupported)
		return
	}
	c.run(t, "Each", conditionsEach)
	c.run(t, "Several", conditionsSeveral)
	c.run(t, "Retry", conditionsRetry)
	c.run(t, "Places", conditionsPlaces)
	c.run(t, "Refused", conditionsRefused)
	c.run(t, "FarBehind", conditionsFarBehind)
	c.run(t, "Racers", conditionsRacers)
	c.run(t, "Serializable", conditionsSerializable)
	c.run(t, "Decide", conditionsDecide)
	if c.Transactor {
		c.run(t, "InTx", conditionsInTx)
		c.run(t, "InTxNames", conditionsInTxNames)
		c.run(t, "DecideInTx", conditionsDecideInTx)
	}
}

// unless is the write of an append with conditions.
func unless(a evento.Append, conditions ...evento.Condition) evento.Write {
	return evento.Write{Appends: []evento.Append{a}, Unless: conditions}
}

// excludedBy is the position of the first event that a condition excludes, whose place is
// the end of the first n events of the log; 0: there is none.
func (m model) excludedBy(q evento.Query, n int) uint64 {
	for _, e := range m[n:] {
		if q.Matches(e.Node) {
			return e.Node.Position
		}
	}
	return 0
}

// place is the cursor of the end of the first n events.
func (m model) place(n int) cursor.Value {
	if n == 0 {
		return ""
	}
	return m[n-1].Cursor
}

func conditionsUnsupported(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	refuse(ctx, t, ex, unless(to("a", 0, "A"), evento.Condition{}), errors.ErrUnsupported)
	commit(ctx, t, ex, to("a", 0, "A"))
}

// Every kind of query from every place, written by one executor and another.
func conditionsEach(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for i := range 3 {
		a := tagged(to(fmt.Sprint("tagged ", i), 0, "Name1", "Name0"), []string{"id 1", "3"}, []string{"1", fmt.Sprint("id ", i)})
		commit(ctx, t, ex, a)
	}
	log := fillGrid(ctx, t, ex)
	exs := c.all(t, ex)
	queries := []evento.Query{{}, {Unrouted: true}, {RoutingKey: "left"}, {RoutingKey: "none"}}
	for _, f := range []evento.Filter{
		evento.ByType(thing), evento.ByType("executortest/None"), evento.ByID(thing, "id 1"), evento.ByID(thing, "none"),
		evento.ByTags("1"), evento.ByTags("1", "id 1"), evento.ByTags("none", "1"), {AggregateType: thing, Name: "Name1", Tags: []string{"id 1"}},
		{AggregateType: thing, Name: "Name1"}, {AggregateType: thing, Name: "None"}, {AggregateType: other, AggregateID: "id 2", Name: "Name0"},
	} {
		queries = append(queries, filtered(f), evento.Query{Filters: []evento.Filter{f}, RoutingKey: "left"}, evento.Query{Filters: []evento.Filter{f}, Unrouted: true})
	}
	queries = append(queries, filtered(evento.ByID(thing, "id 0"), evento.ByID(other, "id 1")))
	n := 0
	for _, q := range queries {
		for _, at := range []int{0, 1, 7, 12, len(log) / 2, len(log) - 3, len(log)} {
			n++
			w := unless(to(fmt.Sprint("new ", n), 0, "Added"), evento.Condition{Query: q, After: log.place(at)})
			w.Appends[0].RoutingKey = []string{"", "left", "right"}[n%3]
			by := exs[n%len(exs)]
			if position := log.excludedBy(q, at); position > 0 {
				wantConflict(t, discard(by.Write(ctx, w)), evento.ConflictError{Condition: 1, Position: position}, "Write(%s) unless %+v after %d events", show(w), q, at)
				continue
			}
			if _, err := by.Write(ctx, w); err != nil {
				t.Errorf("Write(%s) unless %+v after %d events: %v", show(w), q, at, err)
			}
			log = append(log, readOnward(ctx, t, ex, log.place(len(log)))...)
		}
	}
	soundLog(ctx, t, c, ex)
}

// readOnward reads everything behind a place.
func readOnward(ctx context.Context, t testing.TB, ex evento.Executor, at cursor.Value) model {
	t.Helper()
	return readOnwardOf(ctx, t, ex, evento.Query{}, at)
}

// All have to hold. The first that does not is named, and nothing is stored, whatever
// else is in the write.
func conditionsSeveral(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	log := fillGrid(ctx, t, ex)
	end := log.place(len(log))
	holds := evento.Condition{Query: filtered(evento.ByID(thing, "id 0")), After: end}
	none := evento.Condition{Query: filtered(evento.ByID(thing, "none"))}
	first := evento.Condition{Query: filtered(evento.ByID(thing, "id 0"))}
	second := evento.Condition{Query: filtered(evento.ByType(other)), After: log.place(10)}
	two := write(to("x", 0, "A"), to("y", 0, "A", "B"))
	for _, tt := range []struct {
		conditions []evento.Condition
		want       evento.ConflictError
	}{
		{[]evento.Condition{holds, none, first}, evento.ConflictError{Condition: 3, Position: log.excludedBy(first.Query, 0)}},
		{[]evento.Condition{second, first, holds}, evento.ConflictError{Condition: 1, Position: log.excludedBy(second.Query, 10)}},
		{[]evento.Condition{none, first, second}, evento.ConflictError{Condition: 2, Position: log.excludedBy(first.Query, 0)}},
	} {
		two.Unless = tt.conditions
		conflict(ctx, t, ex, two, tt.want)
	}
	two.Unless = []evento.Condition{holds, none, holds}
	must(t, discard(tryCommit(ctx, ex, two)))
	two.Appends = []evento.Append{to("id 0", 3, "Name0")}
	must(t, discard(tryCommit(ctx, ex, two))) // what it adds itself excludes nothing
	two.Appends = []evento.Append{to("z", 0, "A")}
	position := newestOf(ctx, t, ex).Node.Position
	conflict(ctx, t, ex, two, evento.ConflictError{Condition: 1, Position: position})
	soundLog(ctx, t, c, ex)
}

func newestOf(ctx context.Context, t testing.TB, ex evento.Executor) edge {
	t.Helper()
	return read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).Edges[0]
}

// A write that is made again finds what it has stored, which its own conditions exclude.
func conditionsRetry(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	again := c.another(t, ex)
	for _, anyVersion := range []bool{false, true} {
		for _, others := range []int{0, 3} {
			id := fmt.Sprint("a ", anyVersion, others)
			w := unless(to(id, 0, "A", "B"), evento.Condition{Query: filtered(evento.ByType(thing)), After: endOf(ctx, t, ex)})
			w.Appends[0].AnyVersion = anyVersion
			want, err := tryCommit(ctx, ex, w)
			must(t, err)
			for i := range others {
				commit(ctx, t, ex, toAny("other", fmt.Sprint("O", i)))
			}
			for _, retry := range []bool{true, false} {
				if w.Retry = retry; !retry && anyVersion {
					continue // it is another write
				}
				got, err := tryCommit(ctx, again, w)
				must(t, err)
				if len(got) != 1 || got[0] != want[0] {
					t.Errorf("Write(%s) again: got %v, want %v", show(w), got, want)
				}
			}
			// A retry of what was never stored is judged like any other.
			w.Appends[0] = to(id+" not stored", 0, "A")
			w.Retry = true
			conflict(ctx, t, ex, w, evento.ConflictError{Condition: 1, Position: want[0].Position - 1})
		}
	}
}

// endOf is the cursor of the last event; "": there is none.
func endOf(ctx context.Context, t testing.TB, ex evento.Executor) cursor.Value {
	t.Helper()
	return read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).PageInfo.EndCursor
}

// A place is one of the store.
func conditionsPlaces(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	elsewhere := fill(ctx, t, c.open(t), 3)
	at := func(v cursor.Value) evento.Write { return unless(to("a", 0, "A"), evento.Condition{After: v}) }
	refuse(ctx, t, ex, at(elsewhere[0].Cursor), cursor.ErrForeign) // while this store is empty
	log := fill(ctx, t, ex, 5)
	refuse(ctx, t, ex, at(elsewhere[0].Cursor), cursor.ErrForeign)
	refuse(ctx, t, ex, at("no cursor"), cursor.ErrMalformed)
	beyond := at(c.Beyond(t, ex, log.place(len(log))))
	refuse(ctx, t, ex, beyond, cursor.ErrBeyondHead)
	beyond.Unless = append(beyond.Unless, evento.Condition{Query: filtered(evento.ByID(thing, "none"))})
	refuse(ctx, t, ex, beyond, cursor.ErrBeyondHead)
	conflict(ctx, t, ex, at(log.place(4)), evento.ConflictError{Condition: 1, Position: log[4].Node.Position})
	must(t, discard(tryCommit(ctx, ex, at(log.place(5)))))
}

func conditionsRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 2)
	many := make([]evento.Condition, evento.MaxConditions+1)
	for i := range many {
		many[i].Query = filtered(evento.ByID(thing, fmt.Sprint("none ", i)))
	}
	refuse(ctx, t, ex, unless(to("a", 0, "A"), many...), evento.ErrTooLarge)
	refuse(ctx, t, ex, unless(to("a", 0, "A"), evento.Condition{Query: filtered(evento.Filter{})}), evento.ErrInvalid)
	must(t, discard(tryCommit(ctx, ex, unless(to("a", 0, "A"), many[1:]...))))
	last := newestOf(ctx, t, ex).Node.Position
	many[evento.MaxConditions].Query = filtered(evento.ByID(thing, "a"))
	conflict(ctx, t, ex, unless(to("b", 0, "A"), many[1:]...), evento.ConflictError{Condition: evento.MaxConditions, Position: last})
}

// A place may be any number of events behind.
func conditionsFarBehind(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	first := commit(ctx, t, ex, to("first", 0, "A"))[0].Position
	begin := endOf(ctx, t, ex)
	must(t, discard(tryCommit(ctx, ex, unless(to("second", 0, "A"), evento.Condition{Query: filtered(evento.ByID(thing, "none"))}))))
	for i := range 11 {
		commit(ctx, t, ex, to(fmt.Sprint("many ", i), 0, many(1000, "Many")...))
		// At any distance from the end.
		quiet := evento.Condition{Query: filtered(evento.ByID(thing, "first")), After: begin}
		must(t, discard(tryCommit(ctx, c.another(t, ex), unless(to(fmt.Sprint("quiet ", i), 0, "A"), quiet))))
		must(t, discard(tryCommit(ctx, ex, unless(to(fmt.Sprint("quiet too ", i), 0, "A"), quiet))))
	}
	last := commit(ctx, t, ex, to("last", 0, "A"))[0].Position
	for i, by := range c.all(t, ex) {
		for _, tt := range []struct {
			id    string
			after cursor.Value
			want  uint64
		}{{"first", "", first}, {"first", begin, 0}, {"none", "", 0}, {"last", begin, last}, {"last", "", last}} {
			w := unless(to(fmt.Sprint(tt, i), 0, "A"), evento.Condition{Query: filtered(evento.ByID(thing, tt.id)), After: tt.after})
			if tt.want == 0 {
				must(t, discard(tryCommit(ctx, by, w)))
				continue
			}
			wantConflict(t, discard(by.Write(ctx, w)), evento.ConflictError{Condition: 1, Position: tt.want}, "Write(%s)", show(w))
		}
	}
}

// Sixteen who take seats, of which there are two. All have looked before the first takes
// one.
func conditionsRacers(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const racers, seats, rounds = 16, 2, 8
	exs := c.all(t, ex)
	for round := range rounds {
		var taken atomic.Int64
		var looked sync.WaitGroup
		looked.Add(racers)
		q := filtered(evento.Filter{AggregateType: thing, Name: fmt.Sprint("Taken ", round)})
		together(t, racers, func(t testing.TB, i int) {
			by := exs[i%len(exs)]
			for try := 0; ; try++ {
				page := read(ctx, t, by, q, cursor.Onward(cursor.MaxPage, ""))
				if try == 0 {
					looked.Done()
					looked.Wait()
				}
				if len(page.Edges) >= seats {
					return
				}
				_, err := tryCommit(ctx, by, unless(to(fmt.Sprint("by ", round, i), 0, q.Filters[0].Name), evento.Condition{Query: q, After: page.PageInfo.EndCursor}))
				if err == nil {
					taken.Add(1)
					return
				}
				if !errors.Is(err, evento.ErrConflict) {
					t.Fatal(err)
				}
			}
		})
		if n := len(read(ctx, t, ex, q, cursor.Onward(cursor.MaxPage, "")).Edges); n != seats || taken.Load() != seats {
			t.Fatalf("round %d: %d took a seat, and %d are taken, of %d", round, taken.Load(), n, seats)
		}
	}
}

// Whatever many do at once, in the log that comes of it each write that was accepted
// stands where its conditions hold.
func conditionsSerializable(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 12, 25
	type accepted struct {
		conditions []evento.Condition
		id         evento.ID
	}
	exs := c.all(t, ex)
	var mu sync.Mutex
	var all []accepted
	refused := 0
	haveRead := make([]chan struct{}, each) // closed when all have, in that round
	arrived := make([]atomic.Int64, each)
	for n := range haveRead {
		haveRead[n] = make(chan struct{})
	}
	together(t, writers, func(t testing.TB, i int) {
		r := rand.New(rand.NewPCG(uint64(i), 8))
		by := exs[i%len(exs)]
		for n := range each {
			var conditions []evento.Condition
			for range r.IntN(3) {
				q := randomQuery(r)
				conditions = append(conditions, evento.Condition{Query: q, After: read(ctx, t, by, q, cursor.Onward(cursor.MaxPage, "")).PageInfo.EndCursor})
			}
			w := unless(toAny(fmt.Sprint("id ", r.IntN(6)), randomNames(r, 1+r.IntN(2))...), conditions...)
			w.Appends[0].RoutingKey = []string{"", "left", "right"}[r.IntN(3)]
			for j := range w.Appends[0].Events {
				w.Appends[0].Events[j].Tags = randomTags(r)
			}
			if arrived[n].Add(1) == writers {
				close(haveRead[n])
			}
			if n%5 == 0 { // all write on what they have read at about the same time
				select {
				case <-haveRead[n]:
				case <-ctx.Done():
					t.Fatal(ctx.Err())
				}
			}
			_, err := tryCommit(ctx, by, w)
			mu.Lock()
			switch {
			case err == nil:
				all = append(all, accepted{conditions, w.Appends[0].Events[0].ID})
			case errors.Is(err, evento.ErrConflict):
				refused++
			}
			mu.Unlock()
			if err != nil && !errors.Is(err, evento.ErrConflict) {
				t.Fatal(err)
			}
		}
	})
	log := model(soundLog(ctx, t, c, ex))
	place, at := map[cursor.Value]int{"": 0}, map[evento.ID]int{}
	for i, e := range log {
		place[e.Cursor], at[e.Node.ID] = i+1, i
	}
	judged := 0
	for _, a := range all {
		stored, ok := at[a.id]
		if !ok {
			t.Fatalf("event %s was acknowledged and is not in the log", a.id)
		}
		for _, condition := range a.conditions {
			after, ok := place[condition.After]
			if !ok {
				continue // of a page without events, which ends anywhere
			}
			judged++
			for _, e := range log[min(after, stored):stored] {
				if condition.Query.Matches(e.Node) {
					t.Errorf("the event at position %d was accepted unless %+v after position %d: that at position %d matches",
						log[stored].Node.Position, condition.Query, after, e.Node.Position)
				}
			}
		}
	}
	if judged == 0 || refused == 0 {
		t.Errorf("%d conditions were looked at and %d writes refused: the test tests nothing", judged, refused)
	}
}

// Transactions that name the same new type at once, of which some have conditions, wait for
// each other in one order.
func conditionsInTxNames(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	none := evento.Condition{Query: filtered(evento.ByID(thing, "none"))}
	for i := range 5 {
		together(t, 4, func(t testing.TB, j int) {
			a := to(fmt.Sprint("a ", j), 0, "Happened")
			a.AggregateType = evento.AggregateType(fmt.Sprint("executortest/New ", i))
			w := unless(a, none)
			if j%2 == 0 {
				w.Unless = nil
			}
			must(t, ex.(evento.Transactor).InTx(ctx, func(ctx context.Context) error { return discard(ex.Write(ctx, w)) }))
		})
	}
}

// seats is a projection of things that count their events.
var seats = evento.NewProjection[int]("seats", thing).Handler(evento.Apply(func(n *int, _ evento.Event[taken]) error { *n++; return nil }))

type taken struct{ By string }

func (taken) AggregateType() evento.AggregateType { return thing }
func (taken) EventName() string                   { return "Taken" }

var errTaken = errors.New("all seats are taken")

// takeSeat takes one of three seats of a room, in a decision that also notes whose it is.
func takeSeat(ctx context.Context, ex evento.Executor, room, by string) error {
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		l, err := seats.Load(ctx, d, room, evento.OrNew())
		if err != nil {
			return err
		}
		if l.State == 3 {
			return errTaken
		}
		if _, err := l.Aggregate().Event(taken{by}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(room+" "+by).Event(taken{by}).Commit(ctx, d)
		return err
	})
	return err
}

// Decisions by many, of which each sees what those before it have decided.
func conditionsDecide(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	const rooms, buyers = 5, 12
	var sold, refused atomic.Int64
	together(t, buyers, func(t testing.TB, i int) {
		for room := range rooms {
			switch err := takeSeat(ctx, exs[i%len(exs)], fmt.Sprint("room ", room), fmt.Sprint(i)); {
			case err == nil:
				sold.Add(1)
			case errors.Is(err, errTaken):
				refused.Add(1)
			default:
				t.Fatal(err)
			}
		}
	})
	if sold.Load() != 3*rooms || refused.Load() != rooms*(buyers-3) {
		t.Errorf("%d seats were sold and %d refused, want %d and %d", sold.Load(), refused.Load(), 3*rooms, rooms*(buyers-3))
	}
	for _, e := range wantStore(ctx, t, c, ex, 2*3*rooms) {
		if e.Node.Version > 3 {
			t.Errorf("%s was sold %d times", e.Node.AggregateID, e.Node.Version)
		}
	}
}

// A decision in a transaction is part of it, and sees what it has committed before.
func conditionsDecideInTx(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	tx := ex.(evento.Transactor)
	must(t, tx.InTx(ctx, func(ctx context.Context) error {
		for i := range 3 {
			if err := takeSeat(ctx, ex, "room", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		if err := takeSeat(ctx, ex, "room", "late"); !errors.Is(err, errTaken) {
			t.Errorf("the fourth: %v, want %v", err, errTaken)
		}
		return nil
	}))
	wantStore(ctx, t, c, ex, 6)
	if c.OneWriter {
		return
	}
	err := tx.InTx(ctx, func(within context.Context) error {
		if err := takeSeat(within, ex, "another", "a"); err != nil {
			return err
		}
		return takeSeat(ctx, ex, "another", "b") // it is not of the transaction
	})
	wantError(t, err, evento.ErrConflict, "InTx")
	wantStore(ctx, t, c, ex, 8)
}

// In a transaction the conditions are judged at its end. Its own events do not count,
// those that others have added meanwhile do.
func conditionsInTx(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	q := filtered(evento.ByType(thing))
	begin := endOf(ctx, t, ex)
	inTx := func(ctx context.Context, fn func(ctx context.Context)) error {
		return ex.(evento.Transactor).InTx(ctx, func(ctx context.Context) error { fn(ctx); return nil })
	}
	must(t, inTx(ctx, func(ctx context.Context) {
		commit(ctx, t, ex, to("a", 0, "A"))
		must(t, discard(ex.Write(ctx, unless(to("b", 0, "A"), evento.Condition{Query: q, After: begin}))))
		must(t, discard(ex.Write(ctx, unless(to("a", 1, "B"), evento.Condition{Query: q, After: begin}, evento.Condition{Query: filtered(evento.ByID(thing, "none"))}))))
	}))
	log := soundLog(ctx, t, c, ex)
	if len(log) != 3 {
		t.Fatalf("got %d events, want 3", len(log))
	}
	err := inTx(ctx, func(ctx context.Context) {
		commit(ctx, t, ex, to("c", 0, "A"))
		if _, err := ex.Write(ctx, unless(to("d", 0, "A"), evento.Condition{Query: q, After: begin})); err != nil && !errors.Is(err, evento.ErrConflict) {
			t.Error(err)
		}
	})
	wantConflict(t, err, evento.ConflictError{Condition: 1, Position: log[0].Node.Position}, "InTx")
	wantLog(ctx, t, ex, log)
	if c.OneWriter {
		return
	}
	end := endOf(ctx, t, ex)
	err = inTx(ctx, func(within context.Context) {
		must(t, discard(ex.Write(within, unless(to("d", 0, "A"), evento.Condition{Query: q, After: end}))))
		commit(ctx, t, ex, to("meanwhile", 0, "A"))
	})
	wantConflict(t, err, evento.ConflictError{Condition: 1, Position: newestOf(ctx, t, ex).Node.Position}, "InTx")
	soundLog(ctx, t, c, ex)
}
