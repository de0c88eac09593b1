// Writing events.

package jetstream

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Write implements [evento.Executor]. What is known to be refused is not proposed: versions and
// revisions only rise.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	if w.Retry { // an earlier attempt may not have arrived here yet
		if _, err := ex.fresh(ctx); err != nil {
			return nil, failure(err)
		}
	}
	for {
		p := &proposal{write: &w, behind: ex.index.Visible()}
		receipts, err := ex.known(ctx, p)
		if err != nil || receipts != nil {
			return receipts, failure(err)
		}
		o, err := ex.sender.propose(ctx, p)
		if !errors.Is(err, errAgain) {
			return o.receipts, failure(err)
		}
	}
}

// known returns the receipts of a write that was made before, or why it cannot be made, as far
// as that is known; else nil.
func (ex *Executor) known(ctx context.Context, p *proposal) ([]evento.Receipt, error) {
	w := p.write
	if w.Retry {
		if receipts, found, err := ex.index.Find(ctx, w, 0); err != nil || found {
			return receipts, err
		}
	}
	conflict, err := ex.conflict(ctx, w)
	switch {
	case err != nil:
		return nil, err
	case conflict != nil && !w.Retry:
		return ex.unlessMade(ctx, w, 0, conflict)
	case conflict == nil:
		conflict = ex.refusal(ctx, p)
	}
	if conflict != nil && w.Retry { // it may be that of the write itself, which has arrived meanwhile
		return ex.unlessMade(ctx, w, p.behind, conflict)
	}
	return nil, conflict
}

// unlessMade returns the receipts of a write that is stored behind a position, or the error.
func (ex *Executor) unlessMade(ctx context.Context, w *evento.Write, behind uint64, refusal error) ([]evento.Receipt, error) {
	receipts, found, err := ex.index.Find(ctx, w, behind)
	if err != nil || found {
		return receipts, err
	}
	return nil, refusal
}

// refusal returns why a write is refused whose versions fit.
func (ex *Executor) refusal(ctx context.Context, p *proposal) (err error) {
	if p.places, err = ex.look(ctx, p.write); err != nil || p.write.Swap == nil {
		return err
	}
	for {
		if err := ex.settled(ctx, p.write.Swap); !errors.Is(err, errAgain) {
			return err
		}
	}
}

// conflict returns the conflict of an append whose aggregate is at another version; nil: none
// is.
func (ex *Executor) conflict(ctx context.Context, w *evento.Write) (conflict, err error) {
	for asked := false; ; asked = true {
		behind := false
		conflict = nil
		for i := range w.Appends {
			a := &w.Appends[i]
			if a.AnyVersion {
				continue
			}
			h, err := ex.index.Head(a.Aggregate())
			if err != nil {
				return nil, err
			}
			if h.Version != a.Expected && conflict == nil {
				conflict = &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: h.Version}
			}
			behind = behind || h.Version < a.Expected
		}
		if !behind || asked {
			return conflict, nil
		}
		if _, err := ex.fresh(ctx); err != nil { // others may have added to it
			return nil, err
		}
	}
}

// look returns the conditions of a write.
func (ex *Executor) look(ctx context.Context, w *evento.Write) ([]store.Place, error) {
	if len(w.Unless) == 0 {
		return nil, nil
	}
	places, err := ex.index.Look(ctx, w)
	if errors.Is(err, cursor.ErrBeyondHead) { // another client may have shown it
		if _, err := ex.fresh(ctx); err != nil {
			return nil, err
		}
		places, err = ex.index.Look(ctx, w)
	}
	return places, err
}

// Import implements [evento.Importer].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	return failure(store.Import(ctx, store.Importing{Positions: ex.index.Positions(), Read: ex.index.Read, Append: ex.takeOver}, events))
}

// takeOver appends events that follow the last one.
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	if _, err := ex.fresh(ctx); err != nil {
		return err
	}
	if position, recordedAt := ex.index.Shown(); events[0].Position <= position {
		return store.Head{Position: position, RecordedAt: recordedAt}.Check(events)
	}
	_, err := ex.sender.propose(ctx, &proposal{imports: events})
	return err
}
