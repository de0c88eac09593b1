// Other processes: the test binary runs again as one that appends.

package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

const thing evento.AggregateType = "test/Thing"

const (
	childDSN     = "EVENTO_TEST_CHILD_DSN"
	childWriters = 4
	childCommits = 15
)

type happened struct{ N int }

func (happened) AggregateType() evento.AggregateType { return thing }
func (happened) EventName() string                   { return "Happened" }

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		if err := child(context.Background(), dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testserver.Run(m)
}

// child appends to aggregates that all writers of all processes share, and to
// some of its own.
func child(ctx context.Context, dsn string) error {
	ex, err := mysql.Open(ctx, dsn, nil)
	if err != nil {
		return err
	}
	errs := make([]error, childWriters+1)
	var wg sync.WaitGroup
	for w := range childWriters {
		wg.Go(func() {
			for n := range childCommits {
				b := evento.Aggregate(fmt.Sprint("shared-", n%3)).AnyVersion()
				if n%2 == 0 {
					b = evento.Create()
				}
				if _, err := b.Event(happened{n}).Commit(ctx, ex); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	errs[childWriters] = ex.Close()
	return errors.Join(errs...)
}

// Several processes make the tables of one database at the same time and write
// to it, while a subscription here tails: it is given every position once, in
// order.
func TestProcesses(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	const children, want = 3, 3 * childWriters * childCommits
	ended := startChildren(t, dsn, children)
	ex := openDSN(t, dsn)
	var seen []uint64
	all := make(chan struct{})
	sub, err := evento.NewSubscription("tail").Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
		if seen = append(seen, e.Position); len(seen) == want {
			close(all)
		}
		return nil
	})).Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	for range children {
		if err := <-ended; err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	if !t.Failed() {
		select {
		case <-all:
		case <-sub.Done():
			t.Errorf("the subscription ended: %v", sub.Err())
		}
	}
	if err := sub.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
	for i, p := range seen {
		if p != uint64(i)+1 {
			t.Fatalf("event %d handled is that of position %d", i+1, p)
		}
	}
}

// startChildren runs processes that append, and sends how each ended.
func startChildren(t *testing.T, dsn string, n int) <-chan error {
	t.Helper()
	ended := make(chan error, n)
	for range n {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDSN+"="+dsn)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			ended <- err
		}()
	}
	return ended
}

// onward reads everything after a place and checks that positions go on there.
func onward(t *testing.T, ex evento.Executor, at cursor.Value, next uint64) (cursor.Value, uint64) {
	t.Helper()
	p, err := ex.Read(t.Context(), evento.Query{Filters: []evento.Filter{evento.ByType(thing)}}, cursor.Onward(100, at))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Edges {
		if e.Node.Position != next {
			t.Fatalf("read position %d, want %d", e.Node.Position, next)
		}
		next++
	}
	return p.PageInfo.EndCursor, next
}
