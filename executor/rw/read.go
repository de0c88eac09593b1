// Reading from a side that may lag.

package rw

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const (
	// patience is how long a read waits for the read side to catch up.
	patience = time.Second
	// firstPoll and mostPoll are the first and the longest pause before it looks
	// again, when the read side gives no signal.
	firstPoll, mostPoll = time.Millisecond, 50 * time.Millisecond
	// goneFor is how long the read side is left alone after it has failed.
	goneFor = time.Second
)

// Read implements [evento.Executor]. It reads from the read side once that
// shows what this executor has written; see the package comment. While the read side
// fails it reads from the write side.
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	if ex.same {
		return ex.read.Read(ctx, q, args)
	}
	if evento.WithinTx(ctx) {
		return ex.readWritten(ctx, q, args)
	}
	if time.Since(ex.began) < time.Duration(ex.goneUntil.Load()) {
		return ex.readWritten(ctx, q, args)
	}
	page, err := ex.readShown(ctx, q, args)
	if err == nil || ctx.Err() != nil || aboutTheCall(err) {
		return page, err
	}
	ex.goneUntil.Store(int64(time.Since(ex.began) + goneFor))
	return ex.readWritten(ctx, q, args) // and if the write side is what has failed, it says so
}

// aboutTheCall reports whether an error would be the same on the other side.
func aboutTheCall(err error) bool {
	for _, target := range []error{evento.ErrInvalid, cursor.ErrInvalid, evento.ErrDamaged, errors.ErrUnsupported} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// readShown reads from the read side when it shows what this executor knows of, and else
// from the write side.
func (ex *Executor) readShown(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := ex.checkStores(ctx); err != nil {
		return nil, err
	}
	ok, err := ex.caughtUp(ctx)
	if err != nil {
		return nil, err
	}
	if ok {
		page, err := ex.read.Read(ctx, q, args)
		if !errors.Is(err, cursor.ErrBeyondHead) {
			return page, err
		}
		// The read side will get to a place that the write side knows.
		if err := knows(ctx, ex.write, args.At()); err != nil {
			return nil, err
		}
		switch ok, err := ex.reach(ctx, args.At()); {
		case err != nil:
			return nil, err
		case ok:
			return ex.read.Read(ctx, q, args)
		}
	}
	return ex.readWritten(ctx, q, args)
}

// readWritten reads from the write side.
func (ex *Executor) readWritten(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page, err := ex.write.Read(ctx, q, args)
	ex.told.Add(1) // what this shows, later reads are to show too
	return page, err
}

// caughtUp waits until the read side shows all that this executor knows of. It
// returns false when that takes too long.
func (ex *Executor) caughtUp(ctx context.Context) (bool, error) {
	told := ex.told.Load()
	ex.mu.Lock()
	mark, covered := ex.mark, ex.covered
	ex.mu.Unlock()
	if covered < told {
		// The end of the store is at or after all that this executor knows of.
		var err error
		if mark, err = end(ctx, ex.write); err != nil {
			return false, err
		}
		ex.mu.Lock()
		if ex.covered < told {
			ex.covered, ex.mark = told, mark
		}
		ex.mu.Unlock()
	}
	if mark == "" {
		return true, nil
	}
	ok, err := ex.reach(ctx, mark)
	if ok {
		ex.mu.Lock()
		if ex.mark == mark {
			ex.mark = ""
		}
		ex.mu.Unlock()
	}
	return ok, err
}

// reach waits until the read side shows a place. After it has waited in vain, it only
// looks and does not wait, until the read side shows what it is asked for.
func (ex *Executor) reach(ctx context.Context, at cursor.Value) (bool, error) {
	ok, err := await(ctx, ex.read, at, ex.late.Load)
	if err == nil {
		ex.late.Store(!ok)
	}
	return ok, err
}

// await waits until a side shows a place. It returns false when that takes too
// long, or when enough returns true.
func await(ctx context.Context, side evento.Executor, at cursor.Value, enough func() bool) (bool, error) {
	var patient <-chan time.Time
	poll := firstPoll
	for {
		changed := side.Changed()
		err := knows(ctx, side, at)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, cursor.ErrBeyondHead) {
			return false, err
		}
		if enough() {
			return false, nil
		}
		if patient == nil {
			t := time.NewTimer(patience)
			defer t.Stop()
			patient = t.C
		}
		again := time.NewTimer(poll)
		poll = min(2*poll, mostPoll)
		select {
		case <-changed:
		case <-again.C:
		case <-patient:
			return false, nil
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// checkStores makes sure, once, that both sides are of one store.
func (ex *Executor) checkStores(ctx context.Context) error {
	if ex.oneStore.Load() {
		return nil
	}
	last, err := end(ctx, ex.write)
	if err != nil {
		return err
	}
	if last != "" {
		if err = knows(ctx, ex.read, last); errors.Is(err, cursor.ErrBeyondHead) {
			err = nil
		}
	} else {
		// The read side may have more only for a moment: a replica can show
		// a commit before its primary does.
		if last, err = end(ctx, ex.read); err != nil || last == "" {
			return err
		}
		var ok bool
		ok, err = await(ctx, ex.write, last, func() bool { return false })
		if err == nil && !ok {
			return fmt.Errorf("%w: the read side of rw is ahead of the write side", cursor.ErrBeyondHead)
		}
	}
	if errors.Is(err, cursor.ErrForeign) || errors.Is(err, cursor.ErrMalformed) {
		return fmt.Errorf("%w: the two sides of rw are different stores: %s", cursor.ErrForeign, err.Error())
	}
	if err == nil {
		ex.oneStore.Store(true)
	}
	return err
}

// knows returns an error unless a place is one of the store, which shows it.
func knows(ctx context.Context, ex evento.Executor, at cursor.Value) error {
	_, err := ex.Read(ctx, evento.Query{}, cursor.Onward(1, at))
	return err
}

// end is the cursor of the last event.
func end(ctx context.Context, ex evento.Executor) (cursor.Value, error) {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		return "", err
	}
	return page.PageInfo.EndCursor, nil
}
