//go:build unix

package torture_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/torture"
)

// slow is a store that from a time on gives followers and subscriptions three events in ten seconds.
type slow struct {
	evento.Executor
	from time.Time
	feed evento.Feed
}

func (s *slow) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if follows(q, args) && !time.Now().Before(s.from) {
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		args = cursor.Onward(3, args.At())
	}
	return s.Executor.Read(ctx, q, args)
}

// follows reports whether a page is one of those who follow the whole log.
func follows(q evento.Query, args cursor.Args) bool {
	return len(q.Filters) == 0 && !args.IsBackward() && args.Limit() > 4 && args.Limit() < cursor.MaxPage
}

func (s *slow) Feed() *evento.Feed { return &s.feed }

// simulated is a run of one writer for five seconds of simulated time.
func simulated(t *testing.T, ex evento.Executor) (*torture.Report, error) {
	t.Helper()
	return torture.Run(t.Context(), torture.Options{
		Open: func(context.Context) (evento.Executor, error) { return ex, nil }, For: 5 * time.Second, Workers: 1, Writers: 1, Dir: t.TempDir(),
	})
}

// A store on which handling all events takes many minutes is slow, and breaks no promise.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &slow{Executor: memory.New(nil), from: began.Add(4500 * time.Millisecond)}
		if report, err := simulated(t, s); err != nil || !report.OK() {
			t.Fatal(report, err)
		}
		if took := time.Since(began); took < 4*time.Minute {
			t.Errorf("it was handled in %s: that is not slow", took)
		}
	})
}

// mute is a store that never says that something has changed.
type mute struct {
	evento.Executor
	feed evento.Feed
}

func (m *mute) Changed() <-chan struct{} { return make(chan struct{}) }
func (m *mute) Feed() *evento.Feed       { return &m.feed }

// Who waits for a signal that never comes looks by itself now and then, and breaks no promise.
func TestMute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if report, err := simulated(t, &mute{Executor: memory.New(nil)}); err != nil || !report.OK() {
			t.Fatal(report, err)
		}
	})
}

// A store that handles nothing more is not live.
func TestNotLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(4 * time.Second)
		m := &mutant{Executor: memory.New(nil), read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			if follows(q, args) && time.Now().After(from) { // it is never answered
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return ex.Read(ctx, q, args)
		}}
		if report, err := simulated(t, m); err != nil || report.Violations[torture.Live] == 0 {
			t.Fatal(report, err)
		}
	})
}

// down is a store that fails for a time from the moment on when its log is judged.
type down struct {
	*slow
	starts atomic.Bool
	until  atomic.Int64 // nanoseconds; 0: it works
}

var errDown = errors.New("the server is down")

func (d *down) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if args.Limit() == cursor.MaxPage && d.starts.CompareAndSwap(false, true) {
		d.until.Store(time.Now().Add(time.Minute).UnixNano())
	}
	if time.Now().UnixNano() < d.until.Load() {
		return nil, errDown
	}
	return d.slow.Read(ctx, q, args)
}

func (d *down) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if time.Now().UnixNano() < d.until.Load() {
		return nil, errDown
	}
	return d.slow.Records(ctx, q)
}

// A server that is down for a minute when the log is to be read does not end the run.
func TestDownAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &down{slow: &slow{Executor: memory.New(nil), from: time.Now().Add(time.Hour)}}
		report, err := simulated(t, d)
		if err != nil || !report.OK() || d.until.Load() == 0 {
			t.Fatal(report, err)
		}
	})
}

// A server that is down for a minute when the workers are told to end does not end the run either, and
// what comes to its end later breaks no promise.
func TestDownWhenWorkersEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(4900 * time.Millisecond)
		fails := func() error {
			if now := time.Now(); now.After(from) && now.Before(from.Add(time.Minute)) {
				return errDown
			}
			return nil
		}
		m := &mutant{Executor: memory.New(nil)}
		m.read = func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			if err := fails(); err != nil {
				return nil, err
			}
			return ex.Read(ctx, q, args)
		}
		m.records = func(ctx context.Context, ex evento.Executor, q evento.RecordQuery) (*evento.RecordPage, error) {
			if err := fails(); err != nil {
				return nil, err
			}
			return ex.Records(ctx, q)
		}
		m.swap = func(ctx context.Context, ex evento.Executor, s evento.Swap) error {
			if err := fails(); err != nil {
				return err
			}
			return ex.Swap(ctx, s)
		}
		began := time.Now()
		if report, err := simulated(t, m); err != nil || !report.OK() {
			t.Fatal(report, err)
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("it was over in %s, when the server was down", took)
		}
	})
}

// The history of a run that was interrupted is removed.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	in := t.TempDir()
	t.Setenv("TMPDIR", in)
	ctx, cancel := context.WithCancel(t.Context())
	o := torture.Options{Open: onMemory, For: time.Hour, Kills: 1}
	o.Open = func(context.Context) (evento.Executor, error) {
		return &mutant{Executor: memory.New(nil), write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			cancel()
			return ex.Write(ctx, w)
		}}, nil
	}
	if _, err := torture.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(in, "*")); err != nil || len(left) > 0 {
		t.Errorf("it has left %s, %v", strings.Join(left, " "), err)
	}
}
