// Other processes: the test binary runs again as one that appends, handles and
// is killed.

package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

const (
	childPath     = "EVENTO_TEST_CHILD_PATH"
	childWriters  = "EVENTO_TEST_CHILD_WRITERS"
	childCommits  = "EVENTO_TEST_CHILD_COMMITS" // of each writer; 0: until killed
	childHandles  = "EVENTO_TEST_CHILD_HANDLES" // the file for handled positions; "": no subscription
	childTable    = "EVENTO_TEST_CHILD_TABLE"   // not "": every other commit is in a transaction with a row of the table entry
	childKey      = "handler"
	childSnapshot = 7
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := child(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type counted struct{ N int }

var counts = evento.NewProjection[counted]("counts", thing).
	Handler(evento.Apply(func(v *counted, _ evento.Event[happened]) error { v.N++; return nil })).
	SnapshotEvery(childSnapshot)

// child appends to a store and prints a line for each commit that was
// acknowledged: the event's id, aggregate, version and position.
func child(ctx context.Context, path string) error {
	var writers, commits int
	if _, err := fmt.Sscan(os.Getenv(childWriters)+" "+os.Getenv(childCommits), &writers, &commits); err != nil {
		return err
	}
	ex, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	if handled := os.Getenv(childHandles); handled != "" {
		if err := childSubscribe(ctx, ex, handled); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	errs := make([]error, writers+1)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			if os.Getenv(childTable) != "" {
				errs[w] = childInTx(ctx, ex, w, commits)
				return
			}
			errs[w] = childWrite(ctx, ex, w, commits)
		})
	}
	wg.Wait()
	errs[writers] = ex.Close()
	return errors.Join(errs...)
}

// childLease is short: whoever comes after a process that was killed waits for it.
const childLease = 200 * time.Millisecond

// childSubscribe writes the position of each event that it handles to a file
// that outlives the process. It returns when it owns the key.
func childSubscribe(ctx context.Context, ex evento.Executor, path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	owned := make(chan struct{}, 1)
	sub, err := evento.NewSubscription(childKey).ChunkSize(5).Lease(childLease).
		Hooks(evento.SubscriptionHooks{Owner: func(_ context.Context, _ string, _ int, owner bool) {
			if owner {
				owned <- struct{}{}
			}
		}}).
		Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
			_, err := fmt.Fprintf(f, "%d\n", e.Position)
			return err
		})).Start(ctx, ex)
	if err != nil {
		return err
	}
	select {
	case <-owned:
		return nil
	case <-sub.Done():
		return sub.Err()
	}
}

// childWrite appends now to an aggregate that all writers share, now to one of
// its own, whose state it checks.
func childWrite(ctx context.Context, ex evento.Executor, writer, commits int) error {
	own, expected := "", uint64(0)
	for n := 0; commits == 0 || n < commits; n++ {
		b := evento.Aggregate(fmt.Sprint("shared-", n%3)).AnyVersion()
		if n%2 == 0 {
			b = evento.Create()
			if own != "" {
				b = evento.Aggregate(own).OriginalVersion(expected)
			}
		}
		r, err := b.Event(happened{writer}).Commit(ctx, ex)
		if err != nil {
			return err
		}
		fmt.Println(r.AggregateID, r.Version, r.Position)
		if n%2 != 0 {
			continue
		}
		own, expected = r.AggregateID, r.Version
		l, err := counts.Load(ctx, ex, own)
		if err != nil {
			return err
		}
		if uint64(l.State.N) != expected || l.Version != expected {
			return fmt.Errorf("%s: loaded %d events at version %d, committed %d", own, l.State.N, l.Version, expected)
		}
	}
	return nil
}

// childInTx commits now with a row of a table, now without. It says what it is
// about to do, so that it can be killed there.
func childInTx(ctx context.Context, ex *sqlite.Executor, writer, commits int) error {
	for n := 0; commits == 0 || n < commits; n++ {
		if n%2 == 1 {
			r, err := evento.Aggregate("plain").AnyVersion().Event(happened{n}).Commit(ctx, ex)
			if err != nil {
				return err
			}
			fmt.Println(r.AggregateID, r.Version, r.Position)
			continue
		}
		err := ex.InTx(ctx, func(ctx context.Context) error {
			fmt.Println("insert")
			if _, err := sqlite.Tx(ctx).ExecContext(ctx, "INSERT INTO entry (writer) VALUES (?)", writer); err != nil {
				return err
			}
			fmt.Println("commit")
			_, err := evento.Aggregate("entries").AnyVersion().Event(happened{n}, happened{n}).Commit(ctx, ex)
			fmt.Println("end")
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

// process is a running child.
type process struct {
	cmd    *exec.Cmd
	lines  chan string // acknowledged commits; closed at the end
	errors strings.Builder
}

func startChild(t *testing.T, path string, writers, commits int, handled string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), lines: make(chan string, 1)}
	p.cmd.Env = append(os.Environ(), childPath+"="+path,
		fmt.Sprint(childWriters, "=", writers), fmt.Sprint(childCommits, "=", commits), childHandles+"="+handled)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				if !errors.Is(err, io.EOF) {
					p.lines <- "reading: " + err.Error()
				}
				return // a line that was cut off was not said
			}
			if line != "ready\n" {
				p.lines <- strings.TrimSpace(line)
			}
		}
	}()
	return p
}

// wait returns when the process has ended, with an error unless it did so well.
func (p *process) wait() error {
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, p.errors.String())
	}
	return nil
}
