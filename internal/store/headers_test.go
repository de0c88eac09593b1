package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/evento-go/evento"
)

// TestConditionMatches holds conditions against events as [evento.Query.Matches] does.
func TestConditionMatches(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(kind string) string { return kind + fmt.Sprint(r.IntN(3)) }
	maybe := func(kind string) string {
		if r.IntN(2) == 0 {
			return ""
		}
		return pick(kind)
	}
	tags := func(most int) (tags []string) {
		for range r.IntN(most + 1) {
			tags = append(tags, pick("tag"))
		}
		return tags
	}
	matched := 0
	const rounds = 20_000
	for range rounds {
		a := evento.Append{
			AggregateType: evento.AggregateType(pick("type")), AggregateID: pick("id"),
			Events: []evento.NewEvent{{Name: pick("name"), Tags: tags(3)}},
		}
		q := evento.Query{RoutingKey: maybe("key"), Unrouted: r.IntN(4) == 0}
		for range r.IntN(3) {
			q.Filters = append(q.Filters, evento.Filter{
				AggregateType: evento.AggregateType(maybe("type")), AggregateID: maybe("id"), Name: maybe("name"), Tags: tags(2),
			})
		}
		h, unknown := Headers(&a, 7, maybe("key"))[0], Headers(&a, 7, UnknownRouting)[0]
		c := conditionOf(q, 0)
		got, err := c.matches(&h)
		if want := q.Matches(h.RawEvent); got != want || err != nil {
			t.Fatalf("%+v matches %+v: %t, %v, want %t", q, h.RawEvent, got, err, want)
		}
		if got {
			matched++
		}
		concerned := (evento.Query{Filters: q.Filters}).Matches(h.RawEvent)
		if all := (&Conditions{all: []condition{c}}); all.Concern([]Header{h}) != concerned {
			t.Fatalf("%+v is concerned by %+v: %t, want %t", q, h.RawEvent, !concerned, concerned)
		}
		_, err = c.matches(&unknown)
		if behind := concerned && (q.RoutingKey != "" || q.Unrouted); errors.Is(err, ErrBehind) != behind {
			t.Fatalf("%+v matches %+v without its routing key: %v, want ErrBehind: %t", q, h.RawEvent, err, behind)
		}
	}
	if matched < rounds/20 || matched > rounds/2 {
		t.Errorf("%d of %d events match", matched, rounds)
	}
}
