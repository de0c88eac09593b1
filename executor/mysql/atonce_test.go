//go:build unix

// A writer alone, whose commits are one round trip.

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

// atOnce is in the text of such a commit alone.
const atOnce = "@evento_at"

// alone appends to one aggregate, and checks the receipts.
type alone struct {
	t       *testing.T
	ex      evento.Executor
	version uint64
}

func (a *alone) tryCommit(ctx context.Context) error {
	a.t.Helper()
	r, err := evento.Aggregate("alone").OriginalVersion(a.version).RoutingKey("r").RequestedBy("me").Event(happened{int(a.version)}).Commit(ctx, a.ex)
	if err == nil {
		if a.version++; r.Version != a.version || r.Position != a.version {
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
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	a := &alone{t: t, ex: openSilent(t, through)}
	for name, c := range map[string]cut{
		"not made":     {text: atOnce},
		"made":         {text: atOnce, forward: true, packets: 4},
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
	for position := uint64(1); position <= 600; {
		ex := executors[rand.IntN(len(executors))]
		for range rand.IntN(5) {
			id := fmt.Sprint("a-", rand.IntN(4))
			stale := rand.IntN(4) == 0 && versions[id] > 0
			b := evento.Aggregate(id).OriginalVersion(versions[id])
			if stale {
				b.OriginalVersion(versions[id] - 1)
			}
			r, err := b.Event(happened{}).Commit(t.Context(), ex)
			var conflict *evento.ConflictError
			switch {
			case stale && (!errors.As(err, &conflict) || conflict.Actual != versions[id]):
				t.Fatalf("Commit() of a stale write = %v, want a conflict with %d", err, versions[id])
			case stale:
			case err != nil || r.Version != versions[id]+1 || r.Position != position:
				t.Fatalf("Commit() = %+v, %v, want version %d and position %d", r, err, versions[id]+1, position)
			default:
				versions[id]++
				position++
			}
		}
	}
	log(t, executors[0]) // checks that there is no gap
}

// A writer alone does not wait for the counter with its write on the way: who gives up
// knows that nothing is stored.
func TestAtOnceGivesUp(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	db := raw(t, dsn)
	a := &alone{t: t, ex: openSilent(t, dsn)}
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
}

// What the server refuses is told as it is when nobody commits at once.
func TestAtOnceRefused(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	db := raw(t, dsn)
	a := &alone{t: t, ex: openSilent(t, dsn)}
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
}
