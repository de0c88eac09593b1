// Imports beside each other, beside commits, and with others on the store.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func importWakes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(10)
	for i := range all {
		changed := ex.Changed()
		take(ctx, t, ex, all[i])
		await(ctx, t, changed, "an import")
		if got := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).Edges[0].Node.Position; got != all[i].Position {
			t.Fatalf("after waking the last position is %d, want %d", got, all[i].Position)
		}
	}
}

// What the caller gave stays the caller's.
func importBytesAreCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	want := foreign(20)
	given := clones(want)
	take(ctx, t, ex, given...)
	for i := range given {
		clear(given[i].Data)
		clear(given[i].Metadata.Values)
		given[i].Name = "Other"
	}
	wantExactly(ctx, t, ex, evento.Query{}, want)
}

// The most events of one call.
func importMost(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(evento.MaxCommitEvents + 1)
	refuseImport(ctx, t, ex, "too many events", evento.ErrTooLarge, all...)
	take(ctx, t, ex, all[:evento.MaxCommitEvents]...)
	take(ctx, t, ex, all[1:]...)
	wantExactly(ctx, t, ex, evento.Query{}, all)
}

// An import that is not wanted any more, or comes too late, stores nothing.
func importEnds(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(20)
	take(ctx, t, ex, all[:10]...)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantError(t, tryImport(ended, ex, all...), context.Canceled, "with a context that has ended")
	wantExactly(ctx, t, ex, evento.Query{}, all[:10])
	must(t, ex.Close())
	wantError(t, tryImport(ctx, ex, all...), evento.ErrClosed, "after Close")
}

// Several who import the same do it once.
func importTogether(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	all := foreign(400)
	together(t, 4, func(i int) error {
		size := 10 + 7*i
		for at := 0; at < len(all); at += size {
			if err := tryImport(ctx, exs[i%len(exs)], all[at:min(at+size, len(all))]...); err != nil {
				return err
			}
		}
		return nil
	})
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

// An import that meets a commit at its positions is refused, as a whole; none
// of both is lost or comes in between.
func importBesideWrites(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each, size = 3, 20, 5
	var running atomic.Int64
	running.Store(writers)
	var imported [][]evento.RawEvent
	attempts := 0
	together(t, writers+1, func(i int) error {
		if i < writers {
			defer running.Add(-1)
			for n := range each {
				if _, err := tryCommit(ctx, ex, write(to(fmt.Sprint("writer ", i), uint64(n), "Written"), toAny("common", "Written"))); err != nil {
					return err
				}
			}
			return nil
		}
		for n := 0; running.Load() > 0 || len(imported) == 0; n++ {
			events, err := behindHead(ctx, ex, fmt.Sprint("import ", n), size)
			if err != nil {
				return err
			}
			attempts++
			switch err := tryImport(ctx, ex, events...); {
			case err == nil:
				imported = append(imported, events)
			case !errors.Is(err, evento.ErrInvalid):
				return err
			}
		}
		return nil
	})
	t.Logf("%d of %d imports fitted", len(imported), attempts)
	log := soundLog(ctx, t, c, ex)
	if want := writers*each*2 + len(imported)*size; len(log) != want {
		t.Fatalf("got %d events, want %d", len(log), want)
	}
	for _, e := range log {
		if e.Node.Name == "Written" && e.Node.Timestamp.Year() < 2002 {
			t.Errorf("position %d was written with the time %s of what was imported before", e.Node.Position, e.Node.Timestamp)
		}
	}
	for _, events := range imported {
		for _, e := range events {
			if diff := differ(log[e.Position-1].Node, e); diff != "" {
				t.Fatalf("position %d: %s", e.Position, diff)
			}
		}
	}
}

// behindHead makes new events that fit behind the store's last one, of a clock
// that is ahead.
func behindHead(ctx context.Context, ex evento.Executor, id string, n int) ([]evento.RawEvent, error) {
	p, err := tryRead(ctx, ex, evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		return nil, err
	}
	events := foreign(n)
	for i := range events {
		e := &events[i]
		e.AggregateType, e.AggregateID, e.Version, e.RoutingKey = thing, id, uint64(i+1), "import"
		for _, last := range p.Edges {
			e.Position += last.Node.Position
			e.Timestamp = last.Node.Timestamp.Add(time.Second)
		}
	}
	return events, nil
}

// In a transaction it is refused, and is not in the way of the rest.
func importInTx(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(10)
	if err := inTx(ctx, ex, func(tx context.Context) error {
		wantError(t, tryImport(tx, ex, all...), evento.ErrInvalid, "in a transaction")
		_, err := ex.Write(tx, write(to("a", 0, "A")))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wantStore(ctx, t, c, ex, 1)
}

// Nothing that an executor remembers is wrong after another one's import.
func importShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	second := c.share(t, ex)
	all := foreign(60)
	read(ctx, t, second, filtered(evento.ByType(thing)), cursor.Forward(10, ""))
	for at := 0; at < len(all); at += 10 {
		from := []evento.Executor{ex, second}[at/10%2]
		changed := []evento.Executor{second, ex}[at/10%2].Changed()
		take(ctx, t, from, all[at:at+10]...)
		await(ctx, t, changed, "another executor's import")
		wantExactly(ctx, t, second, evento.Query{}, all[:at+10])
	}
	for i, from := range []evento.Executor{ex, second, ex} {
		a := to("one", versionOf(all, thing, "one")+uint64(i), "Later")
		commit(ctx, t, from, a)
		more, err := behindHead(ctx, from, fmt.Sprint("more ", i), 3)
		must(t, err)
		take(ctx, t, []evento.Executor{second, ex, second}[i], more...)
	}
	log := soundLog(ctx, t, c, ex)
	if want := len(all) + 3 + 9; len(log) != want {
		t.Errorf("got %d events, want %d", len(log), want)
	}
}

func importReopened(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(40)
	take(ctx, t, ex, all[:20]...)
	ex = c.reopen(t, ex)
	wantExactly(ctx, t, ex, evento.Query{}, all[:20])
	take(ctx, t, ex, all...)
	ex = c.reopen(t, ex)
	wantExactly(ctx, t, ex, evento.Query{}, all)
	commit(ctx, t, ex, to("one", versionOf(all, thing, "one"), "Later"))
	soundLog(ctx, t, c, ex)
}
