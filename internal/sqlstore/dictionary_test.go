package sqlstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

func dictionary(t *testing.T) *sqlstore.Dictionary {
	t.Helper()
	d := sqlstore.NewDictionary(nil)
	d.Types.Add(1, "a")
	d.Kinds.Add(5, sqlstore.Kind{TypeID: 1, Name: "five"})
	d.Kinds.Add(3, sqlstore.Kind{TypeID: 1, Name: "three"})
	d.Kinds.Add(3, sqlstore.Kind{TypeID: 1, Name: "three"})
	d.Routings.Add(9, "r")
	return d
}

// What is added over another is found there alone, with what the other has, until
// it is published.
func TestDictionaryOfATransaction(t *testing.T) {
	t.Parallel()
	base := dictionary(t)
	over := sqlstore.NewDictionary(base)
	over.Types.Add(2, "b")
	over.Kinds.Add(7, sqlstore.Kind{TypeID: 2, Name: "seven"})
	over.Kinds.Add(4, sqlstore.Kind{TypeID: 1, Name: "four"})
	over.Routings.Add(10, "s")
	look := func(d *sqlstore.Dictionary) string {
		r, known := d.Routings.Name(10)
		return fmt.Sprintln(d.Types.ID("a"), d.Types.ID("b"), d.Kinds.ID(sqlstore.Kind{TypeID: 1, Name: "five"}), d.Kinds.ID(sqlstore.Kind{TypeID: 2, Name: "seven"}),
			d.Routings.ID("r"), d.Routings.ID("s"), d.KindsOf(1), d.KindsOf(2), r, known)
	}
	for _, tt := range []struct {
		when string
		d    *sqlstore.Dictionary
		want string
	}{
		{"below, before", base, "1 0 5 0 9 0 [5 3] []  false\n"},
		{"over it, before", over, "1 2 5 7 9 10 [3 4 5] [7] s true\n"},
	} {
		if got := look(tt.d); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.when, got, tt.want)
		}
	}
	over.Publish()
	over.Publish()
	if got, want := look(base), "1 2 5 7 9 10 [5 3 4] [7] s true\n"; got != want {
		t.Errorf("below, afterwards: got %q, want %q", got, want)
	}
}

// Only kinds that were added as all there are count as complete: others may have
// been made in between.
func TestDictionaryComplete(t *testing.T) {
	t.Parallel()
	base := dictionary(t)
	if n := base.Complete(); n != 0 {
		t.Errorf("complete up to %d, want 0: kinds 1, 2 and 4 may be there", n)
	}
	over := sqlstore.NewDictionary(base)
	over.AddKinds([]sqlstore.NumberedKind{{Kind: sqlstore.Kind{TypeID: 1, Name: "six"}, ID: 6, Type: "a"}})
	if base.Complete() != 0 || over.Complete() != 6 {
		t.Errorf("complete up to %d, and %d over it; want 0 and 6", base.Complete(), over.Complete())
	}
	over.Publish()
	if base.Complete() != 6 {
		t.Errorf("complete up to %d when that is published, want 6", base.Complete())
	}
}

func TestDictionaryFinds(t *testing.T) {
	t.Parallel()
	d := dictionary(t)
	calls := 0
	read := func() (int64, error) { calls++; return 20, nil }
	for range 2 {
		kind, err := d.Kinds.Find(sqlstore.Kind{TypeID: 1, Name: "new"}, read)
		known, err2 := d.Kinds.Find(sqlstore.Kind{TypeID: 1, Name: "five"}, read)
		typ, err3 := d.Types.Find("new", read)
		key, err4 := d.Routings.Find("new", read)
		if err := errors.Join(err, err2, err3, err4); err != nil || kind != 20 || known != 5 || typ != 20 || key != 20 || calls != 3 {
			t.Errorf("found %d, %d, %d, %d with %d reads, %v; want 20, 5, 20, 20 with 3", kind, known, typ, key, calls, err)
		}
	}
	failure := errors.New("failure")
	if id, err := d.Types.Find("b", func() (int64, error) { return 8, failure }); id != 0 || !errors.Is(err, failure) {
		t.Errorf("FindType that cannot read: %d, %v", id, err)
	}
	if id, err := d.Types.Find("b", func() (int64, error) { return 0, nil }); id != 0 || err != nil || d.Types.ID("b") != 0 {
		t.Errorf("FindType of what is not there: %d, %v", id, err)
	}
}

func TestKindsFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		f         evento.Filter
		want      []int64
		refreshed bool
	}{
		{evento.Filter{AggregateType: "a"}, []int64{5, 3, 6}, true},
		{evento.Filter{AggregateType: "a", Name: "five"}, []int64{5}, false},
		{evento.Filter{AggregateType: "a", Name: "six"}, []int64{6}, true},
		{evento.Filter{AggregateType: "a", Name: "seven"}, nil, true},
		{evento.Filter{AggregateType: "b"}, nil, true},
		{evento.Filter{AggregateType: "a", AggregateID: "1"}, nil, false},
		{evento.Filter{AggregateType: "a", AggregateID: "1", Name: "five"}, []int64{5}, false},
	} {
		d, refreshed := dictionary(t), false
		got, err := d.KindsFor(tt.f, func() error {
			refreshed = true
			d.AddKinds([]sqlstore.NumberedKind{{Kind: sqlstore.Kind{TypeID: 1, Name: "six"}, ID: 6, Type: "a"}})
			return nil
		})
		if err != nil || !slices.Equal(got, tt.want) || refreshed != tt.refreshed {
			t.Errorf("KindsFor(%+v) = %v, %v, refreshed %t; want %v, %t", tt.f, got, err, refreshed, tt.want, tt.refreshed)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	base := dictionary(t)
	d := sqlstore.NewDictionary(base)
	d.Kinds.Add(7, sqlstore.Kind{TypeID: 1, Name: "seven"})
	for _, tt := range []struct {
		kind, routing int64
		want          string
		fetched       bool
	}{
		{5, 9, "a five r", false},
		{7, 0, "a seven ", false},
		{8, 9, "a eight r", true},
		{12, 0, "", true},
		{5, 12, "", true},
	} {
		n, fetched := sqlstore.EventNames{KindID: tt.kind, RoutingID: tt.routing}, false
		err := d.Resolve(&n, func() error {
			fetched = true
			d.Kinds.Add(8, sqlstore.Kind{TypeID: 1, Name: "eight"})
			return nil
		})
		var e evento.RawEvent
		n.Into(&e)
		got := fmt.Sprint(e.AggregateType, " ", e.Name, " ", e.RoutingKey)
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want || fetched != tt.fetched {
			t.Errorf("kind %d and key %d are %q, %v, fetched %t; want %q, %t", tt.kind, tt.routing, got, err, fetched, tt.want, tt.fetched)
		}
	}
}

// Routing keys are as many as an application has customers: the memory for them is
// bounded, and one that is forgotten is read again.
func TestDictionaryForgets(t *testing.T) {
	t.Parallel()
	const all = 400_000
	d := sqlstore.NewDictionary(nil)
	for id := int64(1); id <= all; id++ {
		d.Routings.Add(id, fmt.Sprint("customer ", id))
	}
	known := 0
	for id := int64(1); id <= all; id++ {
		name, ok := d.Routings.Name(id)
		if ok != (d.Routings.ID(fmt.Sprint("customer ", id)) == id) || ok && name != fmt.Sprint("customer ", id) {
			t.Fatalf("the name of %d is %q (%t), and the number of that %d", id, name, ok, d.Routings.ID(name))
		}
		if ok {
			known++
		}
	}
	if known < 1<<16 || known > 1<<17 {
		t.Errorf("%d routing keys are kept, want %d to %d", known, 1<<16, 1<<17)
	}
	if id, err := d.Routings.Find("customer 1", func() (int64, error) { return 1, nil }); id != 1 || err != nil {
		t.Errorf("a forgotten one: Find() = %d, %v, want what is read", id, err)
	}
	if name, ok := d.Routings.Name(1); name != "customer 1" || !ok {
		t.Errorf("a forgotten one was read again: %q, %t", name, ok)
	}
	over := sqlstore.NewDictionary(d)
	for id := int64(all + 1); id <= 2*all; id++ {
		over.Routings.Add(id, fmt.Sprint("customer ", id))
	}
	if id := over.Routings.ID(fmt.Sprint("customer ", all+1)); id != all+1 {
		t.Errorf("a transaction has forgotten a name of its own: %d", id)
	}
}
