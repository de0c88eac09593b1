// Taking over events of another store.

package mysql

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer], on one of Options.Connections.
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	if ex.transactionOf(ctx) != nil {
		return store.ErrImportInTx
	}
	return store.Import(ctx, store.Importing{Positions: ex.positions, Read: ex.Read, Append: ex.takeOver}, events)
}

// takeOver appends events that follow the last one. It does so as another
// process would: the writer notices that the counter has moved.
//
// Why: docs/decisions.md, "Import: MySQL takes it as from another process".
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	op := &appendOp{sqlstore.ImportOf(events)}
	var unknown error
	s, err := ex.lend(ctx, ex.sessions.get, func(s *session) error {
		err := ex.tryTakeOver(ctx, s, op, events)
		if err == nil {
			return nil
		}
		if !s.broken {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonAfter)
			defer cancel()
			_ = s.run(late, "ROLLBACK") // a failure breaks the session
		}
		if errors.Is(err, evento.ErrOutcomeUnknown) {
			unknown = err // what another attempt meets would hide it
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	ex.sessions.put(s)
	return unknown
}

func (ex *Executor) tryTakeOver(ctx context.Context, s *session, op *appendOp, events []evento.RawEvent) error {
	if err := op.fits(s.maxPacket); err != nil {
		return err
	}
	if err := s.run(ctx, "BEGIN"); err != nil {
		return err
	}
	at, err := s.lockCounter(ctx)
	if err != nil {
		return err
	}
	tx := writerOn(ex, s).transaction(ctx, at, true)
	tx.needPlaces(&op.Write)
	if err := tx.readPlaces(); err != nil {
		return err
	}
	if err := op.Import(tx, store.Head{Position: uint64(at.position), RecordedAt: at.recordedAt}, events); err != nil {
		return err
	}
	if op.Refusal != nil {
		return op.Refusal
	}
	if err := tx.send(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	committing, cancel := lingering(ctx)
	defer cancel()
	if err := s.commit(committing, tx.bump()); err != nil {
		return err
	}
	tx.publish()
	ex.changed.Notify()
	return nil
}
