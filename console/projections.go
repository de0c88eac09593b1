// Projections whose states are shown.

package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Projection is a projection of a program, for [Options.Projections]. [Show] makes it.
type Projection interface {
	// check returns what is wrong with it.
	check() error
	name() string
	aggregateType() evento.AggregateType
	// states calls fn with the states of an aggregate from one version to another, until fn
	// returns false. The state of version 0 is that before the first event. Each is to be
	// encoded before fn returns.
	states(ctx context.Context, ex evento.Executor, id string, from, to uint64, fn func(version uint64, encode encoder) bool) error
}

// encoder returns a state as JSON.
type encoder func() ([]byte, error)

// Show lets the console show the states of a projection at each version of an aggregate, and what
// each event has changed. A state is shown as [encoding/json] encodes it: fields that are to be
// seen are exported. The events of related aggregates are not applied. The projection is used
// while pages are made, by several goroutines at once, and must not be changed any more.
func Show[V any](p *evento.Projection[V]) Projection { return shown[V]{p} }

type shown[V any] struct{ p *evento.Projection[V] }

func (s shown[V]) check() error {
	if s.p == nil {
		return fmt.Errorf("%w console: Show was given no projection, but nil", evento.ErrInvalid)
	}
	return nil
}

func (s shown[V]) name() string                        { return s.p.Name() }
func (s shown[V]) aggregateType() evento.AggregateType { return s.p.AggregateType() }

// states turns a panic of the program's own functions into an error: a page says it, and the
// program goes on.
func (s shown[V]) states(ctx context.Context, ex evento.Executor, id string, from, to uint64, fn func(uint64, encoder) bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the projection panics: %v\n%s", r, debug.Stack())
		}
	}()
	if from == 0 {
		var zero V
		if !fn(0, func() ([]byte, error) { return encodeState(&zero) }) || to == 0 {
			return nil
		}
		from = 1
	}
	for l, err := range s.p.Versions(ctx, ex, id, from, to, evento.InPlace()) {
		if err != nil {
			return err
		}
		if !fn(l.Version, func() ([]byte, error) { return encodeState(&l.State) }) {
			return nil
		}
	}
	return nil
}

func encodeState(state any) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = nil, fmt.Errorf("encoding the state panics: %v\n%s", r, debug.Stack())
		}
	}()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(state); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// checkProjections refuses projections that are none, and two of one name.
func checkProjections(projections []Projection) error {
	names := map[string]bool{}
	for i, p := range projections {
		if p == nil {
			return fmt.Errorf("%w console: projection %d is nil", evento.ErrInvalid, i)
		}
		if err := p.check(); err != nil {
			return err
		}
		if names[p.name()] {
			return fmt.Errorf("%w console: two projections are named %q", evento.ErrInvalid, p.name())
		}
		names[p.name()] = true
	}
	return nil
}

// errFar: a state cannot be computed from as few events as may be read.
var errFar = errors.New("too many events would have to be read")

// bounded is a store of which a projection reads so many events at most. It keeps snapshots as
// they are: looking changes nothing.
type bounded struct {
	evento.Executor

	mu    sync.Mutex
	left  int  // events that may still be read
	whole bool // those from the first on may be
}

// within lets a projection read the events up to a version of an aggregate, if there are no more
// than may still be read: to that version, or behind a snapshot.
func (b *bounded) within(version uint64) *bounded {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = version <= uint64(b.left)
	b.left = int(min(uint64(b.left), version))
	return b
}

func (b *bounded) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if args.IsBackward() {
		return b.Executor.Read(ctx, q, args)
	}
	if b.left == 0 || !b.whole && args.At() == "" {
		return nil, errFar
	}
	page, err := b.Executor.Read(ctx, q, cursor.Onward(min(args.Limit(), b.left), args.At()))
	if err == nil {
		b.left -= min(len(page.Edges), b.left)
	}
	return page, err
}

func (b *bounded) SaveSnapshot(context.Context, evento.SnapshotKey, evento.Snapshot) error {
	return nil
}

func (b *bounded) RemoveSnapshots(context.Context, []evento.SnapshotKey) error { return nil }
