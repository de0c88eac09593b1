package evento_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func TestQueryCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		q    evento.Query
		want string // "": no error
	}{
		{"everything", evento.Query{}, ""},
		{"unrouted", evento.Query{Unrouted: true}, ""},
		{"filters", evento.Query{Filters: []evento.Filter{evento.ByType("t"), evento.ByID("t", "i"), {AggregateType: "t", Name: "n"}}, RoutingKey: "k"}, ""},
		{"as many filters as allowed", evento.Query{Filters: slices.Repeat([]evento.Filter{evento.ByType("t")}, evento.MaxFilters)}, ""},
		{"more", evento.Query{Filters: slices.Repeat([]evento.Filter{evento.ByType("t")}, evento.MaxFilters+1)}, "invalid query: 1001 filters, at most 1000 are allowed"},
		{"no type", evento.Query{Filters: []evento.Filter{{AggregateID: "i"}}}, "invalid aggregate type: empty"},
		{"type", evento.Query{Filters: []evento.Filter{evento.ByType("a\n")}}, "invalid aggregate type"},
		{"id", evento.Query{Filters: []evento.Filter{evento.ByID("t", "a\n")}}, "invalid aggregate id"},
		{"event", evento.Query{Filters: []evento.Filter{evento.ByEvent(loose{"t", "a\n"})}}, "invalid event name"},
		{"no id", evento.Query{Filters: []evento.Filter{evento.ByID("t", "")}}, "aggregate id: empty"},
		{"no id of an event", evento.Query{Filters: []evento.Filter{evento.ByIDAndEvent("", loose{"t", "n"})}}, "aggregate id: empty"},
		{"nil", evento.Query{Filters: []evento.Filter{evento.ByEvent(nil)}}, "the payload is nil"},
		{"a nil pointer", evento.Query{Filters: []evento.Filter{evento.ByIDAndEvent("i", (*renamed)(nil))}}, "the payload is nil"},
		{"routing key", evento.Query{RoutingKey: "a\n"}, "invalid routing key"},
		{"both routed and not", evento.Query{RoutingKey: "k", Unrouted: true}, `invalid query: both Unrouted and RoutingKey "k"`},
	} {
		err := test.q.Check()
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, evento.ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestQueryMatches(t *testing.T) {
	t.Parallel()
	e := evento.RawEvent{AggregateType: "t", AggregateID: "i", Name: "n", RoutingKey: "k"}
	unrouted := e
	unrouted.RoutingKey = ""
	filters := func(fs ...evento.Filter) evento.Query { return evento.Query{Filters: fs} }
	for _, test := range []struct {
		name string
		q    evento.Query
		e    evento.RawEvent
		want bool
	}{
		{"everything", evento.Query{}, e, true},
		{"its type", filters(evento.ByType("t")), e, true},
		{"another type", filters(evento.ByType("T")), e, false},
		{"its id", filters(evento.ByID("t", "i")), e, true},
		{"its id of another type", filters(evento.ByID("u", "i")), e, false},
		{"another id", filters(evento.ByID("t", "i ")), e, false},
		{"its event", filters(evento.ByEvent(loose{"t", "n"})), e, true},
		{"another event", filters(evento.ByEvent(loose{"t", "m"})), e, false},
		{"its id and event", filters(evento.ByIDAndEvent("i", loose{"t", "n"})), e, true},
		{"another id, its event", filters(evento.ByIDAndEvent("j", loose{"t", "n"})), e, false},
		{"its id, another event", filters(evento.ByIDAndEvent("i", loose{"t", "m"})), e, false},
		{"the second of two", filters(evento.ByType("u"), evento.ByType("t")), e, true},
		{"none of two", filters(evento.ByType("u"), evento.ByID("t", "j")), e, false},
		{"its key", evento.Query{RoutingKey: "k"}, e, true},
		{"another key", evento.Query{RoutingKey: "l"}, e, false},
		{"a key, without one", evento.Query{RoutingKey: "k"}, unrouted, false},
		{"unrouted, with a key", evento.Query{Unrouted: true}, e, false},
		{"unrouted, without", evento.Query{Unrouted: true}, unrouted, true},
		{"its key, another type", evento.Query{RoutingKey: "k", Filters: []evento.Filter{evento.ByType("u")}}, e, false},
	} {
		if got := test.q.Matches(test.e); got != test.want {
			t.Errorf("%s: %+v matches %+v: %t, want %t", test.name, test.q, test.e, got, test.want)
		}
	}
}

func TestEventsReadsEveryPage(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const n = 2345 // three pages
	deposits(t, ex, "a", n)
	commit(t, ex, evento.Aggregate("b").Event(AccountOpened{}))
	all := evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(MoneyDeposited{})}})
	for range 2 { // ranging again reads again
		var next uint64 = 1
		for e, err := range all {
			if err != nil {
				t.Fatal(err)
			}
			if e.Position != next {
				t.Fatalf("position %d came, want %d", e.Position, next)
			}
			next++
		}
		if next != n+1 {
			t.Errorf("%d events came, want %d", next-1, n)
		}
	}
}

func TestEventsReachesWhatIsCommittedMeanwhile(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1001)
	got := 0
	for _, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; got == 1 {
			deposits(t, ex, "b", 5)
		}
	}
	if got != 1006 {
		t.Errorf("%d events came, want 1001 and the 5 of meanwhile", got)
	}
}

func TestEventsBreak(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1500)
	reads := 0
	counting := &hooked{Executor: ex, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		reads++
		return ex.Read(ctx, q, args)
	}}
	for e, err := range evento.Events(t.Context(), counting, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position == 3 {
			break
		}
	}
	if reads != 1 {
		t.Errorf("%d pages were read for 3 events, want 1", reads)
	}
}

func TestEventsErrorIsLast(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1500)
	errDisk := errors.New("disk on fire")
	failing := &hooked{Executor: ex, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		if args.At() != "" {
			return nil, errDisk
		}
		return ex.Read(ctx, q, args)
	}}
	got, failed := 0, 0
	for e, err := range evento.Events(t.Context(), failing, evento.Query{}) {
		switch {
		case failed > 0:
			t.Errorf("after the error came %+v, %v", e, err)
		case err != nil:
			failed++
			if !errors.Is(err, errDisk) {
				t.Errorf("the error is %v, want %v", err, errDisk)
			}
		default:
			got++
		}
	}
	if got != 1000 || failed != 1 {
		t.Errorf("%d events and %d errors came, want the 1000 of the first page and 1", got, failed)
	}
	for _, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{{}}}) {
		if !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("events of an invalid query: %v, want ErrInvalid", err)
		}
	}
}

func TestHasEvent(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	commit(t, ex, evento.Aggregate("a-owner").Event(&renamed{}))
	for _, test := range []struct {
		id   string
		has  func(context.Context, evento.Executor, string) (bool, error)
		want bool
	}{
		{"a", evento.HasEvent[AccountOpened], true},
		{"a", evento.HasEvent[MoneyDeposited], false},
		{"b", evento.HasEvent[AccountOpened], false},
		{"a-owner", evento.HasEvent[*renamed], true},
		{"a", evento.HasEvent[*renamed], false},
	} {
		if got, err := test.has(t.Context(), ex, test.id); got != test.want || err != nil {
			t.Errorf("%+v: %t, %v", test, got, err)
		}
	}
}
