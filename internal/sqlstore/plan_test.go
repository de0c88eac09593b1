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
