// Package routed is an evento executor for one tenant of a store that many tenants share.
// It sees and writes the aggregates of one routing key.
//
//	acme, err := routed.New(ex, "acme")
//
// Code that works on a whole store works on one tenant: pass acme where you passed ex. Make
// one Executor for each tenant, and use it again: it remembers which aggregates are its own.
//
// # Events
//
// New aggregates get the routing key. Reads, conditions of writes and everything made of
// them ([evento.Decide], [evento.Follow], projections, subscriptions) are narrowed to the
// events that have it. In the store they have it; the Executor shows them without it. So
// a subscription without RoutingKey handles the events of the tenant, as it handles those
// of a store that has no routing keys. [Executor.RoutingKey] returns the key.
//
// Nothing else is to be named: a query for another routing key finds nothing, and an append
// to one is refused with [evento.ErrInvalid]. A query for the Executor's own key is refused
// in the same way, because no event is shown with it.
//
// The ids of aggregates are unique in the store, not in the tenant. An aggregate of another
// tenant, or of none, looks as if it did not exist. A write to it stores nothing and returns
// [evento.ErrInvalid], also where a store would return [evento.ErrConflict]: whoever tried
// again would never succeed. So an error tells that an id is taken. Choose ids that cannot be
// guessed, such as those of [evento.Create].
//
// # Records and snapshots
//
// Subscriptions of two tenants may have the same key, and projections the same name. A record
// is stored with the routing key and a slash before its Kind, a snapshot with the same before
// the Projection of its key; % and / in the routing key become %25 and %2F. The stored name
// may have [evento.MaxName] bytes, so the name of a projection has less room: a longer one is
// refused with [evento.ErrInvalid].
//
// Whoever uses the store itself finds none of the tenants' subscriptions. To list or
// control them, pass the tenant's Executor.
//
// # Not for
//
// It keeps the tenants of one program apart. It is no access control: whoever has the store
// has everything.
//
// All tenants share one order of events, and one signal for new ones: while somebody follows a
// tenant's events, a commit of any tenant costs a read for that tenant. To follow very many
// tenants, use one subscription on the store.
package routed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Executor is an [evento.Executor] that sees and writes one routing key. [New] makes it. It
// is safe for concurrent use.
type Executor struct {
	of      evento.Executor
	key     string
	prefix  string // of the names of records and snapshots
	nothing evento.AggregateType
	gate    store.Gate
	changed *store.AnySignal
	feed    evento.Feed

	mu   sync.Mutex
	mine store.Cache[evento.AggregateKey, bool] // whether an aggregate has the key: that never changes
}

var _ evento.Transactor = (*Executor)(nil)

// mostKnown is how many aggregates an Executor remembers at least.
const mostKnown = 1024

// New returns an executor for the aggregates with a routing key in the store of ex. The error
// matches [evento.ErrInvalid] if ex is nil or has a routing key already, or if the key is not a
// valid routing key.
func New(ex evento.Executor, key string) (*Executor, error) {
	if ex == nil {
		return nil, fmt.Errorf("%w executor of routing key %q: it is nil", evento.ErrInvalid, key)
	}
	if narrowed, ok := ex.(*Executor); ok {
		return nil, fmt.Errorf("%w executor of routing key %q: it is one of routing key %q already", evento.ErrInvalid, key, narrowed.key)
	}
	if key == "" {
		return nil, fmt.Errorf("%w routing key: empty", evento.ErrInvalid)
	}
	if err := (evento.Query{RoutingKey: key}).Check(); err != nil {
		return nil, err
	}
	return &Executor{
		of:      ex,
		key:     key,
		prefix:  strings.NewReplacer("%", "%25", "/", "%2F").Replace(key) + "/",
		nothing: evento.AggregateType("nothing/" + evento.NewID().String()),
		changed: store.NewAnySignal(ex.Changed),
		mine:    store.NewCache[evento.AggregateKey, bool](mostKnown),
	}, nil
}

// RoutingKey returns the routing key of the aggregates that ex sees and writes.
func (ex *Executor) RoutingKey() string { return ex.key }

// insideKey is the context key for a transaction of an Executor.
type insideKey struct{ ex *Executor }

func (ex *Executor) inside(ctx context.Context) bool { return ctx.Value(insideKey{ex}) != nil }

// enter begins a call, for which Close waits. The caller calls leave when the call ends.
func (ex *Executor) enter(ctx context.Context) (leave func(), err error) {
	if ex.inside(ctx) { // Close waits for the whole transaction
		return func() {}, ctx.Err()
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	return ex.gate.Leave, nil
}

// InTx implements [evento.Transactor], in a transaction of the store. Without transactions
// there the error matches [errors.ErrUnsupported], whatever the context.
//
// A commit with AnyVersion that creates an aggregate conflicts at the end of the transaction
// if somebody else has created it meanwhile.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, ok := ex.of.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: routed: InTx: %w by the store, a %T", errors.ErrUnsupported, ex.of)
	}
	if !ex.inside(ctx) { // whether ctx has ended is for the store to say
		leave, err := ex.enter(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		defer leave()
	}
	var fnErr error
	err := tx.InTx(ctx, func(ctx context.Context) error {
		fnErr = fn(context.WithValue(ctx, insideKey{ex}, true))
		return fnErr
	})
	var over *evento.ConflictError
	if fnErr == nil && errors.As(err, &over) && over.Condition == 0 {
		a := evento.AggregateKey{Type: over.AggregateType, ID: over.AggregateID}
		if found, lookErr := ex.look(ctx, a); lookErr == nil && isOthers(found, a) {
			return ex.othersError(a)
		}
	}
	return err
}

// Changed implements [evento.Executor]. It wakes for the events of all tenants.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// CursorAt implements [evento.Executor]. Positions are those of the store.
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	leave, err := ex.enter(context.Background())
	if err != nil {
		return "", err
	}
	defer leave()
	return ex.of.CursorAt(position)
}

// Earlier implements [evento.Executor].
func (ex *Executor) Earlier(a, b cursor.Value) (cursor.Value, error) {
	leave, err := ex.enter(context.Background())
	if err != nil {
		return "", err
	}
	defer leave()
	return ex.of.Earlier(a, b)
}

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// Close implements [evento.Executor]. It ends the use of ex alone: it waits for the calls
// that are running, and those who follow or subscribe get [evento.ErrClosed]. The store stays
// open, for the other tenants. If the store is closed, ex need not be closed.
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		ex.gate.Wait()
		ex.changed.Close()
		return nil
	})
}
