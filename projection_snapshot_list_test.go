package evento_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// smallPages counts pages of at most three snapshots.
type smallPages struct {
	evento.Executor
	pages int
	fails error // at the third page
}

func (s *smallPages) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if s.pages++; s.pages == 3 && s.fails != nil {
		return nil, s.fails
	}
	q.Limit = 3
	return s.Executor.Snapshots(ctx, q)
}

// scattered stores snapshots of every kind, and returns their keys in order.
func scattered(t *testing.T, ex evento.Executor) (keys []evento.SnapshotKey) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		k := evento.SnapshotKey{
			Projection:    []string{"p", "p ", "q", "o"}[r.IntN(4)],
			Revision:      []uint64{0, 1, 2, math.MaxInt64}[r.IntN(4)],
			Variant:       evento.HashIDs([]string{"a", "b", "c"}[r.IntN(3)]),
			AggregateType: []evento.AggregateType{Account, ownerType}[r.IntN(2)],
			AggregateID:   []string{"1", "2", "10", "é", "éa", "ê"}[r.IntN(6)],
		}
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
		noErr(t, ex.SaveSnapshot(t.Context(), k, evento.Snapshot{Version: 3, Position: 5, Data: []byte("state")}))
	}
	slices.SortFunc(keys, evento.SnapshotKey.Compare)
	return keys
}

func TestSnapshotsOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		filters []evento.SnapshotFilter
		chooses func(k evento.SnapshotKey) bool
	}{
		{"all", nil, func(evento.SnapshotKey) bool { return true }},
		{"a projection", []evento.SnapshotFilter{evento.SnapshotsOf("p")}, func(k evento.SnapshotKey) bool { return k.Projection == "p" }},
		{"revision 0", []evento.SnapshotFilter{evento.SnapshotsOfRevision("p", 0)}, func(k evento.SnapshotKey) bool { return k.Projection == "p" && k.Revision == 0 }},
		{"revision 2", []evento.SnapshotFilter{evento.SnapshotsOfRevision("q", 2)}, func(k evento.SnapshotKey) bool { return k.Projection == "q" && k.Revision == 2 }},
		{"the last revision", []evento.SnapshotFilter{evento.SnapshotsOfRevision("q", math.MaxInt64)}, func(k evento.SnapshotKey) bool { return k.Projection == "q" && k.Revision == math.MaxInt64 }},
		{"no revision", []evento.SnapshotFilter{evento.SnapshotsOfRevision("p", 7)}, func(evento.SnapshotKey) bool { return false }},
		{"no projection", []evento.SnapshotFilter{evento.SnapshotsOf("z")}, func(evento.SnapshotKey) bool { return false }},
		{"an aggregate", []evento.SnapshotFilter{evento.SnapshotsOfAggregate(Account, "2")}, func(k evento.SnapshotKey) bool { return k.AggregateType == Account && k.AggregateID == "2" }},
		{"the first", []evento.SnapshotFilter{evento.SnapshotsOfAggregate(Account, "1")}, func(k evento.SnapshotKey) bool { return k.AggregateType == Account && k.AggregateID == "1" }},
		{"the last", []evento.SnapshotFilter{evento.SnapshotsOfAggregate(ownerType, "ê")}, func(k evento.SnapshotKey) bool { return k.AggregateType == ownerType && k.AggregateID == "ê" }},
		{"of one with a longer id beside it", []evento.SnapshotFilter{evento.SnapshotsOfAggregate(ownerType, "é")}, func(k evento.SnapshotKey) bool { return k.AggregateType == ownerType && k.AggregateID == "é" }},
		{"no aggregate", []evento.SnapshotFilter{evento.SnapshotsOfAggregate("z", "1")}, func(evento.SnapshotKey) bool { return false }},
		{"an aggregate in a projection", []evento.SnapshotFilter{evento.SnapshotsOfAggregate(Account, "10"), evento.SnapshotsOf("o")}, func(k evento.SnapshotKey) bool {
			return k.Projection == "o" && k.AggregateType == Account && k.AggregateID == "10"
		}},
		{"an aggregate in a revision", []evento.SnapshotFilter{evento.SnapshotsOfRevision("o", 1), evento.SnapshotsOfAggregate(Account, "10")}, func(k evento.SnapshotKey) bool {
			return k.Projection == "o" && k.Revision == 1 && k.AggregateType == Account && k.AggregateID == "10"
		}},
	} {
		ex := newStore(t)
		all := scattered(t, ex)
		var chosen, others []evento.SnapshotKey
		for _, k := range all {
			if tt.chooses(k) {
				chosen = append(chosen, k)
			} else {
				others = append(others, k)
			}
		}
		for _, ex := range []evento.Executor{ex, &smallPages{Executor: ex}} {
			wantSnapshots(t, tt.name, ex, chosen, tt.filters...)
		}
		n, err := evento.DeleteSnapshots(t.Context(), &smallPages{Executor: ex}, tt.filters...)
		if err != nil || n != len(chosen) {
			t.Errorf("%s: DeleteSnapshots: %d, %v, want %d", tt.name, n, err, len(chosen))
		}
		wantSnapshots(t, tt.name+", deleted", ex, nil, tt.filters...)
		wantSnapshots(t, "but "+tt.name, ex, others)
	}
}

func wantSnapshots(t *testing.T, what string, ex evento.Executor, want []evento.SnapshotKey, filters ...evento.SnapshotFilter) {
	t.Helper()
	var got []evento.SnapshotKey
	for s, err := range evento.Snapshots(t.Context(), ex, filters...) {
		noErr(t, err)
		if s.Version != 3 || s.Position != 5 || s.Size != 5 || s.Data != nil {
			t.Errorf("%s: %+v", what, s)
		}
		got = append(got, s.SnapshotKey)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %d snapshots %v\nwant %d %v", what, len(got), got, len(want), want)
	}
}

// What cannot be chosen is not read page after page.
func TestSnapshotsOfPassesOver(t *testing.T) {
	t.Parallel()
	ex := &smallPages{Executor: newStore(t)}
	p := logging("p")
	for i := range 200 {
		deposits(t, ex, fmt.Sprintf("id %03d", i), 1)
	}
	noErr(t, keeping(p).Execute(t.Context(), ex))
	noErr(t, logging("q").Keep("q").Execute(t.Context(), ex))
	noErr(t, logging("p").Revision(1).Keep("p1").Execute(t.Context(), ex))
	for _, tt := range []struct {
		name string
		do   func() (int, error)
		want int
		most int
	}{
		{"an aggregate", func() (int, error) {
			return evento.DeleteSnapshots(t.Context(), ex, evento.SnapshotsOfAggregate(Account, "id 123"))
		}, 3, 24},
		{"another", func() (int, error) {
			return evento.DeleteSnapshots(t.Context(), ex, evento.SnapshotsOfAggregate(Account, "nobody"))
		}, 0, 6},
		{"what is unused", func() (int, error) { return p.DeleteUnusedSnapshots(t.Context(), ex) }, 0, 80},
		{"a revision", func() (int, error) {
			return evento.DeleteSnapshots(t.Context(), ex, evento.SnapshotsOfRevision("p", 0))
		}, 199, 68},
	} {
		ex.pages = 0
		if n, err := tt.do(); err != nil || n != tt.want || ex.pages > tt.most {
			t.Errorf("%s: %d, %v with %d pages, want %d with at most %d", tt.name, n, err, ex.pages, tt.want, tt.most)
		}
	}
}

func TestSnapshotsOfMistakes(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	scattered(t, ex)
	for name, filters := range map[string][]evento.SnapshotFilter{
		"an empty projection":    {evento.SnapshotsOf("")},
		"a revision":             {evento.SnapshotsOfRevision("p", math.MaxInt64+1)},
		"an empty type":          {evento.SnapshotsOf("p"), evento.SnapshotsOfAggregate("", "a")},
		"an empty id":            {evento.SnapshotsOfAggregate(Account, "")},
		"two projections":        {evento.SnapshotsOf("p"), evento.SnapshotsOfRevision("p", 1)},
		"two aggregates":         {evento.SnapshotsOfAggregate(Account, "a"), evento.SnapshotsOfAggregate(Account, "b")},
		"an empty one and a few": {evento.SnapshotsOf(""), evento.SnapshotsOfAggregate(Account, "a")},
	} {
		if n, err := evento.DeleteSnapshots(t.Context(), ex, filters...); n != 0 || !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("%s: DeleteSnapshots: %d, %v, want ErrInvalid", name, n, err)
		}
		for s, err := range evento.Snapshots(t.Context(), ex, filters...) {
			if !errors.Is(err, evento.ErrInvalid) {
				t.Errorf("%s: Snapshots: %v, %v, want ErrInvalid", name, s, err)
			}
		}
	}
	// Errors of the store are last, and what was deleted before is counted.
	n, last := 0, error(nil)
	for _, last = range evento.Snapshots(t.Context(), &smallPages{Executor: ex, fails: errPoor}) {
		n++
	}
	if n != 7 || !errors.Is(last, errPoor) {
		t.Errorf("Snapshots: %d times, at last %v, want six snapshots and the error", n, last)
	}
	if n, err := evento.DeleteSnapshots(t.Context(), &smallPages{Executor: ex, fails: errPoor}); n != 6 || !errors.Is(err, errPoor) {
		t.Errorf("DeleteSnapshots: %d, %v, want 6 and the error", n, err)
	}
	for _, err := range evento.Snapshots(t.Context(), ex) {
		noErr(t, err)
		break
	}
}

// What another revision or shape has stored is unused, but for what a subscription
// keeps.
func TestDeleteUnusedSnapshots(t *testing.T) {
	t.Parallel()
	type shape struct{ N int }
	ex := newStore(t)
	accounts(t, ex, 3, 1)
	load := func(p interface {
		Load(context.Context, evento.Executor, string, ...evento.LoadOption) (*evento.Loaded[eventLog], error)
	}, opts ...evento.LoadOption) {
		t.Helper()
		_, err := p.Load(t.Context(), ex, "account 0", opts...)
		noErr(t, err)
	}
	related := evento.Related(Account, "account 1")
	r0, r1, r2 := logging("p").SnapshotEvery(1), logging("p").SnapshotEvery(1).Revision(1), logging("p").SnapshotEvery(1).Revision(2)
	noErr(t, keeping(r0).Execute(t.Context(), ex))
	load(r0, related)
	load(r1)
	load(r1, related)
	load(r2)
	load(logging("other").SnapshotEvery(1).Revision(7))
	_, err := evento.NewProjection[shape]("p", Account).Revision(1).SnapshotEvery(1).Load(t.Context(), ex, "account 2")
	noErr(t, err)
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	_, err = evento.NewProjection[shape]("p", ownerType).SnapshotEvery(1).Load(t.Context(), ex, "o") // of the same name, which it should not have
	noErr(t, err)
	left := func() (all []string) {
		for s, err := range evento.Snapshots(t.Context(), ex) {
			noErr(t, err)
			all = append(all, fmt.Sprint(s.Projection, s.Revision, strings.TrimPrefix(s.AggregateID, "account ")))
		}
		slices.Sort(all)
		return all
	}
	unused := func(what string, p *evento.Projection[eventLog], n int, leaves ...string) {
		t.Helper()
		if got, err := p.DeleteUnusedSnapshots(t.Context(), ex); err != nil || got != n {
			t.Errorf("%s: %d snapshots, %v, want %d", what, got, err, n)
		}
		want(t, what, left(), leaves...)
	}
	unused("kept ones stay", r1, 3, "other70", "p00", "p01", "p02", "p0o", "p10", "p10")
	wantKept(t, "kept", ex, r0, "account 0", "account 1", "account 2")
	noErr(t, keeping(r1).Execute(t.Context(), ex))
	unused("kept no more", r1, 3, "other70", "p0o", "p10", "p10", "p11", "p12")
	wantKept(t, "kept", ex, r1, "account 0", "account 1", "account 2")
	noErr(t, evento.ControlOf(ex, "s").Remove(t.Context()))
	unused("of a subscription that is gone", r2, 4, "other70", "p0o")
	if _, err := logging("").DeleteUnusedSnapshots(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("a mistake: %v, want ErrInvalid", err)
	}
	if _, err := evento.NewProjection[struct{ n int }]("p", Account).DeleteUnusedSnapshots(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("a state without snapshots: %v, want ErrInvalid", err)
	}
}
