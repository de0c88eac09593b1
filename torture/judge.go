package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// judge lets everything be handled, and compares the history with the log.
func (r *run) judge(ctx context.Context) (err error) {
	ex := r.ex
	if ex == nil {
		if ex, err = persistently(ctx, r.Open); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, ex.Close()) }()
	if err := r.catchUp(ctx, ex); err != nil {
		return err
	}
	log, err := persistently(ctx, func(ctx context.Context) ([]evento.RawEvent, error) { return readLog(ctx, ex) })
	if errors.Is(err, evento.ErrDamaged) {
		r.report.add(Durable, "the log cannot be read: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	records, err := persistently(ctx, func(ctx context.Context) (*evento.RecordPage, error) {
		return ex.Records(ctx, evento.RecordQuery{Kind: counter.Kind, Key: counter.Key})
	})
	if err != nil {
		return err
	}
	history, err := os.Open(r.history)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, history.Close()) }()
	if err := check(r.report, history, log, records.Records); err != nil {
		return err
	}
	if r.report.OK() && (r.report.Acked < r.Least || r.report.Observed == 0 || r.report.Delivered == 0) {
		return fmt.Errorf("evento: the run shows nothing, as too little was done in it: %s", r.report)
	}
	return nil
}

// catchUp works without writing until all deadlines have come true and all events are handled.
func (r *run) catchUp(ctx context.Context, ex evento.Executor) error {
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- Work(working, ex, Worker{Name: "last", History: r.history}) }()
	left, err := caughtUp(ctx, ex)
	if err == nil && left != "" {
		r.report.add(Live, "for %s nothing more was handled: %s", patience, left)
	}
	stop()
	return errors.Join(err, <-ended)
}

// caughtUp waits until no deadline is left and all events are handled. A slow store may take as
// long as it needs: it gives up when nothing went on for as long as patience, and says what is
// left then. Its error is that of a store that fails for so long.
func caughtUp(ctx context.Context, ex evento.Executor) (left string, err error) {
	var last pending
	began := time.Now() // the last progress, or later by how long the store has failed since
	worked := began
	for {
		p, err := pendingIn(ctx, ex)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil && now.Sub(worked) > patience:
			return "", err
		case err == nil && p.none():
			return "", nil
		case err == nil && p != last:
			last, began = p, now
		case err == nil && now.Sub(began) > patience:
			return p.String(), nil
		}
		if err == nil {
			worked = now
		}
		pausing(ctx)
		if err != nil {
			began = began.Add(time.Since(now))
		}
	}
}

// pending is what has not been handled yet.
type pending struct {
	deadlines, events bool
	head              uint64    // the position of the last event
	handled           [2]uint64 // up to which position each subscription has handled all
}

func (p pending) none() bool { return !p.deadlines && !p.events }

func (p pending) String() string {
	return fmt.Sprintf("of %d positions %s is at %d, %s at %d; deadlines are left: %t", p.head, inOrder, p.handled[0], partitioned, p.handled[1], p.deadlines)
}

// pendingIn looks at deadlines first: when there are none, no more events are written.
func pendingIn(ctx context.Context, ex evento.Executor) (p pending, err error) {
	for _, err := range evento.Deadlines(ctx, ex) {
		if err != nil {
			return p, err
		}
		p.deadlines = true
		break
	}
	for i, key := range []string{inOrder, partitioned} {
		s, err := evento.ControlOf(ex, key).StatusWithin(ctx, 1)
		if err != nil {
			return p, err
		}
		p.head, p.handled[i] = s.Head, s.Position
		p.events = p.events || s.Behind > 0
	}
	return p, nil
}

// readLog reads the whole log.
func readLog(ctx context.Context, ex evento.Executor) (log []evento.RawEvent, err error) {
	for at := cursor.Value(""); ; {
		page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(cursor.MaxPage, at))
		if err != nil {
			return nil, err
		}
		for _, e := range page.Edges {
			log = append(log, e.Node)
		}
		if !page.PageInfo.HasNextPage {
			return log, nil
		}
		at = page.PageInfo.EndCursor
	}
}

// persistently does something that fails while a server is down: it tries again, for as long as
// patience. What is damaged remains so.
func persistently[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	for deadline := time.Now().Add(patience); ; {
		v, err := do(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, evento.ErrDamaged) || time.Now().After(deadline) {
			return v, err
		}
		pausing(ctx)
	}
}
