// Names that the tables hold as small integers.

package mysql

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// dictionary has names that are committed and durable: after a crash of the server a
// name that was not durable could get another number. A caller's transaction has a
// dictionary of its own over the executor's, as its names are not durable yet.
//
// Why: docs/decisions.md, "Nothing is remembered before it is durable".
type dictionary struct {
	*sqlstore.Dictionary
	ex   *Executor
	upTo *atomic.Int64 // the kinds of all events up to this position are in it; nil: that is not known
}

func newDictionary(ex *Executor, base *dictionary) *dictionary {
	if base != nil {
		return &dictionary{Dictionary: sqlstore.NewDictionary(base.Dictionary), ex: ex}
	}
	return &dictionary{Dictionary: sqlstore.NewDictionary(nil), ex: ex, upTo: new(atomic.Int64)}
}

// refresh reads the kinds and types that were added since. Their ids rise in the
// order of commits, as they are made under the counter's lock. It runs outside of the
// writer's transaction: what that has made may be rolled back.
func (d *dictionary) refresh(ctx context.Context, s *session) error {
	var list []sqlstore.NumberedKind
	err := s.query(ctx, "SELECT k.id, k.type_id, k.name, t.name FROM evento_kind k JOIN evento_type t ON t.id = k.type_id WHERE k.id > ? ORDER BY k.id", []any{d.Complete()},
		func(rows *sql.Rows) error {
			var k sqlstore.NumberedKind
			if err := rows.Scan(&k.ID, &k.TypeID, &k.Name, (*string)(&k.Type)); err != nil {
				return err
			}
			list = append(list, k)
			return nil
		})
	if err == nil && len(list) > 0 {
		if err = d.ex.makeAllDurable(ctx, s); err == nil {
			d.AddKinds(list)
		}
	}
	return err
}

// cover is refresh for a head that was read before. It remembers a durable head: up
// to there nothing has to be read again.
func (d *dictionary) cover(ctx context.Context, s *session, head int64) error {
	if d.upTo != nil && head <= d.upTo.Load() {
		return nil
	}
	if err := d.refresh(ctx, s); err != nil {
		return err
	}
	if d.upTo != nil && head <= d.ex.durable.position.Load() {
		store.Raise(d.upTo, head)
	}
	return nil
}

const findRouting = "SELECT id FROM evento_routing WHERE name = ?"

// number reads the number of a name; 0: there is none.
func (s *session) number(ctx context.Context, find string, name ...any) (id int64, err error) {
	_, err = s.row(ctx, find, name, &id)
	return id, err
}

// durably reads the number of a name, and returns it when the name is durable.
func (d *dictionary) durably(ctx context.Context, s *session, find string, name ...any) (int64, error) {
	id, err := s.number(ctx, find, name...)
	if err == nil && id != 0 {
		err = d.ex.makeAllDurable(ctx, s)
	}
	return id, err
}

// typeID finds a type; 0 when there is none.
func (d *dictionary) typeID(ctx context.Context, s *session, t evento.AggregateType) (int64, error) {
	return d.Types.Find(t, func() (int64, error) { return d.durably(ctx, s, sqlstore.FindType, string(t)) })
}

// plan looks up the names of a query after the head was read: a name that is missing
// then belongs to events above the head.
func (d *dictionary) plan(ctx context.Context, s *session, q evento.Query, head int64) (sqlstore.Plan[sqlstore.Aggregate], error) {
	return sqlstore.NewPlan(q, sqlstore.PlanNames[sqlstore.Aggregate]{
		Routing: func(key string) (int64, error) {
			return d.Routings.Find(key, func() (int64, error) { return d.durably(ctx, s, findRouting, key) })
		},
		Kinds: func(f evento.Filter) ([]int64, error) {
			return d.KindsFor(f, func() error { return d.cover(ctx, s, head) })
		},
		Aggregate: func(a evento.AggregateKey) (key sqlstore.Aggregate, err error) {
			id, err := d.typeID(ctx, s, a.Type)
			if err == nil && id != 0 {
				key = sqlstore.Aggregate{TypeID: id, ID: a.ID}
			}
			return key, err
		},
	})
}

// fetch reads the kinds, and a routing key.
func (d *dictionary) fetch(ctx context.Context, s *session, routingID int64) error {
	if err := d.refresh(ctx, s); err != nil {
		return err
	}
	if _, known := d.Routings.Name(routingID); known || routingID == 0 {
		return nil
	}
	var name string
	found, err := s.row(ctx, "SELECT name FROM evento_routing WHERE id = ?", []any{routingID}, &name)
	if err == nil && found {
		d.Routings.Add(routingID, name)
	}
	return err
}
