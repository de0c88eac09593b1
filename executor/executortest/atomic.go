// Writes of several aggregates: all or nothing.

package executortest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testAtomic(t *testing.T, c Config) {
	c.run(t, "NothingOfAConflict", atomicNothingOfAConflict)
	c.run(t, "NeverHalf", atomicNeverHalf)
}

// Wherever in the write the append is that does not fit.
func atomicNothingOfAConflict(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const appends = 5
	commit(ctx, t, ex, to("taken", 0, "A"))
	commit(ctx, t, ex, to("1", 0, "A"))
	for bad := range appends {
		w := evento.Write{}
		for i := range appends {
			switch i {
			case bad:
				w.Appends = append(w.Appends, to("taken", 0, "X", "Y"))
			case 1:
				w.Appends = append(w.Appends, to("1", 1, "X", "Y"))
			case 2:
				w.Appends = append(w.Appends, toAny("2", "X"))
			default:
				w.Appends = append(w.Appends, to(fmt.Sprint(i), 0, "X", "Y"))
			}
		}
		conflict(ctx, t, ex, w, conflictAt("taken", 0, 1))
	}
	// All are where they were.
	commit(ctx, t, ex, to("0", 0, "A"), to("1", 1, "B"), to("2", 0, "A"), to("3", 0, "A"), to("4", 0, "A"), to("taken", 1, "B"))
	soundLog(ctx, t, c, ex)
}

// While writers commit to several aggregates at once, readers find every
// commit whole, from whichever end and through whichever filter they read.
func atomicNeverHalf(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, readers, each = 4, 3, 12
	ids := []string{"a", "b", "c"}
	reader := c.another(t, ex)
	byID := filtered(evento.ByID(thing, "a"), evento.ByID(thing, "b"), evento.ByID(thing, "c"))

	var writing atomic.Int32
	writing.Store(writers)
	together(t, writers+readers, func(i int) error {
		if i < writers {
			defer writing.Add(-1)
			for range each {
				w := evento.Write{}
				name := evento.NewID().String() // tells the commits apart
				for j := range ids {
					w.Appends = append(w.Appends, toAny(ids[(i+j)%len(ids)], name, name))
				}
				if _, err := tryCommit(ctx, ex, w); err != nil {
					return err
				}
			}
			return nil
		}
		for more := true; more; {
			more = writing.Load() > 0
			for _, args := range []cursor.Args{cursor.Onward(cursor.MaxPage, ""), cursor.Backward(cursor.MaxPage, "")} {
				for _, q := range []evento.Query{{}, byID} {
					p, err := tryRead(ctx, reader, q, args)
					if err != nil {
						return err
					}
					counts := map[string]int{}
					for _, e := range p.Edges {
						counts[e.Node.Name]++
					}
					for name, n := range counts {
						if n != 2*len(ids) {
							return fmt.Errorf("Read(%s, %s): got %d of the %d events of the commit %s", showQuery(q), showArgs(args), n, 2*len(ids), name)
						}
					}
				}
			}
		}
		return nil
	})
	log := soundLog(ctx, t, c, ex)
	if want := writers * each * 2 * len(ids); len(log) != want {
		t.Errorf("got %d events, want %d", len(log), want)
	}
}
