package evento_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// reminded is what deadlines of these tests become.
type reminded struct {
	Note   string
	Tagged []string `cbor:"-" json:"-"`
}

func (reminded) AggregateType() evento.AggregateType { return Account }
func (reminded) EventName() string                   { return "Reminded" }
func (r reminded) Tags() []string                    { return r.Tagged }

// at is a time after the beginning of a synctest bubble.
func at(d time.Duration) time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }

// opened is a commit of an event to an account.
func opened(id string) *evento.CommitBuilder {
	return evento.Aggregate(id).AnyVersion().Event(AccountOpened{})
}

// runDeadlines runs the deadlines of a store until stop is called.
func runDeadlines(t *testing.T, ex evento.Executor) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- evento.RunDeadlines(ctx, ex) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("RunDeadlines() = %v, want %v", err, context.Canceled)
		}
	}
}

// deadlines are those that are set, as texts.
func deadlines(t *testing.T, ex evento.Executor, of ...evento.AggregateKey) (all []string) {
	t.Helper()
	for d, err := range evento.Deadlines(t.Context(), ex, of...) {
		noErr(t, err)
		all = append(all, d.AggregateID+" "+d.Name)
	}
	return all
}

// reminders are the events that have come of deadlines.
func reminders(t *testing.T, ex evento.Executor) (all []evento.Event[reminded]) {
	t.Helper()
	for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(reminded{})}}) {
		noErr(t, err)
		r, err := evento.Decode[reminded](e)
		noErr(t, err)
		all = append(all, r)
	}
	return all
}

func notes(t *testing.T, ex evento.Executor) (all []string) {
	t.Helper()
	for _, r := range reminders(t, ex) {
		all = append(all, r.Data.Note)
	}
	return all
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// step is a commit at a time: what it does to the deadlines of an account.
type step struct {
	at time.Duration
	do []change
}

// change sets the deadline of a name, or clears it when it has no note.
type change struct {
	name string
	due  time.Duration
	note string
}

func (s step) builder() *evento.CommitBuilder {
	b := opened("a")
	for _, c := range s.do {
		if c.note == "" {
			b.ClearDeadline(c.name)
		} else {
			b.Deadline(c.name, at(c.due), reminded{Note: c.note})
		}
	}
	return b
}

// came is a deadline that has come true.
type came struct {
	note string
	at   time.Duration
}

const sec = time.Second

func deadlineHistories() map[string]struct {
	steps []step
	want  []came
} {
	set := func(due time.Duration, note string) change { return change{"x", due, note} }
	unset := change{name: "x"}
	one := func(at time.Duration, do ...change) step { return step{at, do} }
	return map[string]struct {
		steps []step
		want  []came
	}{
		"set":                         {[]step{one(0, set(10*sec, "a"))}, []came{{"a", 10 * sec}}},
		"in the past":                 {[]step{one(0, set(-1000*sec, "a"))}, []came{{"a", 0}}},
		"in microseconds":             {[]step{one(0, set(10*sec+time.Microsecond, "a"))}, []came{{"a", 10*sec + time.Microsecond}}},
		"moved earlier":               {[]step{one(0, set(10*sec, "a")), one(sec, set(5*sec, "b"))}, []came{{"b", 5 * sec}}},
		"moved later":                 {[]step{one(0, set(10*sec, "a")), one(sec, set(20*sec, "b"))}, []came{{"b", 20 * sec}}},
		"moved to the same time":      {[]step{one(0, set(10*sec, "a")), one(sec, set(10*sec, "b"))}, []came{{"b", 10 * sec}}},
		"moved to now":                {[]step{one(0, set(10*sec, "a")), one(sec, set(0, "b"))}, []came{{"b", sec}}},
		"moved and back":              {[]step{one(0, set(10*sec, "a")), one(sec, set(20*sec, "b")), one(2*sec, set(10*sec, "c"))}, []came{{"c", 10 * sec}}},
		"cleared":                     {[]step{one(0, set(10*sec, "a")), one(sec, unset)}, nil},
		"cleared and not set":         {[]step{one(0, unset)}, nil},
		"another cleared":             {[]step{one(0, set(10*sec, "a")), one(sec, change{name: "y"})}, []came{{"a", 10 * sec}}},
		"cleared twice":               {[]step{one(0, set(10*sec, "a")), one(sec, unset), one(2*sec, unset)}, nil},
		"set, cleared and set":        {[]step{one(0, set(10*sec, "a")), one(sec, unset), one(2*sec, set(10*sec, "b"))}, []came{{"b", 10 * sec}}},
		"set, cleared, set and moved": {[]step{one(0, set(10*sec, "a")), one(sec, unset), one(2*sec, set(10*sec, "b")), one(3*sec, set(9*sec, "c"))}, []came{{"c", 9 * sec}}},
		"cleared when it was due":     {[]step{one(0, set(sec, "a")), one(2*sec, unset)}, []came{{"a", sec}}},
		"set when it was due":         {[]step{one(0, set(sec, "a")), one(2*sec, set(5*sec, "b"))}, []came{{"a", sec}, {"b", 5 * sec}}},
		"set twice at once":           {[]step{one(0, set(5*sec, "a"), set(10*sec, "b"))}, []came{{"b", 10 * sec}}},
		"set and cleared at once":     {[]step{one(0, set(5*sec, "a"), unset)}, nil},
		"cleared and set at once":     {[]step{one(0, set(5*sec, "a")), one(sec, unset, set(6*sec, "b"))}, []came{{"b", 6 * sec}}},
		"moved and cleared at once":   {[]step{one(0, set(5*sec, "a")), one(sec, set(6*sec, "b"), unset)}, nil},
		"two":                         {[]step{one(0, set(10*sec, "a"), change{"y", 5 * sec, "b"})}, []came{{"b", 5 * sec}, {"a", 10 * sec}}},
		"two, of which one is moved":  {[]step{one(0, set(10*sec, "a"), change{"y", 5 * sec, "b"}), one(sec, change{"y", 15 * sec, "c"})}, []came{{"a", 10 * sec}, {"c", 15 * sec}}},
	}
}

// wantCame compares what has come true, and when by the store's clock: a deadline is never
// early, and late by a pause between two looks at most.
func wantCame(t *testing.T, ex evento.Executor, want []came) {
	t.Helper()
	got := reminders(t, ex)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		late := got[i].Timestamp.Sub(at(want[i].at))
		ok = got[i].Data.Note == want[i].note && late >= 0 && late <= 10*time.Millisecond
	}
	if !ok {
		for _, r := range got {
			t.Logf("got %q after %v", r.Data.Note, r.Timestamp.Sub(at(0)))
		}
		t.Errorf("%d have come true, want %v", len(got), want)
	}
	wantList(t, "deadlines that are left", deadlines(t, ex))
}

// What commits do to a deadline one after the other, in whatever way they are made.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, test := range deadlineHistories() {
		for how, commit := range map[string]func(ctx context.Context, ex evento.Executor, b *evento.CommitBuilder) error{
			"Commit": func(ctx context.Context, ex evento.Executor, b *evento.CommitBuilder) error {
				return only(b.Commit(ctx, ex))
			},
			"CommitAll": func(ctx context.Context, ex evento.Executor, b *evento.CommitBuilder) error {
				return only(evento.CommitAll(ctx, ex, opened("other").Deadline("x", at(time.Hour), reminded{}), b, opened("third").ClearDeadline("x")))
			},
			"Decide": func(ctx context.Context, ex evento.Executor, b *evento.CommitBuilder) error {
				return only(evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error { return only(b.Commit(ctx, d)) }))
			},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ex := newStore(t)
					stop := runDeadlines(t, ex)
					for _, s := range test.steps {
						time.Sleep(time.Until(at(s.at)))
						noErr(t, commit(t.Context(), ex, s.builder()))
					}
					time.Sleep(time.Minute)
					noErr(t, only(opened("other").ClearDeadline("x").Commit(t.Context(), ex)))
					stop()
					wantCame(t, ex, test.want)
				})
			})
		}
	}
}

// All commits of a history as one write: the last one counts.
func TestDeadlineInOneWrite(t *testing.T) {
	t.Parallel()
	for name, test := range deadlineHistories() {
		for how, write := range map[string]func(ctx context.Context, ex evento.Executor, steps []step) error{
			"Decide": func(ctx context.Context, ex evento.Executor, steps []step) error {
				return only(evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
					for _, s := range steps {
						if _, err := s.builder().Commit(ctx, d); err != nil {
							return err
						}
					}
					return nil
				}))
			},
			"Within": func(ctx context.Context, ex evento.Executor, steps []step) error {
				return only(evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
					for _, s := range steps {
						_, err := evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) error { return only(s.builder().Commit(ctx, d)) })
						if err != nil {
							return err
						}
						_, err = evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) error {
							return errors.Join(errEmpty, only(step{do: []change{{"x", 7 * sec, "never"}, {"y", 0, ""}}}.builder().Commit(ctx, d)))
						})
						if !errors.Is(err, errEmpty) {
							return err
						}
					}
					return nil
				}))
			},
		} {
			for _, before := range []string{"new", "set before"} {
				t.Run(name+"/"+how+"/"+before, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						ex := newStore(t)
						last := map[string]change{}
						if before != "new" {
							first := change{"x", 30 * sec, "before"}
							last["x"] = first
							noErr(t, only(step{do: []change{first}}.builder().Commit(t.Context(), ex)))
						}
						noErr(t, write(t.Context(), ex, test.steps))
						var want []came
						for _, s := range test.steps {
							for _, c := range s.do {
								last[c.name] = c
							}
						}
						for _, c := range last {
							if c.note != "" {
								want = append(want, came{c.note, max(0, c.due)})
							}
						}
						slices.SortFunc(want, func(a, b came) int { return int(a.at - b.at) })
						stop := runDeadlines(t, ex)
						time.Sleep(time.Minute)
						stop()
						wantCame(t, ex, want)
						// What is left behind would be in the way of the next.
						noErr(t, only(opened("a").Deadline("x", at(0), reminded{Note: "next"}).Commit(t.Context(), ex)))
						noErr(t, only(opened("a").Deadline("x", at(0), reminded{Note: "next"}).ClearDeadline("y").Commit(t.Context(), ex)))
						noErr(t, only(opened("a").ClearDeadline("x").Commit(t.Context(), ex)))
						wantNoRecords(t, ex)
					})
				})
			}
		}
	}
}

// wantNoRecords checks that there is no record of a deadline.
func wantNoRecords(t *testing.T, ex evento.Executor) {
	t.Helper()
	var got []string
	for _, kind := range []string{"due", "deadline"} {
		for _, r := range recordsOfKind(t, ex, kind) {
			got = append(got, kind+" "+r.Key+" "+r.Part)
		}
	}
	wantList(t, "records of deadlines", got)
}

func recordsOfKind(t *testing.T, ex evento.Executor, kind string) []evento.Record {
	t.Helper()
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: kind})
	noErr(t, err)
	return page.Records
}

// The commits of a transactional handler are one write too.
func TestDeadlineOfTransactionalHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "from", 3)
		sub := evento.NewSubscription("s").Transactional().Handler(evento.Handle(func(ctx context.Context, e evento.Event[MoneyDeposited]) error {
			b := opened("a").Deadline("x", at(time.Duration(e.Data.Amount)*time.Minute), reminded{Note: fmt.Sprint(e.Data.Amount)})
			return only(b.Commit(ctx, evento.ExecutorFrom(ctx)))
		}))
		noErr(t, sub.Execute(t.Context(), ex))
		wantList(t, "deadlines", deadlines(t, ex), "a x")
		stop := runDeadlines(t, ex)
		time.Sleep(4 * time.Minute)
		stop()
		wantCame(t, ex, []came{{"3", 3 * time.Minute}})
		causes := reminders(t, ex)[0].Metadata
		if first := events(t, ex)[2].ID.String(); causes.CorrelationID != first {
			t.Errorf("metadata %+v, want the correlation id %s of the handler's event", causes, first)
		}
	})
}

// Time is what the store's clock says, wherever the process's own is, and wherever it is
// set.
func TestDeadlineClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ahead := time.Duration(0)
		set := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			ahead = d
		}
		ex := memory.New(&memory.Options{Clock: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(ahead)
		}})
		defer func() { noErr(t, ex.Close()) }()
		stop := runDeadlines(t, ex)
		set(-time.Minute)
		commit(t, ex, opened("a").Deadline("x", at(sec), reminded{Note: "a"}))
		commit(t, ex, opened("b").Deadline("x", at(10*time.Minute), reminded{Note: "b"}))
		time.Sleep(time.Minute)
		wantList(t, "a second before by the store's clock", notes(t, ex))
		time.Sleep(sec + 20*time.Millisecond)
		wantList(t, "when it is due by the store's clock", notes(t, ex), "a")
		set(-30 * time.Minute)
		time.Sleep(20 * time.Minute)
		wantList(t, "when the clock was set back", notes(t, ex), "a")
		set(-time.Minute)
		time.Sleep(2 * time.Second)
		wantList(t, "when it was set forward", notes(t, ex), "a", "b")
		stop()
		for _, e := range reminders(t, ex) {
			if due := map[string]time.Duration{"a": sec, "b": 10 * time.Minute}[e.Data.Note]; e.Timestamp.Before(at(due)) {
				t.Errorf("%q at %v, want it after %v", e.Data.Note, e.Timestamp, at(due))
			}
		}
	})
}

// A commit that is not stored changes no deadline.
func TestDeadlineConflict(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	later := time.Now().Add(time.Hour)
	commit(t, ex, opened("a").Deadline("x", later, reminded{Note: "a"}))
	commit(t, ex, opened("b"))
	before := []evento.Record{recordsOfKind(t, ex, "due")[0], recordsOfKind(t, ex, "deadline")[0]}
	for name, all := range map[string][]*evento.CommitBuilder{
		"set":                    {evento.Aggregate("b").Event(AccountOpened{}).Deadline("x", later, reminded{})},
		"moved":                  {evento.Aggregate("a").Event(AccountOpened{}).Deadline("x", later.Add(1), reminded{})},
		"cleared":                {evento.Aggregate("a").OriginalVersion(2).Event(AccountOpened{}).ClearDeadline("x")},
		"moved beside another":   {opened("a").Deadline("x", later.Add(time.Hour), reminded{}), evento.Aggregate("b").Event(AccountOpened{})},
		"cleared beside another": {evento.Aggregate("b").Event(AccountOpened{}), opened("a").ClearDeadline("x"), opened("c").Deadline("x", later, reminded{})},
	} {
		if _, err := evento.CommitAll(t.Context(), ex, all...); !errors.Is(err, evento.ErrConflict) {
			t.Errorf("%s: CommitAll() = %v, want %v", name, err, evento.ErrConflict)
		}
	}
	_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
		return errors.Join(errEmpty, only(opened("a").ClearDeadline("x").Commit(ctx, d)))
	})
	if !errors.Is(err, errEmpty) {
		t.Errorf("Decide() = %v", err)
	}
	after := []evento.Record{recordsOfKind(t, ex, "due")[0], recordsOfKind(t, ex, "deadline")[0]}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the records are %v, and were %v", after, before)
	}
	wantList(t, "deadlines", deadlines(t, ex), "a x")
}

// A builder that is committed again is the same commit, whatever has become of its deadlines.
func TestDeadlineCommittedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lost   string // before or after the store has it
		moved  bool   // it is set already
		then   func(t *testing.T, ex evento.Executor)
		want   []string
		events int
	}{
		"not stored":                 {"before", false, nil, []string{"a x", "b x"}, 2},
		"not stored, and moves":      {"before", true, nil, []string{"a x", "b x"}, 3},
		"not stored, and set before": {"before", false, func(t *testing.T, ex evento.Executor) { commit(t, ex, opened("a").Deadline("x", at(0), reminded{})) }, []string{"a x", "b x"}, 3},
		"stored":                     {"after", false, nil, []string{"a x", "b x"}, 2},
		"stored, and moved":          {"after", true, nil, []string{"a x", "b x"}, 3},
		"cleared since":              {"after", false, func(t *testing.T, ex evento.Executor) { commit(t, ex, opened("a").ClearDeadline("x")) }, []string{"b x"}, 3},
		"moved since":                {"after", true, func(t *testing.T, ex evento.Executor) { commit(t, ex, opened("b").Deadline("x", at(-sec), reminded{})) }, []string{"b x", "a x"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if test.moved {
				commit(t, store, opened("a").Deadline("x", at(time.Hour), reminded{Note: "before"}))
			}
			lost := false
			ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				if lost {
					return store.Write(ctx, w)
				}
				lost = true
				if test.lost == "before" {
					return nil, evento.ErrOutcomeUnknown
				}
				return nil, errors.Join(evento.ErrOutcomeUnknown, only(store.Write(ctx, w)))
			}}
			builders := []*evento.CommitBuilder{
				opened("a").Deadline("x", at(0), reminded{Note: "a"}).ClearDeadline("y"),
				opened("b").Deadline("x", at(sec), reminded{Note: "b"}),
			}
			if _, err := evento.CommitAll(t.Context(), ex, builders...); !errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Fatalf("CommitAll() = %v", err)
			}
			if test.then != nil {
				test.then(t, store)
			}
			var first []evento.Receipt
			for range 3 {
				receipts, err := evento.CommitAll(t.Context(), ex, builders...)
				if err != nil || len(receipts) != 2 || first != nil && !slices.Equal(receipts, first) {
					t.Errorf("CommitAll() again = %+v, %v, want %+v", receipts, err, first)
				}
				first = receipts
			}
			wantList(t, "deadlines", deadlines(t, store), test.want...)
			if n := len(events(t, store)); n != test.events {
				t.Errorf("%d events, want %d", n, test.events)
			}
		})
	}
}

// One that has come true is not set by its builder again.
func TestDeadlineCommittedAgainWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		stop := runDeadlines(t, ex)
		b := opened("a").Deadline("x", at(0), reminded{Note: "a"})
		for range 2 {
			commit(t, ex, b)
			time.Sleep(time.Minute)
		}
		stop()
		wantList(t, "came true", notes(t, ex), "a")
	})
}

// Whoever sets a deadline while another does is the one who moves it.
func TestDeadlineRace(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	raced := 0
	ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		if raced++; raced <= 3 {
			commit(t, store, opened("a").Deadline("x", at(time.Duration(raced)*time.Minute), reminded{}))
		}
		return store.Write(ctx, w)
	}}
	commit(t, ex, opened("a").Deadline("x", at(time.Hour), reminded{}))
	for d, err := range evento.Deadlines(t.Context(), store) {
		if err != nil || !d.At.Equal(at(time.Hour)) {
			t.Errorf("a deadline at %v, %v, want the one of the commit that was stored last", d.At, err)
		}
	}
	raced = 0
	commit(t, ex, opened("a").ClearDeadline("x"))
	wantNoRecords(t, store)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := opened("a").Deadline("x", at(time.Duration(i)), reminded{}).Commit(t.Context(), store); err != nil {
					t.Error(err)
				}
				if _, err := opened("a").ClearDeadline("x").Commit(t.Context(), store); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	commit(t, store, opened("a").ClearDeadline("x"))
	wantNoRecords(t, store)
}

// A context that ends while others change the deadline is the error.
func TestDeadlineRaceEnds(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		commit(t, store, opened("a").Deadline("x", at(0), reminded{}))
		if n++; n == 100 {
			cancel()
		}
		return store.Write(context.WithoutCancel(ctx), w)
	}}
	if _, err := opened("a").Deadline("x", at(0), reminded{}).Commit(ctx, ex); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit() = %v, want %v", err, context.Canceled)
	}
}

// A store whose records are never as they are read is damaged, and nobody waits for ever.
func TestDeadlineNeverAsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		ex := &hooked{Executor: newStore(t), write: func(context.Context, evento.Write) ([]evento.Receipt, error) {
			tries++
			return nil, fmt.Errorf("%w: so it says", evento.ErrSwapped)
		}}
		_, err := opened("a").Deadline("x", at(0), reminded{}).Commit(t.Context(), ex)
		if !errors.Is(err, evento.ErrDamaged) || fmt.Sprint(err) != "evento: damaged records of deadlines: record was changed meanwhile: so it says" || tries > 20 {
			t.Errorf("Commit() = %v after %d tries, want %v", err, tries, evento.ErrDamaged)
		}
	})
}

// Decisions that change the same deadline conflict over it: both are made, one after the
// other.
func TestDeadlineDecisions(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func() *evento.CommitBuilder{
		"set":   func() *evento.CommitBuilder { return opened("a").Deadline("x", at(time.Hour), reminded{Note: "other"}) },
		"clear": func() *evento.CommitBuilder { return opened("a").ClearDeadline("x") },
	} {
		for _, set := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", name, set), func(t *testing.T) {
				t.Parallel()
				ex := newStore(t)
				if set {
					commit(t, ex, opened("a").Deadline("x", at(time.Hour), reminded{Note: "first"}))
				}
				runs := 0
				receipts, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
					if _, err := opened("b").Commit(ctx, d); err != nil {
						return err
					}
					if runs++; runs == 1 {
						commit(t, ex, other())
					}
					// The version is not read, the deadline is.
					return only(evento.Aggregate("a").AnyVersion().Event(AccountOpened{}).Deadline("x", at(0), reminded{Note: "decided"}).Commit(ctx, d))
				})
				if err != nil || len(receipts) != 2 {
					t.Errorf("Decide() = %+v, %v", receipts, err)
				}
				wantList(t, "deadlines", deadlines(t, ex), "a x")
				if !set && name == "clear" {
					return // there is nothing to conflict over
				}
				n := 0
				for _, e := range events(t, ex) {
					if e.AggregateID == "b" {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%d decisions are stored, want 1", n)
				}
			})
		}
	}
}

// Many decisions that change one deadline: none is lost, and the deadline is one.
func TestDeadlineManyDecisions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const deciders, each = 6, 10
	var runs, conflicts list[int]
	counted := &hooked{Executor: ex, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		receipts, err := ex.Write(ctx, w)
		if errors.Is(err, evento.ErrSwapped) {
			conflicts.add(1)
		}
		return receipts, err
	}}
	var wg sync.WaitGroup
	for i := range deciders {
		wg.Go(func() {
			for j := range each {
				_, err := evento.Decide(t.Context(), counted, func(ctx context.Context, d evento.Executor) error {
					runs.add(1)
					return only(opened("a").Deadline("x", at(time.Duration(i*each+j)), reminded{Note: fmt.Sprint(i, j)}).Commit(ctx, d))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(events(t, ex)); n != deciders*each || len(runs.all()) != n+len(conflicts.all()) {
		t.Errorf("%d events of %d runs with %d conflicts, want %d events", n, len(runs.all()), len(conflicts.all()), deciders*each)
	}
	wantList(t, "deadlines", deadlines(t, ex), "a x")
}

// A decision reads the deadlines that it sets.
func TestDeadlinesOfDecision(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, opened("a").Deadline("x", at(sec), reminded{}).Deadline("y", at(2*sec), reminded{}))
	_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
		if _, err := opened("b").Deadline("z", at(0), reminded{}).Commit(ctx, d); err != nil {
			return err
		}
		if _, err := opened("a").Deadline("y", at(-time.Hour), reminded{}).ClearDeadline("x").Commit(ctx, d); err != nil {
			return err
		}
		wantList(t, "deadlines in the decision", deadlines(t, d), "a y", "b z")
		wantList(t, "those of a", deadlines(t, d, evento.AggregateKey{Type: Account, ID: "a"}), "a y")
		return nil
	})
	noErr(t, err)
	wantList(t, "deadlines", deadlines(t, ex), "a y", "b z")
}

// Within an update, which may be made again.
func TestDeadlineOfUpdate(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 2)
	for _, lost := range []string{"", "before", "after"} {
		ex, tries := &hooked{Executor: store}, 0
		ex.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			switch tries++; {
			case tries == 1: // another is faster
				deposits(t, store, "a", 1)
				return store.Write(ctx, w)
			case tries == 2 && lost == "before":
				return nil, evento.ErrOutcomeUnknown
			case tries == 2 && lost == "after":
				return nil, errors.Join(evento.ErrOutcomeUnknown, only(store.Write(ctx, w)))
			}
			return store.Write(ctx, w)
		}
		runs := 0
		r, err := balance.Update(t.Context(), ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			runs++
			return []evento.Payload{MoneyWithdrawn{Amount: 1}}, nil
		}, evento.WithCommit(func(b *evento.CommitBuilder) { b.Deadline("x", at(time.Duration(runs)), reminded{}) }))
		if err != nil || runs != 2 || r.Version != uint64(len(events(t, store))) {
			t.Errorf("lost %q: Update() = %+v, %v after %d runs", lost, r, err, runs)
		}
		wantList(t, "deadlines", deadlines(t, store), "a x")
	}
}

// The event is one of the aggregate like any other.
func TestDeadlineEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		stop := runDeadlines(t, ex)
		commit(t, ex, evento.Aggregate("first").Event(AccountOpened{}))
		first := events(t, ex)[0]
		b := evento.Aggregate("a").RoutingKey("eu").Codec(evento.JSON()).RequestedBy("ann").CausedBy(first).Metadata("k", "v")
		commit(t, ex, b.Event(AccountOpened{}, MoneyDeposited{Amount: 1}).Deadline("x", at(sec), reminded{Note: "<é>", Tagged: []string{"a:1", "b", "a:1"}}))
		commit(t, ex, evento.Aggregate("plain").Event(AccountOpened{}).Deadline("x", at(2*sec), reminded{Note: "plain"}))
		time.Sleep(time.Minute)
		stop()
		all := events(t, ex)
		if len(all) != 6 {
			t.Fatalf("%d events, want 6", len(all))
		}
		for i, want := range []struct {
			cause, correlation, key, codec, note string
			id                                   string
			version                              uint64
			tags                                 []string
		}{
			{all[2].ID.String(), first.ID.String(), "eu", "json", "<é>", "a", 3, []string{"a:1", "b"}},
			{all[3].ID.String(), all[3].ID.String(), "", "cbor", "plain", "plain", 2, nil},
		} {
			e, err := evento.Decode[reminded](all[4+i])
			noErr(t, err)
			if e.AggregateID != want.id || e.Version != want.version || e.RoutingKey != want.key || e.Codec != want.codec || !slices.Equal(e.Tags, want.tags) || e.Data.Note != want.note {
				t.Errorf("got %+v, want %+v", e, want)
			}
			m := e.Metadata
			if m.CausationID != want.cause || m.CorrelationID != want.correlation || m.RequestedBy != "" || m.Values != nil {
				t.Errorf("metadata %+v, want the cause %s and the correlation %s", m, want.cause, want.correlation)
			}
		}
	})
}

type unreminded struct{ Tagged []string }

func (unreminded) AggregateType() evento.AggregateType { return Account }
func (unreminded) EventName() string                   { return "Unreminded" }
func (u unreminded) Tags() []string                    { return u.Tagged }
func (unreminded) MarshalBinary() ([]byte, error)      { return nil, errUnwritable }

// What could not come true is refused with the commit, and what cannot be set changes
// nothing.
func TestDeadlineRefused(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, opened("a").Deadline("x", at(0), reminded{}))
	var many []string
	for i := range evento.MaxTags + 1 {
		many = append(many, fmt.Sprint(i))
	}
	committed := opened("late")
	commit(t, ex, committed)
	var none *renamed
	good := reminded{Note: "good"}
	b := func() *evento.CommitBuilder { return opened("a") }
	full := func(n int) *evento.CommitBuilder {
		b := opened("full")
		for i := range n {
			b.Deadline(fmt.Sprint(i), at(0), good)
		}
		return b
	}
	for name, test := range map[string]struct {
		b    *evento.CommitBuilder
		want error
		says string
	}{
		"an empty name":                {b().Deadline("", at(0), good), evento.ErrInvalid, `deadline "" of bank/Account "a": invalid name: empty`},
		"a bad name":                   {b().Deadline("x\n", at(0), good), evento.ErrInvalid, `deadline "x\n" of bank/Account "a": invalid name`},
		"a long name":                  {b().Deadline(strings.Repeat("x", evento.MaxName+1), at(0), good), evento.ErrInvalid, "at most 255 are allowed"},
		"a bad name that is cleared":   {b().ClearDeadline("\x00"), evento.ErrInvalid, `deadline "\x00" of bank/Account "a": invalid name`},
		"no payload":                   {b().Deadline("x", at(0), nil), evento.ErrInvalid, `deadline "x" of bank/Account "a": invalid event: the payload is nil`},
		"a nil pointer":                {b().Deadline("x", at(0), none), evento.ErrInvalid, "the payload is nil"},
		"another aggregate's":          {b().Deadline("x", at(0), &renamed{}), evento.ErrInvalid, `payload of deadline "x" of bank/Account "a": bank/Owner Renamed is of another type`},
		"a retired payload":            {b().Deadline("x", at(0), moved{}), evento.ErrInvalid, `deadline "x" of bank/Account "a": bank/Account Moved is retired`},
		"a payload with a bad name":    {b().Deadline("x", at(0), badName{}), evento.ErrInvalid, "payload evento_test.badName"},
		"a payload that is not to be":  {b().Deadline("x", at(0), unreminded{}), errUnwritable, `encoding bank/Account Unreminded of deadline "x" of bank/Account "a"`},
		"no time":                      {b().Deadline("x", time.Time{}, good), evento.ErrInvalid, `time of deadline "x" of bank/Account "a": 0001-01-01T00:00:00Z`},
		"a time before 1970":           {b().Deadline("x", time.Unix(-1, 0), good), evento.ErrInvalid, "1969-12-31T23:59:59Z"},
		"a time after 9999":            {b().Deadline("x", time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), good), evento.ErrInvalid, "1970 to 9999"},
		"an empty tag":                 {b().Deadline("x", at(0), reminded{Tagged: []string{"a", ""}}), evento.ErrInvalid, `deadline "x" of bank/Account "a": event "Reminded": invalid tag: empty`},
		"too many tags":                {b().Deadline("x", at(0), reminded{Tagged: many}), evento.ErrInvalid, `deadline "x" of bank/Account "a": event "Reminded": invalid tags: 17`},
		"a payload that is too large":  {b().Deadline("x", at(0), reminded{Note: strings.Repeat("x", evento.MaxRecord)}), evento.ErrTooLarge, `deadline "x" of bank/Account "a" takes `},
		"a payload that is far larger": {b().Codec(fixedCodec{make([]byte, evento.MaxPayload+1)}), evento.ErrTooLarge, "bank/Account AccountOpened"},
		"too many":                     {full(51), evento.ErrTooLarge, "its deadlines change 102 records, at most 100 are allowed"},
		"set late":                     {committed.Deadline("x", at(0), good), evento.ErrInvalid, `deadline "x" of bank/Account "late" was set or cleared after the builder was committed`},
		"what any commit is refused":   {b().Metadata("k", "\x00").Deadline("x", at(0), good), evento.ErrInvalid, `metadata value of "k"`},
	} {
		_, err := test.b.Commit(t.Context(), ex)
		if text := fmt.Sprint(err); !errors.Is(err, test.want) || !strings.HasPrefix(text, "evento: ") || strings.Count(text, "evento:") != 1 || !strings.Contains(text, test.says) {
			t.Errorf("%s: Commit() = %.300v\nwant %q, and \"evento: \" once, at the front, and %q", name, err, test.want, test.says)
		}
	}
	_, err := evento.CommitAll(t.Context(), ex, b().Deadline("x", at(0), good), b().Deadline("x", at(0), good))
	if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(fmt.Sprint(err), `bank/Account "a" is in it twice`) {
		t.Errorf("an aggregate twice: %v", err)
	}
	if n := len(events(t, ex)); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	wantList(t, "deadlines", deadlines(t, ex), "a x")
	noErr(t, only(full(50).Commit(t.Context(), ex)))
}

// The largest payload that the documentation promises.
func TestDeadlineLargest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		note := strings.Repeat("x", 40<<10)
		for i := range 60 { // more than are read at once
			commit(t, ex, opened(fmt.Sprint(i)).Deadline("x", at(0), reminded{Note: note}))
		}
		stop := runDeadlines(t, ex)
		time.Sleep(time.Minute)
		stop()
		got := reminders(t, ex)
		if len(got) != 60 || got[0].Data.Note != note {
			t.Errorf("%d have come true, want 60", len(got))
		}
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		a, b := evento.AggregateKey{Type: Account, ID: "a"}, evento.AggregateKey{Type: Account, ID: "b"}
		owner := evento.AggregateKey{Type: ownerType, ID: "a"}
		zone := time.FixedZone("east", 3*3600)
		commit(t, ex, opened("a").Deadline("late", at(-time.Minute), reminded{}).Deadline("x", at(time.Hour).In(zone), reminded{}))
		commit(t, ex, opened("b").Deadline("x", at(30*time.Minute+1500*time.Nanosecond), MoneyDeposited{}))
		commit(t, ex, evento.Aggregate("a").AnyVersion().Event(&renamed{}).Deadline("x", at(time.Hour), &renamed{}))
		commit(t, ex, opened("c").Deadline("x", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), reminded{}))
		time.Sleep(time.Minute)
		all := []evento.Deadline{
			{Account, "a", "late", at(-time.Minute), 2 * time.Minute, "Reminded"},
			{Account, "b", "x", at(30*time.Minute + time.Microsecond), 0, "MoneyDeposited"},
			{Account, "a", "x", at(time.Hour), 0, "Reminded"},
			{ownerType, "a", "x", at(time.Hour), 0, "Renamed"},
			{Account, "c", "x", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), 0, "Reminded"},
		}
		for _, test := range []struct {
			of   []evento.AggregateKey
			want []evento.Deadline
		}{
			{nil, all},
			{[]evento.AggregateKey{a}, []evento.Deadline{all[0], all[2]}},
			{[]evento.AggregateKey{b, owner, a, b}, all[:4]},
			{[]evento.AggregateKey{{Type: Account, ID: "none"}, {Type: "", ID: "a"}, {}}, nil},
		} {
			var got []evento.Deadline
			for d, err := range evento.Deadlines(t.Context(), ex, test.of...) {
				noErr(t, err)
				got = append(got, d)
			}
			byTimeAndType(got)
			want := slices.Clone(test.want)
			byTimeAndType(want)
			if !slices.Equal(got, want) {
				t.Errorf("Deadlines(%v)\n got %+v\nwant %+v", test.of, got, want)
			}
		}
		for _, of := range [][]evento.AggregateKey{nil, {a}} {
			for d, err := range evento.Deadlines(t.Context(), ex, of...) {
				if err != nil || d.Name != "late" {
					t.Errorf("the first of %v is %+v, %v", of, d, err)
				}
				break
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, of := range [][]evento.AggregateKey{nil, {a}} {
			if err := lastOf(evento.Deadlines(ctx, ex, of...)); !errors.Is(err, context.Canceled) {
				t.Errorf("Deadlines(%v) = %v, want %v", of, err, context.Canceled)
			}
		}
	})
}

// byTimeAndType orders those of the same time, which have no order. Others have to be in
// order already.
func byTimeAndType(all []evento.Deadline) {
	for i := 1; i < len(all); i++ {
		if all[i].At.Equal(all[i-1].At) && all[i].AggregateType < all[i-1].AggregateType {
			all[i], all[i-1] = all[i-1], all[i]
		}
	}
}

// More than a page, many at the same time, and some moved under the reader.
func TestDeadlinesOfMany(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var want []string
	for i := range 130 {
		id := fmt.Sprintf("%03d", i)
		commit(t, ex, opened(id).Deadline("x", at(time.Duration(i/70)*time.Hour), reminded{}))
		want = append(want, id+" x")
	}
	got := deadlines(t, ex)
	slices.Sort(got)
	wantList(t, "deadlines", got, want...)
	for i := range 130 {
		id := fmt.Sprintf("%03d", i)
		wantList(t, "deadlines of one", deadlines(t, ex, evento.AggregateKey{Type: Account, ID: id}), id+" x")
	}
	n := 0
	some := []evento.AggregateKey{{Type: Account, ID: "001"}, {Type: Account, ID: "129"}}
	for d, err := range evento.Deadlines(t.Context(), ex, some...) {
		noErr(t, err)
		if n++; n == 1 {
			for _, id := range []string{"001", "129"} {
				commit(t, ex, opened(id).ClearDeadline("x"))
			}
		}
		if d.AggregateID != "001" {
			t.Errorf("got %+v, which was cleared", d)
		}
	}
	if n != 1 {
		t.Errorf("%d deadlines, want 1", n)
	}
}

// overwrite changes the record of a kind that belongs to the deadline of an account, or
// removes it when the value is nil.
func overwrite(t *testing.T, ex evento.Executor, kind string, id string, value []byte) {
	t.Helper()
	own := recordsOfKind(t, ex, "deadline")
	own = slices.DeleteFunc(own, func(r evento.Record) bool { return r.Key != evento.HashIDs(string(Account), id) })
	if len(own) != 1 {
		t.Fatalf("%d deadlines of %q", len(own), id)
	}
	for _, r := range recordsOfKind(t, ex, kind) {
		if r.RecordKey == own[0].RecordKey || strings.Contains(string(own[0].Value), r.Part) && kind == "due" {
			noErr(t, ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: r.RecordKey, Revision: r.Revision, Value: value, Remove: value == nil}}}))
			return
		}
	}
	t.Fatalf("%q has no record of kind %s", id, kind)
}

// A record that cannot be read is an error of those who list the deadlines. Whoever runs
// them passes over it, and the others come true.
func TestDeadlineDamaged(t *testing.T) {
	t.Parallel()
	stray := func(key string, value string) func(t *testing.T, ex evento.Executor) {
		return func(t *testing.T, ex evento.Executor) {
			t.Helper()
			noErr(t, ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "due", Key: key, Part: "p"}, Value: []byte(value)}}}))
		}
	}
	damage := func(kind string, value []byte) func(t *testing.T, ex evento.Executor) {
		return func(t *testing.T, ex evento.Executor) { t.Helper(); overwrite(t, ex, kind, "bad", value) }
	}
	of := evento.AggregateKey{Type: Account, ID: "bad"}
	for name, test := range map[string]struct {
		damage           func(t *testing.T, ex evento.Executor)
		all, one, change error // of Deadlines, Deadlines of the aggregate, and a commit
		comes            bool  // it comes true all the same
		mended           bool  // what cannot be read is removed by clearing it
	}{
		"no JSON":             {damage("due", []byte("{")), evento.ErrDamaged, evento.ErrDamaged, nil, false, true},
		"empty":               {damage("due", []byte{}), evento.ErrDamaged, evento.ErrDamaged, nil, false, true},
		"null":                {damage("due", []byte("null")), evento.ErrDamaged, evento.ErrDamaged, nil, false, true},
		"of another":          {damage("due", []byte(`{"type":"bank/Account","id":"other","name":"x"}`)), evento.ErrDamaged, evento.ErrDamaged, nil, false, true},
		"gone":                {damage("due", nil), nil, nil, nil, false, true},
		"no JSON by its name": {damage("deadline", []byte("{")), nil, evento.ErrDamaged, evento.ErrDamaged, false, false},
		"null by its name":    {damage("deadline", []byte("null")), nil, evento.ErrDamaged, evento.ErrDamaged, false, false},
		"names nothing":       {damage("deadline", []byte(`{"due":"tomorrow","part":"p"}`)), nil, evento.ErrDamaged, evento.ErrDamaged, false, false},
		"names another":       {damage("deadline", []byte(`{"due":"2000-01-01T00:00:00.000000Z","part":"p"}`)), nil, nil, nil, false, false},
		"gone by its name":    {damage("deadline", nil), nil, nil, nil, false, false},
		"of no time":          {stray("now", "{}"), evento.ErrDamaged, nil, nil, true, false},
		"of a strange time":   {stray("2000-01-01T00:00:00Z", "{}"), evento.ErrDamaged, nil, nil, true, false},
		"of nothing":          {stray("1999-01-01T00:00:00.000000Z", "{}"), evento.ErrDamaged, nil, nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ex := newStore(t)
				commit(t, ex, opened("bad").Deadline("x", at(0), reminded{Note: "bad"}))
				test.damage(t, ex)
				for _, list := range []struct {
					of   []evento.AggregateKey
					want error
				}{{nil, test.all}, {[]evento.AggregateKey{of}, test.one}} {
					if err := lastOf(evento.Deadlines(t.Context(), ex, list.of...)); !errors.Is(err, list.want) {
						t.Errorf("Deadlines(%v) = %v, want %v", list.of, err, list.want)
					} else if text := fmt.Sprint(err); err != nil && strings.Count(text, "evento:") != 1 {
						t.Errorf("Deadlines(%v) = %v", list.of, err)
					}
				}
				stop := runDeadlines(t, ex)
				var want []string
				for i := range 60 {
					note := fmt.Sprintf("%02d", i)
					commit(t, ex, opened(note).Deadline("x", at(time.Duration(i)*sec), reminded{Note: note}))
					want = append(want, note)
				}
				time.Sleep(2 * time.Minute)
				var got []string
				came := false
				for _, e := range reminders(t, ex) {
					if e.Data.Note == "bad" {
						came = true
						continue
					}
					got = append(got, e.Data.Note)
					i, err := strconv.Atoi(e.Data.Note)
					noErr(t, err)
					if late := e.Timestamp.Sub(at(time.Duration(i) * sec)); late < 0 || late > 210*time.Millisecond {
						t.Errorf("%s is %v late", e.Data.Note, late)
					}
				}
				wantList(t, "the others", got, want...)
				if came != test.comes {
					t.Errorf("it has come true: %t, want %t", came, test.comes)
				}
				_, err := opened("bad").ClearDeadline("x").Commit(t.Context(), ex)
				if text := fmt.Sprint(err); !errors.Is(err, test.change) || err != nil && strings.Count(text, "evento:") != 1 {
					t.Errorf("Commit() = %v, want %v", err, test.change)
				}
				if err == nil {
					commit(t, ex, opened("bad").Deadline("x", at(0), reminded{Note: "mended"}))
					time.Sleep(time.Minute)
					if got := notes(t, ex); got[len(got)-1] != "mended" {
						t.Errorf("%q has come true last, want the new one", got[len(got)-1])
					}
				}
				stop()
				if test.mended {
					wantNoRecords(t, ex)
				}
			})
		})
	}
}

// A deadline that the store refuses does not keep others from coming true, and comes true
// when it does not any more.
func TestDeadlinePoison(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"refused":     fmt.Errorf("%w thing", evento.ErrInvalid),
		"too large":   evento.ErrTooLarge,
		"conflict":    &evento.ConflictError{},
		"store":       errors.New("a trigger says no"),
		"no room":     evento.ErrFull,
		"unknown end": evento.ErrOutcomeUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				var mu sync.Mutex
				refuses, tries := true, 0
				ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
					mu.Lock()
					defer mu.Unlock()
					tries++
					if refuses && slices.ContainsFunc(w.Appends, func(a evento.Append) bool { return strings.HasPrefix(a.AggregateID, "poison") }) {
						return nil, refusal
					}
					return store.Write(ctx, w)
				}}
				for i := range 4 {
					commit(t, store, opened(fmt.Sprint("poison ", i)).Deadline("x", at(time.Duration(i)*time.Microsecond), reminded{Note: "poison"}))
				}
				stop := runDeadlines(t, ex)
				for i := range 60 {
					commit(t, store, opened(fmt.Sprint("good ", i)).Deadline("x", at(time.Duration(i)*sec), reminded{Note: "good"}))
				}
				time.Sleep(10 * time.Minute)
				if got := notes(t, ex); len(got) != 60 || slices.Contains(got, "poison") {
					t.Errorf("%d have come true, want the 60 that are good", len(got))
				}
				mu.Lock()
				if refuses = false; tries > 20_000 {
					t.Errorf("%d writes in 10 minutes", tries)
				}
				mu.Unlock()
				time.Sleep(time.Minute)
				if got := notes(t, ex); len(got) != 64 {
					t.Errorf("%d have come true, want 64", len(got))
				}
				stop()
				wantNoRecords(t, ex)
			})
		})
	}
}

var errOutOfOrder = errors.New("the store is out of order")

// unreliable fails now and then: before, or after it has done what it was asked for, or
// it does that later.
func unreliable(t *testing.T, store evento.Executor, late bool, r *rand.Rand) (ex *hooked, heal func()) {
	t.Helper()
	var mu sync.Mutex
	healed := false
	fails := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		if healed {
			return n
		}
		return r.IntN(n)
	}
	ex = &hooked{Executor: store}
	ex.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		switch fails(8) {
		case 0:
			return nil, errOutOfOrder
		case 1:
			return nil, evento.ErrOutcomeUnknown
		case 2:
			return nil, errors.Join(evento.ErrOutcomeUnknown, only(store.Write(ctx, w)))
		case 3: // it is stored, or refused, later
			if !late {
				break
			}
			time.AfterFunc(time.Duration(r.IntN(50))*time.Millisecond, func() { _, _ = store.Write(context.WithoutCancel(ctx), w) })
			return nil, evento.ErrOutcomeUnknown
		}
		return store.Write(ctx, w)
	}
	ex.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
		if fails(10) == 0 {
			return nil, errOutOfOrder
		}
		return store.Records(ctx, q)
	}
	return ex, func() {
		mu.Lock()
		defer mu.Unlock()
		healed = true
	}
}

// On a store that fails now and then, with two who run its deadlines and others who set,
// move and clear them, every deadline comes true once, and none that was cleared or moved.
func TestDeadlineFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				setting, _ := unreliable(t, store, false, rand.New(rand.NewPCG(seed, 1)))
				// A commit of which nobody knows is made again until it is stored.
				sure := func(b *evento.CommitBuilder) {
					for {
						if _, err := b.Commit(t.Context(), setting); err == nil {
							return
						} else if !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, errOutOfOrder) {
							t.Errorf("Commit() = %v", err)
							return
						}
					}
				}
				var stops, heals []func()
				for i := range uint64(2) {
					ex, heal := unreliable(t, store, true, rand.New(rand.NewPCG(seed, 2+i)))
					heals = append(heals, heal)
					stops = append(stops, runDeadlines(t, ex))
				}
				r := rand.New(rand.NewPCG(seed, 0))
				var want []string
				for i := range 70 {
					id := fmt.Sprint("account ", i%40)
					soon, late := time.Now().Add(time.Duration(r.IntN(300))*time.Millisecond), at(time.Minute)
					note := func(what string) reminded { return reminded{Note: fmt.Sprint(i, " ", what)} }
					b := opened(id).Deadline(fmt.Sprint(i), late, note("set"))
					switch r.IntN(4) {
					case 0: // it comes true while others are set
						b.Deadline(fmt.Sprint(i), soon, note("soon"))
						want = append(want, fmt.Sprint(i, " soon"))
						sure(b)
					case 1:
						sure(b)
						sure(opened(id).Deadline(fmt.Sprint(i), soon, note("moved")))
						want = append(want, fmt.Sprint(i, " moved"))
					case 2:
						sure(b)
						sure(opened(id).ClearDeadline(fmt.Sprint(i)))
					case 3:
						sure(b)
						want = append(want, fmt.Sprint(i, " set"))
					}
				}
				time.Sleep(2 * time.Minute)
				for _, heal := range heals {
					heal()
				}
				time.Sleep(time.Minute)
				for _, stop := range stops {
					stop()
				}
				got := notes(t, store)
				slices.Sort(got)
				slices.Sort(want)
				for _, w := range want {
					if !slices.Contains(got, w) {
						t.Errorf("not come true: %s", w)
					}
				}
				for i, g := range got {
					if !slices.Contains(want, g) || i > 0 && got[i-1] == g {
						t.Errorf("come true: %s", g)
					}
				}
				wantNoRecords(t, store)
			})
		})
	}
}

// Of several who run the deadlines, one works, and the others are in its way seldom. When
// it ends, another goes on.
func TestDeadlineRunners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, runners = 100, 3
		store := newStore(t)
		var tries, stored [runners]int
		var mu sync.Mutex
		stops := make([]func(), runners)
		for i := range runners {
			stops[i] = runDeadlines(t, &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				time.Sleep(time.Millisecond)
				receipts, err := store.Write(ctx, w)
				mu.Lock()
				defer mu.Unlock()
				if tries[i]++; err == nil {
					stored[i] += len(receipts)
				}
				return receipts, err
			}})
		}
		for i := range 2 * n {
			commit(t, store, opened(fmt.Sprint(i)).Deadline("x", at(time.Duration(i+1)*sec), reminded{Note: fmt.Sprint(i)}))
		}
		time.Sleep(n*sec + sec/2)
		mu.Lock()
		works := slices.Index(stored[:], slices.Max(stored[:]))
		all := 0
		for i := range runners {
			all += tries[i]
		}
		if stored[works] < n-2 || all > n+10 {
			t.Errorf("%d tries, of which %v have stored %d; want one to work", all, stored, n)
		}
		mu.Unlock()
		stops[works]()
		time.Sleep(n * sec)
		for i, stop := range stops {
			if i != works {
				stop()
			}
		}
		got := reminders(t, store)
		for i, e := range got {
			// The first after that is taken over.
			if late := e.Timestamp.Sub(at(time.Duration(i+1) * sec)); e.Data.Note != fmt.Sprint(i) || late < 0 || late > 250*time.Millisecond || late > 20*time.Millisecond && i != n && i > 2 {
				t.Errorf("%s came true as number %d, %v late", e.Data.Note, i, late)
			}
		}
		if len(got) != 2*n {
			t.Errorf("%d have come true, want %d", len(got), 2*n)
		}
	})
}

// Many that are due already, of several deadlines of each account: all come true, those of
// an account in the order of time.
func TestDeadlineBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		const accounts, each = 40, 5
		for i := range accounts {
			b := opened(fmt.Sprint(i))
			for j := range each {
				b.Deadline(fmt.Sprint(j), at(time.Duration(j*(i%3))*time.Microsecond), reminded{Note: fmt.Sprint(j)})
			}
			commit(t, store, b)
		}
		var stops []func()
		for range 3 {
			stops = append(stops, runDeadlines(t, slow(store)))
		}
		time.Sleep(time.Minute)
		for _, stop := range stops {
			stop()
		}
		got := map[string][]string{}
		for _, e := range reminders(t, store) {
			got[e.AggregateID] = append(got[e.AggregateID], e.Data.Note)
		}
		for i := range accounts {
			notes := got[fmt.Sprint(i)]
			if i%3 == 0 { // all of the same time
				slices.Sort(notes)
			}
			wantList(t, fmt.Sprint("account ", i), notes, "0", "1", "2", "3", "4")
		}
		wantNoRecords(t, store)
	})
}

// Those who lose a backlog to another one leave it to that.
func TestDeadlineBacklogOfOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		const n = 1000
		for i := range n {
			commit(t, store, opened(fmt.Sprint(i)).Deadline("x", at(-time.Hour), reminded{}))
		}
		var refused list[error]
		ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			time.Sleep(5 * time.Millisecond)
			receipts, err := store.Write(ctx, w)
			if err != nil {
				refused.add(err)
			}
			return receipts, err
		}}
		var stops []func()
		for range 3 {
			stops = append(stops, runDeadlines(t, ex))
		}
		time.Sleep(time.Minute)
		for _, stop := range stops {
			stop()
		}
		if got := len(reminders(t, store)); got != n {
			t.Errorf("%d have come true, want %d", got, n)
		}
		if got := len(refused.all()); got > 10 {
			t.Errorf("%d writes were refused, for %d deadlines", got, n)
		}
	})
}

// It ends when its context does, or the store, whatever it is doing.
func TestRunDeadlinesEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		due   time.Duration
		fails bool
	}{
		"without deadlines": {due: -1},
		"waiting":           {due: time.Hour},
		"a failing store":   {due: 0, fails: true},
	} {
		for _, closes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", name, closes), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := newStore(t)
					if test.due >= 0 {
						commit(t, store, opened("a").Deadline("x", at(test.due), reminded{}))
					}
					ex := &hooked{Executor: store}
					if test.fails {
						ex.write = func(context.Context, evento.Write) ([]evento.Receipt, error) { return nil, errOutOfOrder }
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					done := make(chan error, 1)
					go func() { done <- evento.RunDeadlines(ctx, ex) }()
					time.Sleep(10 * time.Minute)
					want := context.Canceled
					began := time.Now()
					if closes {
						want = evento.ErrClosed
						noErr(t, store.Close())
					} else {
						cancel()
					}
					if err := <-done; !errors.Is(err, want) {
						t.Errorf("RunDeadlines() = %v, want %v", err, want)
					}
					if took := time.Since(began); took > sec+10*time.Millisecond || !test.fails && took > 10*time.Millisecond {
						t.Errorf("it has ended after %v", took)
					}
				})
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := evento.RunDeadlines(ctx, newStore(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("RunDeadlines() with a context that has ended = %v", err)
	}
}
