package sqlstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	names := sqlstore.PlanNames[int64]{
		Routing: func(key string) (int64, error) { return map[string]int64{"r": 9}[key], nil },
		Kinds: func(f evento.Filter) ([]int64, error) {
			if f.Name == "" && f.AggregateID != "" {
				return nil, nil
			}
			return map[string][]int64{"": {1, 2}, "one": {1}, "two": {2}}[f.Name], nil
		},
		Aggregate: func(a evento.AggregateKey) (int64, error) { return map[string]int64{"x": 5, "y": 6}[a.ID], nil },
	}
	of := func(name, id string) evento.Filter {
		return evento.Filter{AggregateType: "a", AggregateID: id, Name: name}
	}
	for _, tt := range []struct {
		q    evento.Query
		want string
	}{
		{evento.Query{}, "none false everything true routing 0 [] []"},
		{evento.Query{RoutingKey: "r"}, "none false everything true routing 9 [] []"},
		{evento.Query{RoutingKey: "s"}, "none true everything true routing 0 [] []"},
		{evento.Query{Filters: []evento.Filter{of("", "")}}, "none false everything false routing 0 [1 2] []"},
		{evento.Query{Filters: []evento.Filter{of("two", ""), of("", ""), of("one", "")}}, "none false everything false routing 0 [2 1] []"},
		{evento.Query{Filters: []evento.Filter{of("three", "")}}, "none true everything false routing 0 [] []"},
		{evento.Query{Filters: []evento.Filter{of("", "x"), of("", "y")}}, "none false everything false routing 0 [] [{5 []} {6 []}]"},
		{evento.Query{Filters: []evento.Filter{of("one", "x"), of("two", "x"), of("one", "x")}}, "none false everything false routing 0 [] [{5 [1 2]}]"},
		{evento.Query{Filters: []evento.Filter{of("one", "x"), of("", "x"), of("two", "x")}}, "none false everything false routing 0 [] [{5 []}]"},
		{evento.Query{Filters: []evento.Filter{of("three", "x"), of("", "z")}}, "none true everything false routing 0 [] []"},
	} {
		p, err := sqlstore.NewPlan(tt.q, names)
		got := fmt.Sprintf("none %t everything %t routing %d %v %v", p.None, p.Everything, p.Routing, p.Kinds, p.Aggregates)
		if err != nil || got != tt.want {
			t.Errorf("NewPlan(%+v): %s, %v; want %s", tt.q, got, err, tt.want)
		}
	}
}

// Of names that are all known the plan is the one that the store's would be.
func TestKnownPlan(t *testing.T) {
	t.Parallel()
	d := sqlstore.NewDictionary(nil)
	d.Routings.Add(9, "r")
	d.Types.Add(3, "a")
	d.Kinds.Add(1, sqlstore.Kind{TypeID: 3, Name: "one"})
	d.Kinds.Add(2, sqlstore.Kind{TypeID: 3, Name: "two"})
	d.Types.Add(4, "empty")
	key := func(a sqlstore.Aggregate) int64 {
		return map[sqlstore.Aggregate]int64{{TypeID: 3, ID: "x"}: 5, {TypeID: 3, ID: "y"}: 6}[a]
	}
	of := func(t evento.AggregateType, name, id string) evento.Filter {
		return evento.Filter{AggregateType: t, AggregateID: id, Name: name}
	}
	for _, tt := range []struct {
		q    evento.Query
		want string // "": not known
	}{
		{evento.Query{}, "everything true unrouted false routing 0 kinds [] aggregates [] whole [] with 0"},
		{evento.Query{Unrouted: true}, "everything true unrouted true routing 0 kinds [] aggregates [] whole [] with 0"},
		{evento.Query{RoutingKey: "r"}, "everything true unrouted false routing 9 kinds [] aggregates [] whole [] with 0"},
		{evento.Query{RoutingKey: "s"}, ""},
		{evento.Query{Filters: []evento.Filter{of("a", "", ""), of("a", "", "")}}, "everything false unrouted false routing 0 kinds [1 2] aggregates [] whole [3] with 2"},
		{evento.Query{Filters: []evento.Filter{of("a", "two", ""), of("a", "one", "y")}}, "everything false unrouted false routing 0 kinds [2] aggregates [{6 [1]}] whole [] with 0"},
		{evento.Query{Filters: []evento.Filter{of("a", "", "x"), of("a", "", "y")}}, "everything false unrouted false routing 0 kinds [] aggregates [{5 []} {6 []}] whole [] with 0"},
		{evento.Query{Filters: []evento.Filter{of("a", "three", "")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("a", "three", "x")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("a", "", "z")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("b", "", "x")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("b", "", "")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("empty", "", "")}}, ""},
		{evento.Query{Filters: []evento.Filter{of("a", "", "x"), of("b", "", "x")}}, ""},
	} {
		p, known := sqlstore.KnownPlan(d, tt.q, key)
		got := fmt.Sprintf("everything %t unrouted %t routing %d kinds %v aggregates %v whole %v with %d", p.Everything, p.Unrouted, p.Routing, p.Kinds, p.Aggregates, p.WholeTypes, p.WholeKinds)
		if known != (tt.want != "") || known && got != tt.want {
			t.Errorf("KnownPlan(%+v): %s, %t; want %q", tt.q, got, known, tt.want)
		}
	}
}

func TestVersionAt(t *testing.T) {
	t.Parallel()
	positions := []int64{3, 7, 8, 20} // of versions 1 to 4
	at := func(version int64) (int64, error) { return positions[version-1], nil }
	for _, tt := range []struct {
		position        int64
		below, backward int64
	}{{1, 0, 1}, {5, 1, 2}, {9, 3, 4}, {19, 3, 4}, {21, 4, 5}} {
		below, err := sqlstore.VersionAt(4, tt.position, false, at)
		above, err2 := sqlstore.VersionAt(4, tt.position, true, at)
		if err := errors.Join(err, err2); err != nil || below != tt.below || above != tt.backward {
			t.Errorf("VersionAt(%d) = %d, and %d backward, %v; want %d and %d", tt.position, below, above, err, tt.below, tt.backward)
		}
	}
	failure := errors.New("failure")
	if _, err := sqlstore.VersionAt(4, 5, false, func(int64) (int64, error) { return 0, failure }); !errors.Is(err, failure) {
		t.Errorf("VersionAt() = %v, want %v", err, failure)
	}
}
