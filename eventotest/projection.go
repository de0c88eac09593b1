package eventotest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evento-go/evento"
)

// ProjectionTest is a test of a projection; [Project] begins it. Its methods
// return it for chaining. It is not safe for concurrent use.
type ProjectionTest[V any] struct {
	*history
	projection *evento.Projection[V]
	options    []evento.LoadOption
	snapshots  *bool // nil: if the projection has snapshots
}

// Project begins a test of a projection, or of a decision on its state. It does
// not change the projection: tests in parallel may share one.
func Project[V any](t testing.TB, p *evento.Projection[V]) *ProjectionTest[V] {
	t.Helper()
	h := newHistory(t)
	if p == nil {
		h.misuse("Project: the projection is nil")
	}
	return &ProjectionTest[V]{history: h, projection: p}
}

// ID sets the id of the aggregate that is loaded, and of given events that have
// none. Default "1".
func (p *ProjectionTest[V]) ID(id string) *ProjectionTest[V] {
	p.id = id
	return p
}

// Given adds events that happened before, in order.
func (p *ProjectionTest[V]) Given(events ...evento.Payload) *ProjectionTest[V] {
	p.add(events)
	return p
}

// LoadOptions sets the options for loading the state, such as [evento.Related], and
// for Update in a decision, such as [evento.OrNew].
func (p *ProjectionTest[V]) LoadOptions(opts ...evento.LoadOption) *ProjectionTest[V] {
	p.options = append(p.options, opts...)
	return p
}

// Snapshots sets whether the state is also loaded from a snapshot after each of the
// given events, and must be the same; from 100 events on, after some 50 to 100 of
// them. Default: if the projection has snapshots.
func (p *ProjectionTest[V]) Snapshots(check bool) *ProjectionTest[V] {
	p.snapshots = &check
	return p
}

// Compare adds go-cmp options for the comparison of states and events, such as
// cmpopts.IgnoreFields for a generated id. By default, empty and nil are equal, so are
// NaNs, and unexported fields are compared. Where an option of yours applies, the
// default does not. Two of yours that apply at one place fail the test.
func (p *ProjectionTest[V]) Compare(opts ...cmp.Option) *ProjectionTest[V] {
	p.compare = append(p.compare, opts...)
	return p
}

// Then checks the state.
func (p *ProjectionTest[V]) Then(want V) {
	p.t.Helper()
	if l := p.load(); l != nil {
		if diff := p.diff(want, l.State); diff != "" {
			p.fail("the state is not the one wanted (-want +got):\n%s", diff)
		}
	}
}

// ThenFunc calls a function that checks what was loaded and reports failures
// itself: for single fields of a large state, or the version.
func (p *ProjectionTest[V]) ThenFunc(check func(*evento.Loaded[V])) {
	p.t.Helper()
	if check == nil {
		p.misuse("ThenFunc: the function is nil")
		return
	}
	l := p.load()
	if l == nil {
		return
	}
	before := p.t.Failed()
	check(l)
	if !before && p.t.Failed() {
		p.t.Log(p.list())
	}
}

// ThenError checks that the load fails with an error that is target, by
// [errors.Is].
func (p *ProjectionTest[V]) ThenError(target error) {
	p.t.Helper()
	s := p.stored()
	if s == nil {
		return
	}
	_, err := p.projection.Load(p.t.Context(), s, p.id, p.options...)
	p.wantError("the load", err, target)
}

// wantError reports whether an error is the wanted one, and fails if not.
func (h *history) wantError(what string, err, target error) bool {
	h.t.Helper()
	switch {
	case target == nil:
		h.misuse("ThenError: the wanted error is nil; use Then")
	case err == nil:
		h.fail("%s did not fail, want the error: %v", what, target)
	case !errors.Is(err, target):
		h.fail("%s failed with another error\n got: %v\nwant: %v", what, err, target)
	default:
		return true
	}
	return false
}

// When decides on the state of the given events, as in [evento.Projection.Update].
// For an aggregate without events see LoadOptions and [evento.OrNew].
func (p *ProjectionTest[V]) When(decide func(*evento.Loaded[V]) ([]evento.Payload, error)) *Outcome {
	p.t.Helper()
	if decide == nil {
		p.misuse("When: the function is nil")
		return &Outcome{history: p.history}
	}
	s := p.stored()
	if s == nil {
		return &Outcome{history: p.history}
	}
	o := &Outcome{history: p.history, what: "the decision", store: s, before: p.deadlines(s)}
	s.ran = true
	_, o.err = p.projection.Update(p.t.Context(), s, p.id, func(l *evento.Loaded[V]) ([]evento.Payload, error) {
		payloads, err := decide(l)
		o.decided = payloads
		return payloads, err
	}, p.options...)
	o.look()
	p.checkSnapshots(s)
	p.checked = false // the outcome checks it
	return o
}

// load loads the state of the given events; nil after a report.
func (p *ProjectionTest[V]) load() *evento.Loaded[V] {
	p.t.Helper()
	s := p.stored()
	if s == nil {
		return nil
	}
	l, err := p.projection.Load(p.t.Context(), s, p.id, p.options...)
	if err != nil {
		p.fail("the load failed: %v", err)
		return nil
	}
	if l.SnapshotErr != nil {
		p.fail("the load could not store its snapshot: %v", l.SnapshotErr)
		return nil
	}
	p.checkSnapshots(s)
	return l
}

// mostSnapshots limits the time of tests with very many events: each check replays
// all events before it.
const mostSnapshots = 100

// checkSnapshots loads the state from a snapshot after each event. The store has
// noted whether the projection uses snapshots.
func (p *ProjectionTest[V]) checkSnapshots(used *store) {
	p.t.Helper()
	if p.snapshots == nil && !used.snapshots.Load() || p.snapshots != nil && !*p.snapshots {
		return
	}
	ctx := p.t.Context()
	always, never := *p.projection, *p.projection
	always.SnapshotEvery(1)
	never.SnapshotEvery(0)
	every := 1 + len(p.given)/mostSnapshots
	s := newStore()
	for i, e := range p.given {
		if err := s.give(ctx, e, p.idOf(e)); err != nil {
			p.misuse("given event %d cannot be stored: %v", i+1, err)
			return
		}
		if (i+1)%every != 0 && i+1 < len(p.given) {
			continue
		}
		replayed, err := never.Load(ctx, s, p.id, p.options...)
		if err != nil {
			continue // such as for AtVersion with a version that is not reached yet
		}
		loaded, err := always.Load(ctx, s, p.id, p.options...)
		switch {
		case err != nil:
			p.fail("with a snapshot behind each event, the load behind event %d failed: %v", i+1, err)
			return
		case loaded.SnapshotErr != nil:
			p.fail("the snapshot behind event %d could not be stored: %v", i+1, loaded.SnapshotErr)
			return
		}
		if diff := p.diff(replayed.State, loaded.State); diff != "" {
			p.fail("the state behind event %d, loaded from a snapshot before it, is not that of all events (-replayed +from snapshot):\n%s"+
				"A snapshot loses unexported fields and those tagged \"-\".", i+1, diff)
			return
		}
	}
}
