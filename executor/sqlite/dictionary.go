// Names that the tables hold as small integers.

package sqlite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// dictionary also caches the keys of aggregates that are committed.
type dictionary struct {
	*sqlstore.Dictionary
	mu         sync.RWMutex
	aggregates store.Cache[int64, sqlstore.Aggregate] // by key
	keys       store.Cache[sqlstore.Aggregate, int64]
}

func newDictionary() *dictionary {
	return &dictionary{
		Dictionary: sqlstore.NewDictionary(nil),
		aggregates: store.NewCache[int64, sqlstore.Aggregate](1 << 16),
		keys:       store.NewCache[sqlstore.Aggregate, int64](1 << 16),
	}
}

// refresh reads the kinds and types that were added since.
func (d *dictionary) refresh(c *conn) error {
	last := d.Complete()
	v, _, err := c.query("SELECT max(id) FROM evento_kind", 1)
	if err != nil || v[0] <= last {
		return err
	}
	s, err := c.stmt("SELECT k.id, k.type_id, k.name, t.name FROM evento_kind k JOIN evento_type t ON t.id = k.type_id WHERE k.id > ? ORDER BY k.id")
	if err != nil {
		return err
	}
	var list []sqlstore.NumberedKind
	err = s.BindInt64(1, last)
	for err == nil && s.Step() {
		list = append(list, sqlstore.NumberedKind{
			Kind: sqlstore.Kind{TypeID: s.ColumnInt64(1), Name: s.ColumnText(2)},
			ID:   s.ColumnInt64(0), Type: evento.AggregateType(s.ColumnText(3)),
		})
	}
	if err = errors.Join(err, s.Err(), c.done(s)); err == nil {
		d.AddKinds(list)
	}
	return err
}

// readID reads a number, such as that of a name; 0: there is none.
func readID(c *conn, text string, args ...any) (int64, error) {
	v, _, err := c.query(text, 1, args...)
	return v[0], err
}

const findRouting = "SELECT id FROM evento_routing WHERE key = ?"

// routingKey is the key that an id stands for; "" for 0.
func (d *dictionary) routingKey(c *conn, id int64) (key string, err error) {
	if key, ok := d.Routings.Name(id); ok || id == 0 {
		return key, nil
	}
	s, err := c.stmt("SELECT key FROM evento_routing WHERE id = ?")
	if err != nil {
		return "", err
	}
	if err = s.BindInt64(1, id); err == nil && s.Step() {
		key = s.ColumnText(0)
	}
	return key, errors.Join(err, s.Err(), c.done(s))
}

// key finds what is known of an aggregate's key; 0: nothing.
func (d *dictionary) key(a sqlstore.Aggregate) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	key, _ := d.keys.Get(a)
	return key
}

// plan looks the names of a query up.
func (d *dictionary) plan(c *conn, q evento.Query) (sqlstore.Plan[int64], error) {
	return sqlstore.NewPlan(q, sqlstore.PlanNames[int64]{
		Routing: func(key string) (int64, error) {
			return d.Routings.Find(key, func() (int64, error) { return readID(c, findRouting, key) })
		},
		Kinds: func(f evento.Filter) ([]int64, error) {
			return d.KindsFor(f, func() error { return d.refresh(c) })
		},
		Aggregate: func(a evento.AggregateKey) (int64, error) {
			t, err := d.Types.Find(a.Type, func() (int64, error) { return readID(c, sqlstore.FindType, string(a.Type)) })
			if err != nil || t == 0 {
				return 0, err
			}
			name := sqlstore.Aggregate{TypeID: t, ID: a.ID}
			if key := d.key(name); key != 0 {
				return key, nil
			}
			key, err := readID(c, "SELECT key FROM evento_aggregate WHERE type_id = ? AND id = ?", t, a.ID)
			if err == nil && key != 0 {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.keys.Put(name, key)
			}
			return key, err
		},
	})
}

// events makes events of rows, reading the names that the cache has not.
func (d *dictionary) events(c *conn, rows []sqlstore.Row) ([]cursor.Edge[evento.RawEvent], error) {
	if err := d.nameAggregates(c, rows); err != nil {
		return nil, err
	}
	return d.Events(rows, func(r *sqlstore.Row) error {
		err := d.refresh(c)
		if err == nil {
			_, err = d.fetch(c, r)
		}
		return err
	})
}

// nameAggregates fills in the ids of aggregates.
func (d *dictionary) nameAggregates(c *conn, rows []sqlstore.Row) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var a sqlstore.Aggregate
	for i := range rows {
		r := &rows[i]
		if i == 0 || r.AggregateKey != rows[i-1].AggregateKey { // they come in runs
			var known bool
			if a, known = d.aggregates.Get(r.AggregateKey); !known {
				d.mu.RUnlock()
				var err error
				a, err = d.fetch(c, r)
				d.mu.RLock()
				if err != nil {
					return fmt.Errorf("event at position %d: %w", r.Position, err)
				}
			}
		}
		r.AggregateID = a.ID
	}
	return nil
}

// fetch reads the aggregate that an event is of, and its routing key.
func (d *dictionary) fetch(c *conn, r *sqlstore.Row) (a sqlstore.Aggregate, err error) {
	s, err := c.stmt("SELECT a.type_id, a.id, r.id, r.key FROM evento_aggregate a LEFT JOIN evento_routing r ON r.id = a.routing_id WHERE a.key = ?")
	if err != nil {
		return a, err
	}
	err = s.BindInt64(1, r.AggregateKey)
	switch {
	case err != nil:
	case s.Step():
		a = sqlstore.Aggregate{TypeID: s.ColumnInt64(0), ID: s.ColumnText(1)}
		if id := s.ColumnInt64(2); id != 0 {
			d.Routings.Add(id, s.ColumnText(3))
		}
		d.mu.Lock()
		d.aggregates.Put(r.AggregateKey, a)
		d.mu.Unlock()
	case s.Err() == nil:
		err = fmt.Errorf("aggregate %d is not in the dictionary", r.AggregateKey)
	}
	return a, errors.Join(err, s.Err(), c.done(s))
}
