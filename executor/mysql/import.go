// Taking over events of another store.

package mysql

import (
	"context"
	"errors"
	"fmt"

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
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	if err := ex.check(ctx); err != nil {
		return err
	}
	op := &appendOp{write: evento.Write{Appends: store.Appends(events)}}
	var err error
	if op.metadata, err = sqlstore.EncodeMetadata(op.write.Appends); err != nil {
		return fmt.Errorf("evento: mysql: %w", err)
	}
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
	if err := (store.Head{Position: uint64(at.position), RecordedAt: at.recordedAt}).Check(events); err != nil {
		return err
	}
	w := &writer{ex: ex, s: s, position: -1, heads: store.NewCache[evento.AggregateKey, head](1)}
	tx := w.transaction(ctx, at, true)
	if err := tx.readHeads([]*call{{Request: op}}); err != nil {
		return err
	}
	for _, a := range store.Aggregates(events) {
		h := tx.head(a.AggregateKey)
		var routing int64
		if h.version > 0 && a.RoutingKey != "" {
			if routing, err = tx.routingID(a.RoutingKey); err != nil {
				return err
			}
		}
		if err := a.Check(uint64(h.version), h.routing == routing); err != nil {
			return err
		}
	}
	for i := range events {
		metadata := ""
		if op.metadata != nil {
			metadata = op.metadata[i]
		}
		tx.now = events[i].Timestamp.UnixMicro()
		if err := tx.append(&op.write.Appends[i], tx.head(evento.AggregateKey{Type: events[i].AggregateType, ID: events[i].AggregateID}), metadata); err != nil {
			return err
		}
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
