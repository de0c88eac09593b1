//go:build unix

package torture_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/torture"
)

// stuck is a store on which from a time on one method does not return, and ignores its context, until
// the test is over.
type stuck struct {
	evento.Executor
	method string
	from   time.Time
	over   chan struct{}
	feed   evento.Feed
}

func (s *stuck) wait(method string) {
	if s.method == method && time.Now().After(s.from) {
		<-s.over
	}
}

func (s *stuck) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	s.wait("Write")
	return s.Executor.Write(ctx, w)
}

func (s *stuck) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	s.wait("Read")
	if follows(q, args) {
		s.wait("Read of those who follow")
	}
	if args.Limit() == cursor.MaxPage {
		s.wait("Read of the whole log")
	}
	return s.Executor.Read(ctx, q, args)
}

func (s *stuck) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	s.wait("Records")
	return s.Executor.Records(ctx, q)
}

func (s *stuck) Swap(ctx context.Context, w evento.Swap) error {
	s.wait("Swap")
	return s.Executor.Swap(ctx, w)
}

func (s *stuck) Close() error {
	s.wait("Close")
	return s.Executor.Close()
}

func (s *stuck) Feed() *evento.Feed { return &s.feed }

// A run gives up on an executor with a method that does not return and ignores its context, whether
// it ends its workers, kills them, judges or closes the store, and says which method and who called.
func TestStuck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, want string
		kills        int
	}{
		{"Write", "worker w1 gives up, as its Write of w1-0-", 0},
		{"Read", "worker w1 gives up, as its Read ", 0},
		{"Read of those who follow", "worker w1 gives up, as its Read ", 0},
		{"Records", "worker w1 gives up, as its Records ", 0},
		{"Swap", "worker w1 gives up, as its Swap ", 0},
		{"Write", " gives up, as its Write of w", 1000},
		{"Read of those who follow", " gives up, as its Read ", 1000},
		{"Swap", " gives up, as its Swap ", 1000},
		{"Read of the whole log", "the judge gives up, as its Read ", 0},
		{"Close", "the judge gives up, as its Close ", 0},
	} {
		t.Run(fmt.Sprint(test.method, " with kills x ", test.kills), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &stuck{Executor: memory.New(nil), method: test.method, from: time.Now().Add(4 * time.Second), over: make(chan struct{})}
				defer close(s.over)
				report, err := torture.Run(t.Context(), torture.Options{
					Open: func(context.Context) (evento.Executor, error) { return s, nil }, For: 5 * time.Second, Workers: 1, Writers: 1, Kills: test.kills, Patience: 10 * time.Second, Dir: t.TempDir(),
				})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("Run() = %v, %v, want %q", report, err, test.want)
				}
			})
		})
	}
}
