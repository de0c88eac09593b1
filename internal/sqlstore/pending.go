// The writes of a caller's transaction until its commit.
//
// Positions are handed out by one committer at a time. A transaction that drew
// them at its first append would keep everybody waiting until its end; so its
// appends wait here, and are sent last of all. What they will be is known
// before: a conflict is told at once, and one who replays an aggregate within
// the transaction sees them.

package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Pending are the writes of one transaction, in order. The zero Pending are none.
// They are safe for concurrent use. Why: docs/decisions.md, "InTx: appends wait until the
// end".
type Pending struct {
	ended  atomic.Bool
	mu     sync.Mutex // held while a head is looked for
	failed error      // of a function that has joined
	writes []evento.Write
	size   int
	heads  map[evento.AggregateKey]Head
	events []evento.RawEvent // as they will be, but for their positions
}

// Run runs the function of a transaction. If it returns nil although one that has joined
// the transaction has failed, it is refused: what that one has done is in it.
func (p *Pending) Run(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := fn(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		// Only its text: the transaction's error does not match others.
		return fmt.Errorf("%w: InTx within it has failed, and its error was passed over: %v", evento.ErrTxRefused, p.failed) //nolint:errorlint // see above
	}
	return nil
}

// Join runs a function in a transaction that is under way, and notes whether it fails or
// panics.
func (p *Pending) Join(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	err = errPanicked
	defer func() {
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = cmp.Or(p.failed, err)
		}
	}()
	err = fn(ctx)
	return err
}

var errPanicked = errors.New("it panicked")

// Head is where an aggregate is. The zero Head is that of a new one.
type Head struct {
	Version    uint64
	RoutingKey string
}

// FindHead finds the head of an aggregate in the store.
type FindHead func(ctx context.Context, a evento.AggregateKey) (Head, error)

// Add keeps a write, which was checked, for the commit, and changes its records.
// Its receipts lack the positions. A conflict that can be seen already is returned; the
// commit judges again.
func (p *Pending) Add(ctx context.Context, w evento.Write, find FindHead, ex evento.Executor) ([]evento.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Load() {
		return nil, fmt.Errorf("%w commit: the transaction of its context has ended", evento.ErrInvalid)
	}
	if receipts := p.earlier(w); receipts != nil {
		return receipts, nil
	}
	size, events := p.size, len(p.events)
	for _, a := range w.Appends {
		events += len(a.Events)
		for _, e := range a.Events {
			size += len(e.Data)
		}
	}
	if size > evento.MaxCommit || events > evento.MaxCommitEvents {
		return nil, fmt.Errorf("%w: a transaction with %d events of %d bytes, at most %d of %d are allowed",
			evento.ErrTooLarge, events, size, evento.MaxCommitEvents, evento.MaxCommit)
	}
	heads := make([]Head, len(w.Appends))
	for i, a := range w.Appends {
		h, known := p.heads[a.Aggregate()]
		if !known {
			var err error
			if h, err = find(ctx, a.Aggregate()); err != nil {
				return nil, err
			}
		}
		// A write that was tried before may be in the store: the commit looks.
		if !a.AnyVersion && a.Expected != h.Version && !w.Retry {
			return nil, &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: h.Version}
		}
		heads[i] = h
	}
	if err := changeRecords(ctx, ex, &w); err != nil {
		return nil, err
	}
	p.size = size
	return p.add(w, heads), nil
}

// changeRecords changes the records of a write, unless it is stored already: then they were
// changed with it.
func changeRecords(ctx context.Context, ex evento.Executor, w *evento.Write) error {
	if w.Swap == nil {
		return nil
	}
	if w.Retry {
		if earlier, err := store.FindEarlier(store.ReaderOf(ctx, ex), w); err != nil || earlier != nil {
			return err
		}
	}
	return ex.Swap(ctx, *w.Swap)
}

func (p *Pending) add(w evento.Write, heads []Head) []evento.Receipt {
	if p.heads == nil {
		p.heads = map[evento.AggregateKey]Head{}
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	receipts := make([]evento.Receipt, len(w.Appends))
	for i, a := range w.Appends {
		h := heads[i]
		if h.Version == 0 {
			h.RoutingKey = a.RoutingKey
		}
		for _, e := range a.Events {
			h.Version++
			p.events = append(p.events, evento.RawEvent{
				ID:            e.ID,
				AggregateType: a.AggregateType,
				AggregateID:   a.AggregateID,
				Version:       h.Version,
				Name:          e.Name,
				RoutingKey:    h.RoutingKey,
				Tags:          e.Tags,
				Codec:         e.Codec,
				Data:          e.Data,
				Metadata:      a.Metadata,
				Timestamp:     now,
			})
		}
		p.heads[a.Aggregate()] = h
		receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: h.Version}
	}
	p.writes = append(p.writes, w)
	return receipts
}

// earlier returns the receipts of a write that waits here already; nil: it does
// not.
func (p *Pending) earlier(w evento.Write) []evento.Receipt {
	if !w.Retry {
		return nil
	}
	versions := map[evento.ID]uint64{}
	for _, e := range p.events {
		versions[e.ID] = e.Version
	}
	receipts := make([]evento.Receipt, len(w.Appends))
	for i, a := range w.Appends {
		version, ok := versions[a.Events[len(a.Events)-1].ID]
		if !ok {
			return nil
		}
		receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: version}
	}
	return receipts
}

// Overlay adds the events that wait and match to a page of those stored, if
// one who reads onward has come to the end there. They have no position and no
// cursor.
func (p *Pending) Overlay(page *cursor.Page[evento.RawEvent], q evento.Query, args cursor.Args) {
	if !args.IsOnward() || page.PageInfo.HasNextPage {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if q.Matches(e) {
			e.Data, e.Tags, e.Metadata = bytes.Clone(e.Data), slices.Clone(e.Tags), e.Metadata.Clone() // the reader may write to them
			page.Edges = append(page.Edges, cursor.Edge[evento.RawEvent]{Node: e})
		}
	}
}

// Writes returns the writes in their order.
func (p *Pending) Writes() []evento.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// End says that the transaction has ended: no more is added.
func (p *Pending) End() { p.ended.Store(true) }

// Ended reports whether End was called.
func (p *Pending) Ended() bool { return p.ended.Load() }
