//go:build unix

// Servers that end in the middle of commits.

package mysql_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// attempt is a commit to two aggregates, with its number in both events, and
// what its caller was told.
type attempt struct {
	n        int
	builders []*evento.CommitBuilder
	receipts []evento.Receipt
	err      error
}

func (a *attempt) commit(ctx context.Context, ex evento.Executor) error {
	a.receipts, a.err = evento.CommitAll(ctx, ex, a.builders...)
	return a.err
}

// appender commits to an aggregate of its own and one that all share, until
// there is an error.
type appender struct {
	id      string
	version uint64
	made    []*attempt
}

func (w *appender) run(ctx context.Context, ex evento.Executor, number *atomic.Int64, done func()) {
	for {
		n := int(number.Add(1))
		own := evento.Create()
		if w.version > 0 {
			own = evento.Aggregate(w.id).OriginalVersion(w.version)
		}
		a := &attempt{n: n, builders: []*evento.CommitBuilder{
			own.Event(happened{n}), evento.Aggregate("shared").AnyVersion().Event(happened{n}),
		}}
		w.made = append(w.made, a)
		if a.commit(ctx, ex) != nil {
			return
		}
		w.acknowledged(a)
		done()
	}
}

func (w *appender) acknowledged(a *attempt) {
	w.id, w.version = a.receipts[0].AggregateID, a.receipts[0].Version
}

// tail subscribes and keeps what it is given.
type tail struct {
	mu    sync.Mutex
	seen  []evento.RawEvent
	grown chan struct{}
	sub   *evento.Subscription
}

func newTail(t *testing.T, ex evento.Executor) *tail {
	t.Helper()
	return newTailOf(t, ex, "tail")
}

func newTailOf(t *testing.T, ex evento.Executor, key string) *tail {
	t.Helper()
	l := &tail{grown: make(chan struct{}, 1)}
	sub, err := evento.NewSubscription(key).Logger(silent).All().Handler(evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, e)
		select {
		case l.grown <- struct{}{}:
		default:
		}
		return nil
	})).Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	l.sub = sub
	return l
}

// await returns what was seen when there are n events.
func (l *tail) await(t *testing.T, n int) []evento.RawEvent {
	t.Helper()
	for {
		l.mu.Lock()
		seen := l.seen
		l.mu.Unlock()
		if len(seen) >= n {
			return seen
		}
		select {
		case <-l.grown:
		case <-l.sub.Done():
			t.Fatalf("the subscription ended after %d events: %v", len(seen), l.sub.Err())
		}
	}
}

func (l *tail) shutdown(t *testing.T) {
	t.Helper()
	if err := l.sub.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
}

var silent = slog.New(slog.DiscardHandler)

func openSilent(t *testing.T, dsn string) *mysql.Executor {
	t.Helper()
	ex, err := mysql.Open(t.Context(), dsn, &mysql.Options{Logger: silent})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return ex
}

// log reads everything and checks that positions and versions have no gaps.
func log(t *testing.T, ex evento.Executor) []evento.RawEvent {
	t.Helper()
	var events []evento.RawEvent
	versions := map[string]uint64{}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatalf("Events() = %v", err)
		}
		events = append(events, e)
		key := string(e.AggregateType) + " " + e.AggregateID
		versions[key]++
		if e.Position != uint64(len(events)) || e.Version != versions[key] {
			t.Fatalf("event %d is at position %d, and event %d of %s has version %d", len(events), e.Position, versions[key], key, e.Version)
		}
	}
	return events
}

// stored counts the events by the number in them.
func stored(t *testing.T, events []evento.RawEvent) map[int]int {
	t.Helper()
	numbers := map[int]int{}
	for _, raw := range events {
		e, err := evento.Decode[happened](raw)
		if err != nil {
			t.Fatal(err)
		}
		numbers[e.Data.N]++
	}
	return numbers
}

// A server is killed, or shut down, while many commit; then it is back. What
// was acknowledged is there, each commit is there as a whole or not at all,
// committing again settles those whose outcome is unknown, and another
// process's subscription was shown nothing that is gone.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *testserver.MariaDBServer){
		"Killed":   (*testserver.MariaDBServer).Kill,
		"ShutDown": (*testserver.MariaDBServer).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.MariaDB(t)
			if s == nil {
				return
			}
			serverEnds(t, s, func() { end(s) })
		})
	}
}

func serverEnds(t *testing.T, s *testserver.MariaDBServer, end func()) {
	t.Helper()
	const appenders, perRound = 16, 100
	dsn := s.DSN("root", "")
	p, through := newProxy(t, dsn)
	ex := openSilent(t, through)
	seen := newTail(t, openSilent(t, dsn))
	writers := make([]appender, appenders)
	var number atomic.Int64
	for _, round := range []struct {
		name string
		cut
		least, most int // of the unknown commits that are there; -1: any
	}{
		{"before an insert", cut{text: "shared"}, 0, 0},
		{"before the commit", cut{text: "; COMMIT"}, 0, 0},
		{"after the commit", cut{text: "; COMMIT", forward: true, packets: 2}, 1, -1},
		{"in the commit", cut{text: "; COMMIT", forward: true, race: true}, 0, -1},
		{"in the insert", cut{text: "shared", forward: true, race: true}, 0, -1},
	} {
		var acknowledged atomic.Int64
		enough, ended := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				writers[i].run(t.Context(), ex, &number, func() {
					if acknowledged.Add(1) == perRound {
						close(enough)
					}
				})
			})
		}
		<-enough
		round.end = func() {
			end()
			close(ended)
		}
		p.next.Store(&round.cut)
		<-ended
		wg.Wait()
		s.Start()

		refused, unknown, found := 0, 0, 0
		there := stored(t, log(t, ex))
		for i := range writers {
			w := &writers[i]
			a := w.made[len(w.made)-1]
			times := there[a.n]
			switch {
			case errors.Is(a.err, evento.ErrOutcomeUnknown) && (times == 0 || times == 2):
				unknown++
				found += times / 2
			case errors.Is(a.err, evento.ErrOutcomeUnknown), errors.Is(a.err, evento.ErrConflict), times != 0:
				t.Errorf("%s: Commit() = %v, and %d of its 2 events are there", round.name, a.err, times)
			default:
				refused++
			}
			wg.Go(func() {
				if err := a.commit(t.Context(), ex); err != nil {
					t.Errorf("%s: Commit() again = %v", round.name, err)
					return
				}
				w.acknowledged(a)
			})
		}
		wg.Wait()
		t.Logf("ended %s: %d acknowledged, %d refused, %d unknown of which %d are there", round.name, acknowledged.Load(), refused, unknown, found)
		inCommit := strings.HasPrefix(round.text, ";")
		if inCommit != (unknown > 0) || found < round.least || round.most >= 0 && found > round.most {
			t.Errorf("ended %s: %d outcomes are unknown, of which %d are there", round.name, unknown, found)
		}
		if t.Failed() {
			return
		}
	}

	events := log(t, ex)
	there := stored(t, events)
	for _, w := range writers {
		for _, a := range w.made {
			if there[a.n] != 2 {
				t.Errorf("%d events of commit %d, want 2", there[a.n], a.n)
			}
			for _, r := range a.receipts {
				if e := events[r.Position-1]; e.AggregateID != r.AggregateID || e.Version != r.Version || stored(t, events[r.Position-1:r.Position])[a.n] != 1 {
					t.Errorf("commit %d was acknowledged as %+v, and there is %+v", a.n, r, e)
				}
			}
		}
	}
	if len(events) != 2*len(there) || len(there) != int(number.Load()) {
		t.Errorf("%d events with %d numbers, want 2 of each of %d", len(events), len(there), number.Load())
	}
	shown := seen.await(t, len(events))
	seen.shutdown(t)
	for i, e := range shown {
		if e.Position != uint64(i)+1 || e.ID != events[i].ID {
			t.Fatalf("the subscription's event %d is %+v, that of the log is %+v", i+1, e, events[i])
		}
	}
}
