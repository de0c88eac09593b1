package evento

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// The index finds exactly the followers whose queries match an event, and what is
// read for all of them has every such event, whoever comes and goes.
func TestFollowerIndex(t *testing.T) {
	t.Parallel()
	for range 50 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		types, names := 1+r.IntN(40), 1+r.IntN(3)
		anyType := func() AggregateType { return AggregateType(fmt.Sprint("type ", r.IntN(types))) }
		anyID := func() string { return fmt.Sprint("id ", r.IntN(3)) }
		anyName := func() string { return fmt.Sprint("Name ", r.IntN(names)) }
		anyKey := func() string { return []string{"", "left", "right"}[r.IntN(3)] }
		var x index
		var s interests
		var all []*follower
		queries := map[*follower]Query{}
		for range 60 {
			if r.IntN(3) > 0 || len(all) == 0 {
				var q Query
				for range r.IntN(5) {
					f := ByType(anyType())
					if r.IntN(2) == 0 {
						f.AggregateID = anyID()
					}
					if r.IntN(2) == 0 {
						f.Name = anyName()
					}
					q.Filters = append(q.Filters, f)
				}
				if len(q.Filters) == 0 && r.IntN(2) == 0 {
					q.Filters = []Filter{ByType("type 0")}
				}
				if r.IntN(3) == 0 {
					q.RoutingKey = anyKey()
					q.Unrouted = q.RoutingKey == ""
				}
				w := &follower{keys: interestKeys(q)}
				queries[w] = q
				all = append(all, w)
				x.add(w)
				s.add(w)
			} else {
				i := r.IntN(len(all))
				x.remove(all[i])
				s.remove(all[i])
				all = slices.Delete(all, i, i+1)
			}
			narrow := s.narrow()
			if err := narrow.Check(); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				e := RawEvent{AggregateType: anyType(), AggregateID: anyID(), Name: anyName(), RoutingKey: anyKey()}
				found := slices.Clone(x.find(&e))
				for _, w := range all {
					i := slices.Index(found, w)
					if queries[w].Matches(e) != (i >= 0) {
						t.Fatalf("seed %d: %+v and %+v: found %t", seed, e, queries[w], i >= 0)
					}
					if i < 0 {
						continue
					}
					if found = slices.Delete(found, i, i+1); !narrow.Matches(e) {
						t.Fatalf("seed %d: %+v is not read by %+v, of which %+v", seed, e, narrow, queries[w])
					}
				}
				if len(found) > 0 {
					t.Fatalf("seed %d: %+v: found twice, or who has left: %d", seed, e, len(found))
				}
			}
		}
		for _, w := range all {
			x.remove(w)
			s.remove(w)
		}
		if len(x.byKey)+len(s.followers)+len(s.kinds)+len(s.routings)+len(x.forms) > 0 {
			t.Fatalf("seed %d: with nobody left: %+v %+v", seed, x, s)
		}
	}
}

// What is read is what the followers need, as far as a short query can say it.
func TestNarrowQuery(t *testing.T) {
	t.Parallel()
	kinds := func(n int, f func(i int) Filter) (fs []Filter) {
		for i := range n {
			fs = append(fs, f(i))
		}
		return fs
	}
	ofID := func(i int) Filter { return ByID("t", fmt.Sprint(i)) }
	ofType := func(i int) Filter { return ByType(AggregateType(fmt.Sprintf("t%02d", i))) }
	ofKind := func(i int) Filter { return Filter{AggregateType: "t", Name: fmt.Sprintf("n%02d", i)} }
	for _, test := range []struct {
		name    string
		queries []Query
		want    Query
	}{
		{"aggregates of one type", []Query{{Filters: kinds(500, ofID)}, {Filters: kinds(1000, ofID)}}, Query{Filters: []Filter{ByType("t")}}},
		{"kinds", []Query{{Filters: kinds(9, ofKind)}, {Filters: kinds(16, ofKind)}}, Query{Filters: kinds(16, ofKind)}},
		{"a kind of a whole type", []Query{{Filters: kinds(2, ofKind)}, {Filters: kinds(1, ofID)}}, Query{Filters: []Filter{ByType("t")}}},
		{"more kinds", []Query{{Filters: kinds(17, ofKind)}}, Query{Filters: []Filter{ByType("t")}}},
		{"types", []Query{{Filters: kinds(16, ofType)}}, Query{Filters: kinds(16, ofType)}},
		{"more types", []Query{{Filters: kinds(17, ofType)}}, Query{}},
		{"everything", []Query{{Filters: kinds(1, ofType)}, {}}, Query{}},
		{"one routing key", []Query{{Filters: kinds(1, ofType), RoutingKey: "k"}, {RoutingKey: "k"}}, Query{RoutingKey: "k"}},
		{"no routing key", []Query{{Filters: kinds(1, ofType), Unrouted: true}}, Query{Filters: kinds(1, ofType), Unrouted: true}},
		{"two routing keys", []Query{{Filters: kinds(1, ofType), Unrouted: true}, {Filters: kinds(1, ofType), RoutingKey: "k"}}, Query{Filters: kinds(1, ofType)}},
		{"whatever routing key", []Query{{Filters: kinds(1, ofType)}, {Filters: kinds(1, ofType), RoutingKey: "k"}}, Query{Filters: kinds(1, ofType)}},
	} {
		var s interests
		for _, q := range test.queries {
			s.add(&follower{keys: interestKeys(q)})
		}
		if got := s.narrow(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}
