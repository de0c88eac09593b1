// Reading the events of one routing key.

package routed

import (
	"context"
	"fmt"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Read implements [evento.Executor]. It reads the events with the routing key, and shows them
// without it.
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	narrowed, err := ex.narrow(q)
	if err != nil {
		return nil, err
	}
	page, err := ex.of.Read(ctx, narrowed, args)
	if err != nil {
		return nil, err
	}
	if isOfAggregates(q) {
		ex.remember(page.Edges)
	}
	for i := range page.Edges {
		page.Edges[i].Node.RoutingKey = ""
	}
	return page, nil
}

// narrow returns the query of the store that reads what a checked query reads here.
func (ex *Executor) narrow(q evento.Query) (evento.Query, error) {
	switch q.RoutingKey {
	case "":
		q.RoutingKey, q.Unrouted = ex.key, false
		return q, nil
	case ex.key:
		return q, fmt.Errorf("%w query: routing key %q: an executor of this routing key shows its events without it: leave it out", evento.ErrInvalid, ex.key)
	}
	// It finds nothing, but the store still says where the page ends. No event is of a type
	// whose name was made by New.
	return evento.Query{RoutingKey: ex.key, Filters: []evento.Filter{evento.ByType(ex.nothing)}}, nil
}

// isOfAggregates reports whether a query is for the events of some aggregates, as in a load.
func isOfAggregates(q evento.Query) bool {
	return len(q.Filters) > 0 && !slices.ContainsFunc(q.Filters, func(f evento.Filter) bool { return f.AggregateID == "" })
}

// remember notes whose aggregates these events are of. Events at position 0 are of a
// transaction, which may be rolled back.
func (ex *Executor) remember(edges []cursor.Edge[evento.RawEvent]) {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for i := range edges {
		e := &edges[i].Node
		if i > 0 && e.Aggregate() == edges[i-1].Node.Aggregate() || e.Position == 0 {
			continue
		}
		if _, known := ex.mine.Get(e.Aggregate()); !known {
			ex.mine.Put(e.Aggregate(), e.RoutingKey == ex.key)
		}
	}
}

// look finds whose aggregates these are: true of one with the routing key, false of one with
// another or none. An aggregate that is not in the map has no events that can be read. What is
// found stays so: the routing key of an aggregate is that of its first event.
func (ex *Executor) look(ctx context.Context, aggregates ...evento.AggregateKey) (map[evento.AggregateKey]bool, error) {
	found := make(map[evento.AggregateKey]bool, len(aggregates))
	var unknown []evento.Filter
	ex.mu.Lock()
	for _, a := range aggregates {
		if mine, known := ex.mine.Get(a); known {
			found[a] = mine
		} else {
			unknown = append(unknown, evento.Filter{AggregateType: a.Type, AggregateID: a.ID})
		}
	}
	ex.mu.Unlock()
	// A page has events of one of them at least, unless none of them has any.
	for len(unknown) > 0 {
		some := unknown[:min(len(unknown), evento.MaxFilters)]
		page, err := ex.of.Read(ctx, evento.Query{Filters: some}, cursor.Onward(len(some), ""))
		if err != nil {
			return nil, err
		}
		ex.remember(page.Edges)
		for i := range page.Edges {
			e := &page.Edges[i].Node
			found[e.Aggregate()] = e.RoutingKey == ex.key
		}
		rest := unknown[len(some):]
		if page.PageInfo.HasNextPage {
			for _, f := range some {
				if _, ok := found[evento.AggregateKey{Type: f.AggregateType, ID: f.AggregateID}]; !ok {
					rest = append(rest, f)
				}
			}
		}
		unknown = rest
	}
	return found, nil
}

// isOthers reports whether an aggregate was found to have another routing key or none.
func isOthers(found map[evento.AggregateKey]bool, a evento.AggregateKey) bool {
	mine, exists := found[a]
	return exists && !mine
}
