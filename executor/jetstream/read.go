// Reading events and records.

package jetstream

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if _, err := store.Begin(q, args, ex.index.Positions()); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	page, err := ex.readFresh(ctx, q, args)
	return page, failure(err)
}

// readFresh reads what the log had when the call began. Events do not change, and nothing comes
// between them: a page behind which there are more is the same on every client, so nobody is
// asked for it.
func (ex *Executor) readFresh(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	at := ex.index.Visible()
	page, err := ex.index.Read(ctx, q, args)
	switch {
	case ex.opts.Reads == Local,
		err != nil && !errors.Is(err, cursor.ErrBeyondHead),
		err == nil && !args.IsBackward() && page.PageInfo.HasNextPage:
		return page, err
	}
	if _, err := ex.fresh(ctx); err != nil {
		return nil, err
	}
	if err == nil && ex.index.Visible() == at {
		return page, nil
	}
	return ex.index.Read(ctx, q, args)
}
