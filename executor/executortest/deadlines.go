// Deadlines: facts that come true at a time, unless they are cleared before.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func testDeadlines(t *testing.T, c Config) {
	c.run(t, "Each", deadlinesEach)
	c.run(t, "Event", deadlinesEvent)
	c.run(t, "OneWrite", deadlinesOneWrite)
	c.run(t, "List", deadlinesList)
	c.run(t, "Runners", deadlinesRunners)
	c.run(t, "Racers", deadlinesRacers)
	c.run(t, "Closed", deadlinesClosed)
	if c.Transactor {
		c.run(t, "InTx", deadlinesInTx)
	}
	if c.Reopen != nil {
		c.run(t, "Reopen", deadlinesReopen)
	}
}

// overdue is what deadlines of these tests become.
type overdue struct {
	Note string
	Of   string `cbor:"-" json:"-"`
}

func (overdue) AggregateType() evento.AggregateType { return account }
func (overdue) EventName() string                   { return "Overdue" }

func (o overdue) Tags() []string {
	if o.Of == "" {
		return nil
	}
	return []string{"of:" + o.Of, "overdue"}
}

func overdues() evento.Query { return filtered(evento.ByEvent(overdue{})) }

// open is a commit of an event to an account, at whatever version it is.
func open(id string) *evento.CommitBuilder {
	return evento.Aggregate(id).AnyVersion().Event(opened{Owner: id})
}

// later is a time at which the tests have ended.
func later() time.Time { return time.Now().Add(24 * time.Hour) }

// passed is a time that has passed.
func passed() time.Time { return time.Now().Add(-24 * time.Hour) }

// runDeadlines runs the deadlines of a store until stop is called.
func runDeadlines(ctx context.Context, t testing.TB, ex evento.Executor) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- evento.RunDeadlines(ctx, ex) }()
	return func() {
		t.Helper()
		cancel()
		wantError(t, <-done, context.Canceled, "RunDeadlines")
	}
}

// awaitOverdue waits until so many deadlines have come true.
func awaitOverdue(ctx context.Context, t testing.TB, ex evento.Executor, n int) {
	t.Helper()
	for _, err := range evento.Follow(ctx, ex, overdues(), "") {
		must(t, err)
		if n--; n == 0 {
			return
		}
	}
	t.Fatalf("following has ended, with %d deadlines that have not come true", n)
}

func noteOf(t testing.TB, e evento.RawEvent) string {
	t.Helper()
	o, err := evento.Decode[overdue](e)
	must(t, err)
	return o.Data.Note
}

// wantOverdue compares what has come true, in the order of the notes, and checks that
// nothing is still set.
func wantOverdue(ctx context.Context, t testing.TB, ex evento.Executor, notes []string) {
	t.Helper()
	var got []string
	for _, e := range readAll(ctx, t, ex, overdues()) {
		got = append(got, noteOf(t, e.Node))
	}
	slices.Sort(got)
	wantTexts(t, "deadlines that have come true", got, notes...)
	wantTexts(t, "deadlines that are set", namesOfDeadlines(ctx, t, ex))
	for _, kind := range []string{"due", "deadline"} {
		if rs := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}); len(rs) > 0 {
			t.Errorf("%d records of kind %s are left", len(rs), kind)
		}
	}
}

// namesOfDeadlines are those that are set, in the order of their names.
func namesOfDeadlines(ctx context.Context, t testing.TB, ex evento.Executor, of ...evento.AggregateKey) (names []string) {
	t.Helper()
	for d, err := range evento.Deadlines(ctx, ex, of...) {
		must(t, err)
		names = append(names, d.AggregateID+" "+d.Name)
	}
	slices.Sort(names)
	return names
}

func commitDeadlines(ctx context.Context, t testing.TB, ex evento.Executor, builders ...*evento.CommitBuilder) {
	t.Helper()
	for _, b := range builders {
		must(t, discard(b.Commit(ctx, ex)))
	}
}

// Set, moved and cleared, before they are run and while they are, by the executor that runs
// them and another one.
func deadlinesEach(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	another := c.another(t, ex)
	due := time.Now().Add(50 * time.Millisecond)
	for i, by := range []evento.Executor{ex, another} {
		id := func(name string) *evento.CommitBuilder { return open(fmt.Sprint(name, " ", i)) }
		note := func(s string) overdue { return overdue{Note: fmt.Sprint(s, " ", i)} }
		set := func(name string, at time.Time) {
			t.Helper()
			commitDeadlines(ctx, t, by, id(name).Deadline("pay", at, note("never")))
		}
		commitDeadlines(ctx, t, by, id("set").Deadline("pay", due, note("1 set")), id("past").Deadline("pay", passed(), note("2 past")), id("not set").ClearDeadline("pay"))
		set("cleared", passed())
		set("earlier", later())
		set("later", passed())
		set("same", due)
		set("again", passed())
		commitDeadlines(ctx, t, another, id("cleared").ClearDeadline("pay"), id("earlier").Deadline("pay", due, note("3 earlier")),
			id("later").Deadline("pay", later(), note("never")), id("same").Deadline("pay", due, note("4 same")),
			id("again").ClearDeadline("pay"), id("again").Deadline("pay", passed(), note("5 again")), id("two").Deadline("a", due, note("6 a")).Deadline("b", due, note("7 b")))
	}
	stop := runDeadlines(ctx, t, ex)
	awaitOverdue(ctx, t, another, 14)
	commitDeadlines(ctx, t, another, open("set 0").Deadline("pay", passed(), overdue{Note: "8"}), open("later 0").Deadline("pay", passed(), overdue{Note: "9"}), open("later 1").ClearDeadline("pay"))
	awaitOverdue(ctx, t, another, 16)
	stop()
	wantOverdue(ctx, t, ex, []string{"1 set 0", "1 set 1", "2 past 0", "2 past 1", "3 earlier 0", "3 earlier 1", "4 same 0", "4 same 1", "5 again 0", "5 again 1",
		"6 a 0", "6 a 1", "7 b 0", "7 b 1", "8", "9"})
	for _, e := range soundLog(ctx, t, c, ex) {
		if e.Node.Name == (overdue{}).EventName() && e.Node.AggregateID == "set 0" && e.Node.Version == 2 && e.Node.Timestamp.Before(due.Truncate(time.Microsecond)) {
			t.Errorf("a deadline that is due at %v has come true at %v", due, e.Node.Timestamp)
		}
	}
}

// What a deadline becomes is an event of the aggregate like any other.
func deadlinesEvent(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	stop := runDeadlines(ctx, t, c.another(t, ex))
	b := open("a").Event(deposited{Amount: 1}).RoutingKey("eu").Codec(evento.JSON()).RequestedBy("ann").MetadataFrom(evento.Metadata{CorrelationID: "c"})
	commitDeadlines(ctx, t, ex, b.Deadline("pay", passed(), overdue{Note: "<é>", Of: "a"}))
	awaitOverdue(ctx, t, ex, 1)
	stop()
	log := soundLog(ctx, t, c, ex)
	if len(log) != 3 {
		t.Fatalf("got %d events, want 3", len(log))
	}
	e := log[2].Node
	want := evento.Metadata{CorrelationID: "c", CausationID: log[1].Node.ID.String()}
	if e.AggregateID != "a" || e.Version != 3 || e.RoutingKey != log[0].Node.RoutingKey || e.Codec != "json" || noteOf(t, e) != "<é>" || !slices.Equal(e.Tags, []string{"of:a", "overdue"}) ||
		e.Metadata.CorrelationID != want.CorrelationID || e.Metadata.CausationID != want.CausationID || e.Metadata.RequestedBy != "" {
		t.Errorf("got %+v, want version 3 with the metadata %+v", e, want)
	}
	if found := readAll(ctx, t, ex, filtered(evento.ByTags("overdue", "of:a"))); len(found) != 1 || found[0].Node.ID != e.ID {
		t.Errorf("by its tags: got %v, want it alone", found)
	}
}

// What the commits of a decision do to a deadline is one write: the last one counts, and
// what it leaves can be changed, and comes true.
func deadlinesOneWrite(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	set := func(id string, at time.Time, note string) *evento.CommitBuilder {
		return open(id).Deadline("pay", at, overdue{Note: note})
	}
	unset := func(id string) *evento.CommitBuilder { return open(id).ClearDeadline("pay") }
	at := passed()
	commitDeadlines(ctx, t, ex, set("move", later(), "never"), set("clear", at, "never"), set("remake", at, "never"), set("undo", later(), "never"))
	must(t, discard(evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		commitDeadlines(ctx, t, d,
			set("new", later(), "never"), set("new", at, "never"), set("new", at, "1 new"),
			set("gone", at, "never"), unset("gone"),
			set("move", at, "never"), set("move", at, "2 move"),
			set("clear", at, "never"), unset("clear"),
			unset("remake"), set("remake", at, "3 remake"),
			set("undo", at, "never"), set("undo", later(), "never"))
		wantTexts(t, "deadlines in the decision", namesOfDeadlines(ctx, t, d), "move pay", "new pay", "remake pay", "undo pay")
		return nil
	})))
	wantTexts(t, "deadlines", namesOfDeadlines(ctx, t, ex), "move pay", "new pay", "remake pay", "undo pay")
	commitDeadlines(ctx, t, ex, unset("undo"))
	stop := runDeadlines(ctx, t, ex)
	awaitOverdue(ctx, t, ex, 3)
	stop()
	wantOverdue(ctx, t, ex, []string{"1 new", "2 move", "3 remake"})
}

// Deadlines are listed in the order of time, those of an aggregate too, however many are due
// at the same time.
func deadlinesList(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	another := c.another(t, ex)
	at := later().Truncate(time.Microsecond)
	var builders []*evento.CommitBuilder
	for i := range 20 {
		builders = append(builders, open(fmt.Sprint("many ", i)).Deadline("pay", at, overdue{}))
	}
	must(t, discard(evento.CommitAll(ctx, ex, builders...)))
	commitDeadlines(ctx, t, ex, open("a").Deadline("second", at, overdue{}).Deadline("third", at.Add(time.Hour), deposited{}).Deadline("first", passed(), overdue{}))
	all, last := 0, time.Time{}
	for d, err := range evento.Deadlines(ctx, another) {
		must(t, err)
		if d.At.Before(last) || d.At.Location() != time.UTC {
			t.Errorf("got %+v after one at %v", d, last)
		}
		all, last = all+1, d.At
	}
	if all != 23 {
		t.Errorf("got %d deadlines, want 23", all)
	}
	var of []evento.Deadline
	for d, err := range evento.Deadlines(ctx, another, evento.AggregateKey{Type: account, ID: "a"}) {
		must(t, err)
		of = append(of, d)
	}
	if len(of) != 3 || of[0].Name != "first" || of[0].Late < 12*time.Hour ||
		of[1].Name != "second" || !of[1].At.Equal(at) || of[1].Late != 0 || of[2] != (evento.Deadline{AggregateType: account, AggregateID: "a", Name: "third", At: at.Add(time.Hour).UTC(), Event: "Deposited"}) {
		t.Errorf("those of one: got %+v", of)
	}
	for i := range 20 {
		id := fmt.Sprint("many ", i)
		wantTexts(t, "those of "+id, namesOfDeadlines(ctx, t, another, evento.AggregateKey{Type: account, ID: id}), id+" pay")
	}
}

// Several who run the deadlines of a store at once: each comes true once, and none is lost.
func deadlinesRunners(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const n, atOnce = 300, 25
	exs := c.all(t, ex)
	var want []string
	at := passed()
	for i := 0; i < n; i += atOnce {
		var builders []*evento.CommitBuilder
		for j := i; j < i+atOnce; j++ {
			note := fmt.Sprintf("%03d", j)
			want = append(want, note)
			builders = append(builders, open(fmt.Sprint(j%(n/3))).Deadline(note, at.Add(time.Duration(j%7)*time.Second), overdue{Note: note}))
		}
		must(t, discard(evento.CommitAll(ctx, exs[i/atOnce%len(exs)], builders...)))
	}
	var stops []func()
	for i := range 2 {
		stops = append(stops, runDeadlines(ctx, t, exs[i%len(exs)]))
	}
	awaitOverdue(ctx, t, exs[0], n)
	for _, stop := range stops {
		stop()
	}
	wantOverdue(ctx, t, exs[len(exs)-1], want)
	soundLog(ctx, t, c, ex)
}

// Those who set, move and clear the deadlines of the same accounts while others run them:
// what was set last comes true, once, and what was moved or cleared in time does not.
func deadlinesRacers(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	const racers, rounds, accounts = 4, 6, 3
	stops := []func(){runDeadlines(ctx, t, exs[0]), runDeadlines(ctx, t, exs[len(exs)-1])}
	together(t, racers, func(t testing.TB, i int) {
		by := exs[i%len(exs)]
		for round := range rounds {
			for a := range accounts {
				id := fmt.Sprint(a)
				b := open(id).Deadline("shared", passed(), overdue{Note: fmt.Sprint("shared ", i, round, a)}).
					Deadline(fmt.Sprint(i), later(), overdue{Note: "never"})
				if round%2 == 0 {
					b.ClearDeadline("shared")
				}
				commitDeadlines(ctx, t, by, b)
			}
		}
	})
	for a := range accounts {
		b := open(fmt.Sprint(a)).Deadline("shared", passed(), overdue{Note: fmt.Sprint("last ", a)})
		for i := range racers {
			b.ClearDeadline(fmt.Sprint(i))
		}
		commitDeadlines(ctx, t, ex, b)
	}
	last := map[string]bool{}
	for e, err := range evento.Follow(ctx, ex, overdues(), "") {
		must(t, err)
		note := noteOf(t, e)
		if last[note] || note == "never" {
			t.Errorf("%q has come true, or twice", note)
		}
		last[note] = true
		if last["last 0"] && last["last 1"] && last["last 2"] {
			break
		}
	}
	for _, stop := range stops {
		stop()
	}
	if n := len(readAll(ctx, t, ex, overdues())); n != len(last) {
		t.Errorf("%d have come true, want the %d until the last", n, len(last))
	}
	wantTexts(t, "deadlines that are set", namesOfDeadlines(ctx, t, ex))
	soundLog(ctx, t, c, ex)
}

// Whoever runs deadlines ends when the executor closes.
func deadlinesClosed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commitDeadlines(ctx, t, ex, open("a").Deadline("pay", passed(), overdue{Note: "a"}).Deadline("late", later(), overdue{}))
	done := make(chan error, 1)
	go func() { done <- evento.RunDeadlines(ctx, ex) }()
	awaitOverdue(ctx, t, ex, 1)
	must(t, ex.Close())
	wantError(t, <-done, evento.ErrClosed, "RunDeadlines")
	wantError(t, evento.RunDeadlines(ctx, ex), evento.ErrClosed, "RunDeadlines after Close")
}

// In a transaction deadlines are part of that.
func deadlinesInTx(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	tx := ex.(evento.Transactor)
	at := passed()
	commitDeadlines(ctx, t, ex, open("a").Deadline("pay", at, overdue{Note: "never"}))
	failed := errors.New("the function failed")
	wantError(t, tx.InTx(ctx, func(ctx context.Context) error {
		commitDeadlines(ctx, t, ex, open("a").ClearDeadline("pay").Deadline("other", at, overdue{Note: "never"}))
		wantTexts(t, "deadlines in the transaction", namesOfDeadlines(ctx, t, ex), "a other")
		return failed
	}), failed, "InTx")
	wantTexts(t, "deadlines", namesOfDeadlines(ctx, t, ex), "a pay")
	must(t, tx.InTx(ctx, func(ctx context.Context) error {
		commitDeadlines(ctx, t, ex, open("a").Deadline("pay", later(), overdue{Note: "never"}), open("a").Deadline("pay", at, overdue{Note: "1"}),
			open("b").Deadline("pay", at, overdue{Note: "never"}), open("b").ClearDeadline("pay"), open("c").Deadline("pay", at, overdue{Note: "2"}))
		return nil
	}))
	must(t, tx.InTx(ctx, func(ctx context.Context) error {
		return discard(evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
			commitDeadlines(ctx, t, d, open("c").Deadline("pay", at, overdue{Note: "never"}), open("c").Deadline("pay", at, overdue{Note: "3"}))
			return nil
		}))
	}))
	stop := runDeadlines(ctx, t, ex)
	awaitOverdue(ctx, t, ex, 2)
	stop()
	wantOverdue(ctx, t, ex, []string{"1", "3"})
}

// Deadlines are there when the store is opened again.
func deadlinesReopen(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commitDeadlines(ctx, t, ex, open("a").Deadline("pay", passed(), overdue{Note: "a"}), open("b").Deadline("pay", passed(), overdue{Note: "never"}),
		open("c").Deadline("pay", later(), overdue{Note: "never"}))
	ex = c.reopen(t, ex)
	wantTexts(t, "deadlines", namesOfDeadlines(ctx, t, ex), "a pay", "b pay", "c pay")
	commitDeadlines(ctx, t, ex, open("b").ClearDeadline("pay"), open("c").Deadline("pay", passed(), overdue{Note: "c"}))
	ex = c.reopen(t, ex)
	stop := runDeadlines(ctx, t, ex)
	awaitOverdue(ctx, t, ex, 2)
	stop()
	ex = c.reopen(t, ex)
	wantOverdue(ctx, t, ex, []string{"a", "c"})
}
