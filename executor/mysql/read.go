// Reading pages of events.

package mysql

import (
	"context"
	"fmt"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (page *cursor.Page[evento.RawEvent], err error) {
	if err := ex.gate.Check(ctx); err != nil {
		return nil, err
	}
	at, err := store.Begin(q, args, ex.positions)
	if err != nil {
		return nil, err
	}
	err = ex.use(ctx, func(s *session) error {
		page, err = ex.readPage(ctx, s, q, args, int64(at))
		return err
	})
	if err != nil {
		return nil, err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		t.Overlay(page, q, args)
	}
	return page, nil
}

func (ex *Executor) readPage(ctx context.Context, s *session, q evento.Query, args cursor.Args, at int64) (*cursor.Page[evento.RawEvent], error) {
	rows, more, ok, err := ex.onward(ctx, s, q, args, at)
	if err == nil && !ok {
		rows, more, ok, err = ex.behind(ctx, s, q, args, at)
	}
	if err != nil {
		return nil, err
	}
	if ok {
		edges, err := ex.events(ctx, s, rows)
		if err != nil {
			return nil, err
		}
		return store.Found{Edges: edges, More: more}.Page(args, ex.positions), nil
	}
	head, err := s.counter(ctx)
	if err != nil {
		return nil, err
	}
	r, err := ex.newSearch(ctx, s, q, head.position)
	if err != nil {
		return nil, err
	}
	if at > r.head {
		return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, r.head)
	}
	from, backward := store.From(args, at, r.head)
	rows, more, err = r.rows(from, backward, args.Limit())
	if err != nil {
		return nil, err
	}
	if err := ex.makeDurable(ctx, s, r.head); err != nil {
		return nil, err
	}
	found := store.Found{More: more, At: uint64(at), Head: uint64(r.head)}
	if found.Edges, err = ex.events(ctx, s, rows); err != nil {
		return nil, err
	}
	if err := found.LookBehind(args, from, r.any); err != nil {
		return nil, err
	}
	return found.Page(args, ex.positions), nil
}

// maxPosition leaves room for the arithmetic of searches.
const maxPosition = 1 << 62

// onward reads everything, or the events of one aggregate, with one statement.
// Loading and catching up are made of this. A statement sees one moment, so the head
// need not be read. Not ok: there are no events, or it is another kind of query.
func (ex *Executor) onward(ctx context.Context, s *session, q evento.Query, args cursor.Args, at int64) (rows []sqlstore.Row, more, ok bool, err error) {
	if q.RoutingKey != "" || q.Unrouted || len(q.Filters) > 1 || hasTags(q) || args.IsBackward() || at != 0 && !args.IsOnward() {
		return nil, false, false, nil
	}
	p := &page{search: &search{ctx: ctx, s: s, head: maxPosition}, want: args.Limit(), last: at}
	if len(q.Filters) == 0 {
		p.Everything = true
		_, err = p.scan()
	} else {
		err = ex.load(p, q.Filters[0])
	}
	if err != nil || len(p.found) == 0 {
		return nil, false, false, err
	}
	last := p.found[len(p.found)-1]
	if err := ex.makeDurable(ctx, s, last.Position); err != nil {
		return nil, false, false, err
	}
	if p.more && !p.Everything && s.tx == nil {
		ex.ends.add(place{p.Aggregates[0].Key, last.Position}, last.Version)
	}
	return p.found, p.more, true, nil
}

// behind reads a page that ends below a position that is known to be durable, so the
// head need not be read. Not ok: there may be more above that position. A query with tags
// is likely to find all that there is: it is not tried twice.
func (ex *Executor) behind(ctx context.Context, s *session, q evento.Query, args cursor.Args, at int64) (rows []sqlstore.Row, more, ok bool, err error) {
	known := ex.durable.position.Load()
	if !args.IsOnward() || s.tx != nil || hasTags(q) || at+int64(args.Limit()) >= known {
		return nil, false, false, nil
	}
	r, err := ex.newSearch(ctx, s, q, known)
	if err != nil {
		return nil, false, false, err
	}
	rows, more, err = r.rows(at, false, args.Limit())
	return rows, more, more, err
}

// load finds nothing where names would have to be looked up first.
func (ex *Executor) load(p *page, f evento.Filter) error {
	d := ex.dictionary(p.s)
	typeID := d.Types.ID(f.AggregateType)
	kindID := d.Kinds.ID(sqlstore.Kind{TypeID: typeID, Name: f.Name})
	if f.AggregateID == "" || typeID == 0 || f.Name != "" && kindID == 0 {
		return nil
	}
	l := leg{aggregate: sqlstore.Aggregate{TypeID: typeID, ID: f.AggregateID}}
	if f.Name != "" {
		l.kinds = []int64{kindID}
	}
	version := int64(0)
	if p.last != 0 {
		v, known := ex.ends.version(place{l.aggregate, p.last})
		if !known {
			var own bool
			var err error
			if v, own, err = p.s.versionOf(p.ctx, l.aggregate, p.last); err != nil || !own {
				return err
			}
		}
		version = v
	}
	p.AddAggregate(l.aggregate, l.kinds)
	return p.follow(l, version)
}

// place is where a page of an aggregate's events ended.
type place struct {
	aggregate sqlstore.Aggregate
	position  int64
}

// ends knows the versions at which pages ended: the next pages begin after them. It
// has durable events only, which never change.
type ends struct {
	mu       sync.Mutex
	versions store.Cache[place, int64]
}

func (e *ends) version(p place) (int64, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.versions.Get(p)
}

func (e *ends) add(p place, version int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.versions.Put(p, version)
}

// events makes events of rows, which are used again.
func (ex *Executor) events(ctx context.Context, s *session, rows []sqlstore.Row) ([]cursor.Edge[evento.RawEvent], error) {
	defer giveRows(rows)
	d := ex.dictionary(s)
	return d.Events(rows, func(r *sqlstore.Row) error { return d.fetch(ctx, s, r.RoutingID) })
}
