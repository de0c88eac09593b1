//go:build unix

// A writer alone, whose commits are one round trip, or two where they are large.

package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// atOnce is in the last text of such a commit alone.
const atOnce = "SET position = LAST_INSERT_ID("

// alone appends to one aggregate, and checks the receipts.
type alone struct {
	t       *testing.T
	ex      evento.Executor
	events  uint64 // of each commit; 0: one
	version uint64
}

// sizes are numbers of events: of one text, of a statement before it, and of one that is
// prepared when such a number has come twice.
var sizes = []uint64{1, 96, 100}

// eachSize runs a test on a database of its own for commits of each size.
func eachSize(t *testing.T, test func(t *testing.T, dsn string, events uint64)) {
	t.Helper()
	for _, events := range sizes {
		t.Run(fmt.Sprint(events), func(t *testing.T) {
			t.Parallel()
			if dsn := testserver.MySQL(t); dsn != "" {
				test(t, dsn, events)
			}
		})
	}
}

func (a *alone) tryCommit(ctx context.Context) error {
	a.t.Helper()
	events := make([]evento.Payload, max(1, a.events))
	for i := range events {
		events[i] = happened{int(a.version) + i}
	}
	r, err := evento.Aggregate("alone").OriginalVersion(a.version).RoutingKey("r").RequestedBy("me").Event(events...).Commit(ctx, a.ex)
	if err == nil {
		if a.version += uint64(len(events)); r.Version != a.version || r.Position != a.version {
			a.t.Fatalf("got %+v, want version and position %d", r, a.version)
		}
	}
	return err
}

func (a *alone) commit() {
	a.t.Helper()
	if err := a.tryCommit(a.t.Context()); err != nil {
		a.t.Fatalf("Commit() = %v", err)
	}
}

// warm makes the next commit one that is sent at once.
func (a *alone) warm() {
	a.t.Helper()
	for range 3 {
		a.commit()
	}
}

// Whatever becomes of the one round trip, the event is stored once, and its writer is told
// where.
func TestAtOnceLostReplies(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, dsn string, events uint64) {
		p, through := newProxy(t, dsn)
		a := &alone{t: t, ex: openSilent(t, through), events: events}
		replies := 2 // counter and COMMIT
		if events == 1 {
			replies = 4
		}
		for name, c := range map[string]cut{
			"not made":     {text: atOnce},
			"made":         {text: atOnce, forward: true, packets: replies},
			"half made":    {text: atOnce, forward: true},
			"not answered": {text: atOnce, forward: true, race: true},
		} {
			for range 3 {
				a.warm()
				p.next.Store(&c)
				a.commit()
				if p.next.Load() != nil {
					t.Fatalf("%s: nothing was cut: the commit was not sent at once", name)
				}
			}
		}
		wantEvents(t, a.ex, int(a.version))
	})
}

// Others append between the commits of a writer alone.
func TestAtOnceBesideOthers(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	executors := []evento.Executor{openSilent(t, dsn), openSilent(t, dsn)}
	versions := map[string]uint64{}
	for last, commits := uint64(0), 0; commits < 600; {
		ex := executors[rand.IntN(len(executors))]
		for range rand.IntN(5) {
			commits++
			events := make([]evento.Payload, []int{1, 1, 1, 32}[rand.IntN(4)])
			for i := range events {
				events[i] = happened{i}
			}
			id := fmt.Sprint("a-", rand.IntN(4))
			stale := rand.IntN(4) == 0 && versions[id] > 0
			b := evento.Aggregate(id).OriginalVersion(versions[id])
			if stale {
				b.OriginalVersion(versions[id] - 1)
			}
			r, err := b.Event(events...).Commit(t.Context(), ex)
			var conflict *evento.ConflictError
			switch {
			case stale && (!errors.As(err, &conflict) || conflict.Actual != versions[id]):
				t.Fatalf("Commit() of a stale write = %v, want a conflict with %d", err, versions[id])
			case stale:
			default:
				versions[id] += uint64(len(events))
				last += uint64(len(events))
				if err != nil || r.Version != versions[id] || r.Position != last {
					t.Fatalf("Commit() = %+v, %v, want version %d and position %d", r, err, versions[id], last)
				}
			}
		}
	}
	log(t, executors[0]) // checks that there is no gap
}

// A writer alone does not wait for the counter with its write on the way: who gives up
// knows that nothing is stored.
func TestAtOnceGivesUp(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, dsn string, events uint64) {
		db := raw(t, dsn)
		a := &alone{t: t, ex: openSilent(t, dsn), events: events}
		a.warm()
		f := begin(t, db)
		f.lockCounter()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.tryCommit(ctx) }()
		awaitWaiting(t, db, "")
		cancel()
		if err := receive(t, "Commit", done); !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("Commit() = %v, want the error of the context", err)
		}
		f.end(f.tx.Rollback)
		a.commit()
		wantEvents(t, a.ex, int(a.version))
	})
}

// What the server refuses is told as it is when nobody commits at once.
func TestAtOnceRefused(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, dsn string, events uint64) {
		db := raw(t, dsn)
		a := &alone{t: t, ex: openSilent(t, dsn), events: events}
		for _, table := range []string{"event", "counter"} {
			a.warm()
			exec := func(text string) {
				t.Helper()
				if _, err := db.ExecContext(t.Context(), strings.ReplaceAll(text, "TABLE", table)); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
			when := map[string]string{"event": "INSERT", "counter": "UPDATE"}[table]
			exec("CREATE TRIGGER evento_no_TABLE BEFORE " + when + " ON evento_TABLE FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no TABLE today'")
			err := a.tryCommit(t.Context())
			if err == nil || table == "event" && errors.Is(err, evento.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "no "+table+" today") {
				t.Errorf("Commit() with a trigger on %s = %v, want what the trigger says", table, err)
			}
			exec("DROP TRIGGER evento_no_TABLE")
			a.commit()
		}
		wantEvents(t, a.ex, int(a.version))
	})
}
