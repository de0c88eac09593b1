// Replaying events into a projection's state, and making decisions on it.

package evento

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Loaded is the state of one aggregate, computed by a projection. Its JSON has all
// exported fields but SnapshotErr.
type Loaded[V any] struct {
	// ID is the aggregate's.
	ID string `json:"id"`
	// Version is that of the aggregate itself, even when an event of a related one
	// is newer. A commit builds on it.
	Version uint64 `json:"version"`
	// Position is that of the last event that was applied to the state.
	Position uint64 `json:"position"`
	State    V      `json:"state"`
	// SnapshotErr is why a snapshot that was due could not be stored. The state is
	// complete in any case.
	//
	// Why: docs/decisions.md, "A snapshot that cannot be stored does not fail the load".
	SnapshotErr error `json:"-"`

	aggregateType AggregateType
}

// Aggregate begins a commit to the aggregate at the loaded version. Events of another
// type of aggregate are refused with [ErrInvalid].
func (l *Loaded[V]) Aggregate() *CommitBuilder {
	b := Aggregate(l.ID).OriginalVersion(l.Version)
	b.loaded = l.aggregateType
	return b
}

// LoadOption changes what Load, Update and Versions do. [Related], [AtVersion], [AsOf],
// [OrNew], [WithCommit] and [InPlace] make it.
type LoadOption func(*loadOptions)

type loadOptions struct {
	related []Filter
	version *uint64
	asOf    *time.Time
	orNew   bool
	commit  []func(*CommitBuilder)
	inPlace bool
	reached func() bool // called at each version of the aggregate; false ends the replay
}

// Related also applies the events of another aggregate, in the order of positions.
// It may be given several times. Without it, handlers of other aggregates' events are not
// called; with it, each of their types has to be among those that are named.
func Related(t AggregateType, id string) LoadOption {
	return func(o *loadOptions) { o.related = append(o.related, ByID(t, id)) }
}

// AtVersion loads the state as it was when the aggregate reached version n.
// [ErrNotFound] if it has not reached it.
func AtVersion(n uint64) LoadOption {
	return func(o *loadOptions) { o.version = &n }
}

// AsOf loads the state as it was at a time, from the events whose Timestamp is not
// after it. [ErrNotFound] if the aggregate had none. It does not use snapshots.
func AsOf(t time.Time) LoadOption {
	return func(o *loadOptions) { o.asOf = &t }
}

// OrNew loads an aggregate without events as the zero state at version 0, instead
// of failing with [ErrNotFound]: for an Update that may create the aggregate.
func OrNew() LoadOption {
	return func(o *loadOptions) { o.orNew = true }
}

// WithCommit lets Update configure its commit further, such as with metadata. Load
// does not use it.
func WithCommit(fn func(*CommitBuilder)) LoadOption {
	return func(o *loadOptions) { o.commit = append(o.commit, fn) }
}

// Load replays the aggregate with this id, beginning at its snapshot if there is
// one. It streams any number of events in flat memory.
//
// Errors: [ErrNotFound] when the aggregate has no events; [ErrDeleted];
// [ErrUnhandledEvent]; [ErrDecode]; [ErrInvalid] for a mistake in the projection or the
// options, such as handlers that are all of other types, or [Related] that names none of
// the type whose events a handler is for; what a handler returns, with the event named;
// those of [Executor].
func (p *Projection[V]) Load(ctx context.Context, ex Executor, id string, opts ...LoadOption) (*Loaded[V], error) {
	var o loadOptions
	for _, opt := range opts {
		opt(&o)
	}
	return p.load(ctx, ex, id, o)
}

func (p *Projection[V]) load(ctx context.Context, ex Executor, id string, o loadOptions) (*Loaded[V], error) {
	if p.err != nil {
		return nil, p.err
	}
	if o.version != nil && (*o.version == 0 || o.asOf != nil) {
		return nil, fmt.Errorf("%w option: AtVersion(%d): versions begin at 1, and AsOf excludes it", ErrInvalid, *o.version)
	}
	if err := checkName("aggregate id", id); err != nil {
		return nil, err
	}
	query := Query{Filters: append([]Filter{ByID(p.aggregateType, id)}, o.related...)}
	if err := query.Check(); err != nil {
		return nil, err
	}
	if err := p.checkRelated(o.related); err != nil {
		return nil, err
	}

	l := p.empty(id)
	var key SnapshotKey
	var after cursor.Value
	if p.snapshotEvery > 0 && o.asOf == nil {
		var err error
		if key, err = p.snapshotKey(id, o.related); err != nil {
			return nil, err
		}
		if after, err = loadSnapshot(ctx, ex, key, l, o.version); err != nil {
			return nil, err
		}
	}

	replayed, last, err := p.catchUp(p.data.into(ctx), ex, query, key, after, l, o)
	if err != nil {
		if after != "" && errors.Is(err, ErrDeleted) {
			discard(ctx, ex, key)
		}
		return nil, err
	}
	switch {
	case l.Version == 0 && o.orNew && o.version == nil:
		return l, nil
	case l.Version == 0:
		return nil, fmt.Errorf("%w: %s %s", ErrNotFound, p.aggregateType, shorten(id))
	case o.version != nil && l.Version < *o.version:
		return nil, fmt.Errorf("%w: version %d of %s %s, which is at %d", ErrNotFound, *o.version, p.aggregateType, shorten(id), l.Version)
	case last == "" && replayed > 0: // with events of a transaction that have no position yet
	case p.snapshotEvery > 0 && replayed >= p.snapshotEvery && o.version == nil && o.asOf == nil:
		l.SnapshotErr = saveSnapshot(ctx, ex, key, l, last)
	}
	return l, nil
}

// empty is the state before the first event.
func (p *Projection[V]) empty(id string) *Loaded[V] {
	return &Loaded[V]{ID: id, aggregateType: p.aggregateType}
}

// checkRelated refuses a load with related aggregates that leaves out the events of a
// handler. Without any, the aggregate is loaded alone.
func (p *Projection[V]) checkRelated(related []Filter) error {
	if len(related) == 0 {
		return p.checkOwn()
	}
	for _, kind := range p.others {
		if !slices.ContainsFunc(related, func(f Filter) bool { return f.AggregateType == kind.aggregateType }) {
			return fmt.Errorf("%w load: projection %q has a handler for %s, and Related names no %s", ErrInvalid, p.name, kind, kind.aggregateType)
		}
	}
	return nil
}

// checkOwn refuses a projection whose handlers are all of other aggregate types, which was
// probably given the wrong one: without related aggregates its states stay empty.
func (p *Projection[V]) checkOwn() error {
	own := func(kind eventKind) bool { return kind.aggregateType == p.aggregateType }
	if len(p.others) == 0 || anyKey(p.handlers, own) || anyKey(p.skip, own) || anyKey(p.tombstones, own) {
		return nil
	}
	return fmt.Errorf("%w projection: %q is of %s, and all its handlers are of other types, such as %s", ErrInvalid, p.name, p.aggregateType, p.others[0])
}

func anyKey[K comparable, V any](m map[K]V, is func(K) bool) bool {
	for k := range m {
		if is(k) {
			return true
		}
	}
	return false
}

// catchUp replays the events after a snapshot's cursor; "": there is no snapshot. A
// snapshot that does not fit the events, as after a restore of the store, is left:
// the state is rebuilt from the events.
func (p *Projection[V]) catchUp(ctx context.Context, ex Executor, query Query, key SnapshotKey, after cursor.Value, l *Loaded[V], o loadOptions) (replayed uint64, last cursor.Value, err error) {
	replayed, last, err = p.replay(ctx, ex, query, after, l, o)
	if after != "" && isAny(err, cursor.ErrInvalid, errUnfit) {
		*l = *p.empty(l.ID)
		discard(ctx, ex, key)
		return p.replay(ctx, ex, query, "", l, o)
	}
	return replayed, last, err
}

// errUnfit: a snapshot is not of the store's events.
var errUnfit = errors.New("evento: the snapshot does not fit the events")

// replay applies the events of the query after a cursor, which is l's. It returns how
// many there were and the cursor of the last. An applyError concerns the event after the
// last one that was applied.
func (p *Projection[V]) replay(ctx context.Context, ex Executor, query Query, after cursor.Value, l *Loaded[V], o loadOptions) (replayed uint64, last cursor.Value, err error) {
	page, err := p.firstPage(ctx, ex, query, after, l)
	if err != nil {
		return 0, "", err
	}
	var pages *readAhead // most aggregates have one page
	if page.PageInfo.HasNextPage {
		pages = newReadAhead(ex, query)
		pages.all = true
		pages.follow(ctx, page)
		defer pages.stop()
	}
	for {
		for i := range page.Edges {
			e := &page.Edges[i].Node
			if o.asOf != nil && e.Timestamp.After(*o.asOf) ||
				o.version != nil && l.Version == *o.version {
				return replayed, last, nil
			}
			if after != "" && p.isOf(l, e) && e.Version != l.Version+1 {
				return 0, "", errUnfit
			}
			if err := p.applyEvent(ctx, l, e); err != nil {
				return 0, "", &applyError{err}
			}
			replayed++
			last = page.Edges[i].Cursor
			if o.reached != nil && p.isOf(l, e) && !o.reached() {
				return replayed, last, nil
			}
		}
		if !page.PageInfo.HasNextPage {
			return replayed, last, nil
		}
		if page, err = pages.get(ctx, page.PageInfo.EndCursor); err != nil {
			return 0, "", err
		}
	}
}

// firstPage reads the events after a cursor. After a snapshot it reads the last event
// that is in the snapshot too, and leaves it out: it has to be there. Where an event has
// no position of its own, it looks at the last version instead, if nothing follows.
func (p *Projection[V]) firstPage(ctx context.Context, ex Executor, query Query, after cursor.Value, l *Loaded[V]) (*cursor.Page[RawEvent], error) {
	if after == "" {
		return ex.Read(ctx, query, cursor.Onward(streamPage, ""))
	}
	before, err := ex.CursorAt(l.Position - 1)
	if errors.Is(err, errors.ErrUnsupported) {
		page, err := ex.Read(ctx, query, cursor.Onward(streamPage, after))
		if err == nil && len(page.Edges) == 0 {
			var at uint64
			if at, err = p.versionOf(ctx, ex, l.ID); err == nil && at != l.Version {
				err = errUnfit
			}
		}
		return page, err
	}
	if err != nil {
		return nil, err
	}
	page, err := ex.Read(ctx, query, cursor.Onward(streamPage, before))
	if err != nil {
		return nil, err
	}
	if len(page.Edges) == 0 || page.Edges[0].Cursor != after || p.isOf(l, &page.Edges[0].Node) && page.Edges[0].Node.Version != l.Version {
		return nil, errUnfit
	}
	return &cursor.Page[RawEvent]{Edges: page.Edges[1:], PageInfo: page.PageInfo}, nil
}

// versionOf reads the version of an aggregate.
func (p *Projection[V]) versionOf(ctx context.Context, ex Executor, id string) (uint64, error) {
	page, err := ex.Read(ctx, Query{Filters: []Filter{ByID(p.aggregateType, id)}}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return 0, err
	}
	return page.Edges[0].Node.Version, nil
}

// isOf reports whether an event is one of the aggregate that is loaded.
func (p *Projection[V]) isOf(l *Loaded[V], e *RawEvent) bool {
	return e.AggregateID == l.ID && e.AggregateType == p.aggregateType
}

// applyError says that an event could not be applied; it distinguishes this from
// errors of the store.
type applyError struct{ err error }

func (e *applyError) Error() string { return e.err.Error() }
func (e *applyError) Unwrap() error { return e.err }

func (p *Projection[V]) applyEvent(ctx context.Context, l *Loaded[V], e *RawEvent) error {
	kind := eventKind{e.AggregateType, e.Name}
	switch apply := p.handlers[kind]; {
	case p.tombstones[kind] && p.isOf(l, e):
		return fmt.Errorf("%w: %s %s, by %s, version %d, position %d", ErrDeleted, e.AggregateType, shorten(e.AggregateID), e.Name, e.Version, e.Position)
	case apply != nil:
		if err := apply(ctx, p.codecs, &l.State, e); err != nil {
			if errors.Is(err, ErrDecode) {
				return err // it already names the event
			}
			return wrap(err, "projection %q: %s of %q, version %d, position %d", p.name, kind, e.AggregateID, e.Version, e.Position)
		}
	case p.safetyCheck && !p.skip[kind]:
		return fmt.Errorf("%w: projection %q: %s of %q, version %d, position %d",
			ErrUnhandledEvent, p.name, kind, e.AggregateID, e.Version, e.Position)
	}
	l.Position = max(l.Position, e.Position) // 0: in a running transaction
	if p.isOf(l, e) {
		l.Version = e.Version
	}
	return nil
}

// outcomeRetries is how often Update and Decide resolve an unknown outcome by themselves.
const outcomeRetries = 3

// Update loads an aggregate, calls decide with its state, and commits the events
// that decide returns. On a conflict, it loads and decides again, until the context
// ends. After a conflict, and while others wait already, it waits for its turn among the
// updates of the aggregate in this process, first come, first served.
// If decide returns no events, nothing is committed, and the receipt is that of the
// loaded state.
//
// Errors: those of Load and of [CommitAll], except conflicts; [ErrInvalid] for an event
// of another type of aggregate; and those of decide, unchanged.
func (p *Projection[V]) Update(ctx context.Context, ex Executor, id string, decide func(*Loaded[V]) ([]Payload, error), opts ...LoadOption) (Receipt, error) {
	var o loadOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.version != nil || o.asOf != nil {
		return Receipt{}, fmt.Errorf("%w option: Update decides on the present, not with AtVersion or AsOf", ErrInvalid)
	}
	if decide == nil {
		return Receipt{}, fmt.Errorf("%w update: the function is nil", ErrInvalid)
	}
	turn := ex.Feed().turns.of(ctx, turnOf(AggregateKey{p.aggregateType, id}))
	defer turn.leave()
	for conflict := false; ; {
		if err := turn.wait(ctx, conflict); err != nil {
			return Receipt{}, err
		}
		var r Receipt
		var err error
		if r, conflict, err = p.tryUpdate(ctx, ex, id, decide, o); !conflict {
			return r, err
		}
	}
}

// tryUpdate loads, decides and commits once. It reports whether the commit has
// conflicted.
func (p *Projection[V]) tryUpdate(ctx context.Context, ex Executor, id string, decide func(*Loaded[V]) ([]Payload, error), o loadOptions) (r Receipt, conflict bool, err error) {
	l, err := p.load(ctx, ex, id, o)
	if err != nil {
		return Receipt{}, false, err
	}
	at, b := Receipt{AggregateID: id, Version: l.Version, Position: l.Position}, l.Aggregate()
	payloads, err := decide(l)
	if err != nil {
		return Receipt{}, false, err
	}
	if len(payloads) == 0 {
		return at, false, nil
	}
	b.Event(payloads...)
	for _, fn := range o.commit {
		fn(b)
	}
	r, err = resolved(ctx, func() (Receipt, error) { return b.Commit(ctx, ex) })
	return r, errors.Is(err, ErrConflict), err
}

// resolved commits, and finds out an unknown outcome by committing again. It stays unknown
// when that fails for a reason that says nothing of the first attempt.
func resolved[R any](ctx context.Context, commit func() (R, error)) (r R, err error) {
	r, err = commit()
	for try := 0; try < outcomeRetries && errors.Is(err, ErrOutcomeUnknown) && ctx.Err() == nil; try++ {
		again, againErr := commit()
		if againErr == nil || isAny(againErr, ErrConflict, ErrSwapped) {
			return again, againErr
		}
	}
	return r, err
}

// writeResolved stores a write, and finds out an unknown outcome by writing again.
func writeResolved(ctx context.Context, ex Executor, w Write) ([]Receipt, error) {
	return resolved(ctx, func() ([]Receipt, error) {
		receipts, err := ex.Write(ctx, w)
		w.Retry = true // the next time
		return receipts, err
	})
}

// relatedText is part of a snapshot's key. It does not depend on the order in which
// related aggregates were given.
func relatedText(related []Filter) []string {
	texts := make([]string, len(related))
	for i, f := range related {
		texts[i] = HashIDs(string(f.AggregateType), f.AggregateID)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}
