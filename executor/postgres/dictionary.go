// Names that the tables hold as small integers.

package postgres

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// namesOf is where names are looked up with ctx. Those of a transaction may be its
// own: only it knows them before it is committed.
func (ex *Executor) namesOf(ctx context.Context) *sqlstore.Dictionary {
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.names
	}
	return ex.names
}

// typeID finds a type, or with add makes it; 0: there is none. What is made
// stays, also when the write that needs it is refused: it stands for nothing
// until an event has it.
func (ex *Executor) typeID(ctx context.Context, t evento.AggregateType, add bool) (int64, error) {
	return ex.namesOf(ctx).Types.Find(t, func() (int64, error) {
		return ex.lookUp(ctx, add, ex.sql.typeID, ex.sql.addType, string(t))
	})
}

// kindID finds a kind, or with add makes it; 0: there is none.
func (ex *Executor) kindID(ctx context.Context, k sqlstore.Kind, add bool) (int64, error) {
	return ex.namesOf(ctx).Kinds.Find(k, func() (int64, error) {
		return ex.lookUp(ctx, add, ex.sql.kindID, ex.sql.addKind, k.TypeID, k.Name)
	})
}

// routingID finds a routing key, or with add makes it; 0: there is none.
func (ex *Executor) routingID(ctx context.Context, key string, add bool) (int64, error) {
	return ex.namesOf(ctx).Routings.Find(key, func() (int64, error) {
		return ex.lookUp(ctx, add, ex.sql.routingID, ex.sql.addRouting, key)
	})
}

// makeNames makes the names that writes need. Transactions wait for each other's
// new names until they are committed: all make them in one order, so that no two
// wait for one another.
func (ex *Executor) makeNames(ctx context.Context, ops []*appendOp) error {
	types, kinds, routings := map[evento.AggregateType]int64{}, map[sqlstore.Kind]bool{}, map[string]bool{}
	for _, op := range ops {
		for _, a := range op.write.Appends {
			types[a.AggregateType] = 0
			if a.RoutingKey != "" {
				routings[a.RoutingKey] = true
			}
		}
	}
	for _, t := range slices.Sorted(maps.Keys(types)) {
		id, err := ex.typeID(ctx, t, true)
		if err != nil {
			return err
		}
		types[t] = id
	}
	for _, op := range ops {
		for _, a := range op.write.Appends {
			for _, e := range a.Events {
				kinds[sqlstore.Kind{TypeID: types[a.AggregateType], Name: e.Name}] = true
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(kinds), func(a, b sqlstore.Kind) int {
		return cmp.Or(cmp.Compare(a.TypeID, b.TypeID), cmp.Compare(a.Name, b.Name))
	}) {
		if _, err := ex.kindID(ctx, k, true); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(routings)) {
		if _, err := ex.routingID(ctx, key, true); err != nil {
			return err
		}
	}
	return nil
}

func (ex *Executor) lookUp(ctx context.Context, add bool, find, insert string, args ...any) (id int64, err error) {
	err = ex.again(ctx, func() error {
		err := ex.db(ctx).QueryRow(ctx, find, args...).Scan(&id)
		if !errors.Is(err, pgx.ErrNoRows) || !add {
			return orNone(err)
		}
		if _, err := ex.db(ctx).Exec(ctx, insert, args...); err != nil {
			return err
		}
		return ex.db(ctx).QueryRow(ctx, find, args...).Scan(&id)
	})
	return id, err
}

// orNone takes "no row" for an answer.
func orNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// kindsOf lists the kinds of a type that there are now.
func (ex *Executor) kindsOf(ctx context.Context, t evento.AggregateType) ([]int64, error) {
	rows, err := ex.db(ctx).Query(ctx, ex.sql.kindsOf, string(t))
	if err != nil {
		return nil, err
	}
	names := ex.namesOf(ctx)
	var ids []int64
	var id int64
	var k sqlstore.Kind
	_, err = pgx.ForEachRow(rows, []any{&id, &k.Name, &k.TypeID}, func() error {
		ids = append(ids, id)
		names.Types.Add(k.TypeID, t)
		names.Kinds.Add(id, k)
		return nil
	})
	return ids, err
}

// plan asks the store for the names that are not known, and for all kinds of
// types.
func (ex *Executor) plan(ctx context.Context, q evento.Query) (sqlstore.Plan[sqlstore.Aggregate], error) {
	return sqlstore.NewPlan(q, sqlstore.PlanNames[sqlstore.Aggregate]{
		Routing: func(key string) (int64, error) { return ex.routingID(ctx, key, false) },
		Kinds: func(f evento.Filter) ([]int64, error) {
			switch {
			case f.Name == "" && f.AggregateID != "":
				return nil, nil
			case f.Name == "":
				return ex.kindsOf(ctx, f.AggregateType)
			}
			typeID, err := ex.typeID(ctx, f.AggregateType, false)
			if err != nil || typeID == 0 {
				return nil, err
			}
			id, err := ex.kindID(ctx, sqlstore.Kind{TypeID: typeID, Name: f.Name}, false)
			if err != nil || id == 0 {
				return nil, err
			}
			return []int64{id}, nil
		},
		Aggregate: func(a evento.AggregateKey) (key sqlstore.Aggregate, err error) {
			id, err := ex.typeID(ctx, a.Type, false)
			if err == nil && id != 0 {
				key = sqlstore.Aggregate{TypeID: id, ID: a.ID}
			}
			return key, err
		},
	})
}

// fetch reads the names of an event.
func (ex *Executor) fetch(ctx context.Context, kindID, routingID int64) error {
	names := ex.namesOf(ctx)
	var k sqlstore.Kind
	var t, key string
	if err := ex.db(ctx).QueryRow(ctx, ex.sql.kind, kindID).Scan(&k.TypeID, &t, &k.Name); err != nil {
		return err
	}
	names.Types.Add(k.TypeID, evento.AggregateType(t))
	names.Kinds.Add(kindID, k)
	if routingID == 0 {
		return nil
	}
	if err := ex.db(ctx).QueryRow(ctx, ex.sql.routing, routingID).Scan(&key); err != nil {
		return err
	}
	names.Routings.Add(routingID, key)
	return nil
}
