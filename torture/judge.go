package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// judge lets everything be handled, and compares the history with the log.
func (r *run) judge(ctx context.Context) (err error) {
	ex := r.ex
	if ex == nil {
		if ex, err = persistently(ctx, r.Patience, r.Open); err != nil {
			return err
		}
	}
	store := newBounded(ex, "the judge", r.Patience, nil, func() {}).limit()
	defer func() {
		if isStuck(err) {
			return // it cannot be closed
		}
		err = errors.Join(cmp.Or(store.err(), err), store.Close())
	}()
	if err := r.catchUp(ctx, ex, store); err != nil {
		return err
	}
	return r.compare(ctx, store)
}

// compare compares the history with the log.
func (r *run) compare(ctx context.Context, ex evento.Executor) (err error) {
	log, err := persistently(ctx, r.Patience, func(ctx context.Context) ([]evento.RawEvent, error) { return readLog(ctx, ex) })
	if errors.Is(err, evento.ErrDamaged) {
		r.report.add(Durable, "the log cannot be read: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	records, err := persistently(ctx, r.Patience, func(ctx context.Context) (*evento.RecordPage, error) {
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
	if r.report.OK() && (r.report.Acked < r.Least || r.report.Observed == 0 || r.report.Delivered == 0 || r.report.Ended == 0) {
		return fmt.Errorf("evento: the run shows nothing, as too little was done in it: %s", r.report)
	}
	return nil
}

// catchUp works without writing until all deadlines have come true and all events are handled. The
// judge has a store on which each call ends.
func (r *run) catchUp(ctx context.Context, ex, judges evento.Executor) error {
	working, kill := context.WithCancel(ctx)
	defer kill()
	told, ended := make(chan struct{}), make(chan error, 1)
	w := Worker{Name: "last", History: r.history, Patience: r.Patience}
	go func() { ended <- w.work(working, told, ex) }()
	left, err := awaited(ctx, r.Patience, func(ctx context.Context) (pending, error) { return pendingIn(ctx, judges) })
	if err != nil || left != "" {
		kill()
	}
	if left != "" {
		r.report.add(Live, "for %s nothing more was handled: %s", r.Patience, left)
	}
	close(told)
	return cmp.Or(<-ended, err)
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
	if p.head, err = headOf(ctx, ex); err != nil {
		return p, err
	}
	p.handled, err = handledUpTo(ctx, ex)
	p.events = min(p.handled[0], p.handled[1]) < p.head
	return p, err
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
