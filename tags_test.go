package evento_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// labelled is a payload with any tags.
type labelled struct {
	Labels []string `cbor:"-" json:"-"`
}

func (*labelled) AggregateType() evento.AggregateType { return Account }
func (*labelled) EventName() string                   { return "Labelled" }
func (l *labelled) Tags() []string                    { return l.Labels }

// relabelled has the method of the payload that it embeds.
type relabelled struct{ reminded }

// The tags of a payload are stored with its events, each once, in its order.
func TestTagged(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var most []string
	for i := range evento.MaxTags {
		most = append(most, fmt.Sprint(i))
	}
	long := strings.Repeat("ü", evento.MaxName/2)
	tests := []struct {
		payload evento.Payload
		want    []string
	}{
		{AccountOpened{}, nil},
		{&labelled{}, nil},
		{&labelled{[]string{}}, nil},
		{&labelled{[]string{"b", "a:1", "b", " ", "a:1", "b"}}, []string{"b", "a:1", " "}},
		{reminded{Tagged: []string{"r"}}, []string{"r"}},
		{relabelled{reminded{Tagged: []string{"e"}}}, []string{"e"}},
		{&labelled{append(slices.Clone(most), most...)}, most},
		{&labelled{[]string{long}}, []string{long}},
	}
	b := evento.Aggregate("a")
	for _, test := range tests {
		b.Event(test.payload)
	}
	commit(t, ex, b)
	for i, e := range events(t, ex) {
		wantList(t, fmt.Sprint("event ", i), e.Tags, tests[i].want...)
	}
}

// Tags that cannot be stored are named, with their event.
func TestTaggedRefused(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var many []string
	for i := range evento.MaxTags + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for name, test := range map[string]struct {
		tags []string
		says string
	}{
		"empty":        {[]string{"a", ""}, `event "Labelled": invalid tag: empty`},
		"too many":     {many, `event "Labelled": invalid tags: 17, at most 16 are allowed`},
		"too long":     {[]string{strings.Repeat("x", evento.MaxName+1)}, "256 bytes, at most 255 are allowed"},
		"a line break": {[]string{"a\n"}, `invalid tag "a\n": control character`},
		"no UTF-8":     {[]string{"\xff"}, "not valid UTF-8"},
	} {
		_, err := evento.CommitAll(t.Context(), ex, opened("b"), opened("a").Event(&labelled{test.tags}))
		if text := fmt.Sprint(err); !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(text, "evento: ") || strings.Count(text, "evento:") != 1 || !strings.Contains(text, test.says) {
			t.Errorf("%s: CommitAll() = %v, want ErrInvalid and %q", name, err, test.says)
		}
		for _, q := range []evento.Query{{Filters: []evento.Filter{evento.ByTags(test.tags...)}}, {Filters: []evento.Filter{evento.ByType(Account), {AggregateType: Account, Tags: test.tags}}}} {
			if err := lastOf(evento.Events(t.Context(), ex, q)); !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(fmt.Sprint(err), "evento: invalid tag") {
				t.Errorf("%s: Events() = %v, want ErrInvalid", name, err)
			}
		}
	}
	if err := lastOf(evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByTags()}})); fmt.Sprint(err) != "evento: invalid filter: tags: none" {
		t.Errorf("Events() by no tags = %v", err)
	}
	if n := len(events(t, ex)); n != 0 {
		t.Errorf("%d events were stored", n)
	}
}

// tagFilters are queries over tags, and the numbers of the events of taggedStore that match.
func tagFilters() []struct {
	filters []evento.Filter
	want    []uint64
} {
	both := evento.ByTags("x", "y")
	ofType := evento.ByType(placeType)
	ofType.Tags = []string{"course:go"}
	ofEvent := evento.ByEvent(placeLeft{})
	ofEvent.Tags = []string{"student:ann", "course:go"}
	ofID := evento.ByID(Account, "a")
	ofID.Tags = []string{"x"}
	return []struct {
		filters []evento.Filter
		want    []uint64
	}{
		{[]evento.Filter{evento.ByTags("x")}, []uint64{1, 2, 4}},
		{[]evento.Filter{both}, []uint64{2, 4}},
		{[]evento.Filter{evento.ByTags("y", "x")}, []uint64{2, 4}},
		{[]evento.Filter{evento.ByTags("X")}, nil},
		{[]evento.Filter{evento.ByTags("x", "z")}, nil},
		{[]evento.Filter{evento.ByTags("course:go")}, []uint64{5, 6, 7}},
		{[]evento.Filter{ofType}, []uint64{6, 7}},
		{[]evento.Filter{ofEvent}, []uint64{7}},
		{[]evento.Filter{ofID}, []uint64{1, 2}},
		{[]evento.Filter{both, ofEvent, evento.ByTags("y")}, []uint64{2, 3, 4, 7}},
		{[]evento.Filter{evento.ByTags("x"), evento.ByID(Account, "b")}, []uint64{1, 2, 3, 4}},
	}
}

// addTagged commits the events that tagFilters know.
func addTagged(t *testing.T, ex evento.Executor) {
	t.Helper()
	commit(t, ex, evento.Aggregate("a").Event(&labelled{[]string{"x"}}, &labelled{[]string{"x", "y"}}))
	commit(t, ex, evento.Aggregate("b").Event(&labelled{[]string{"y"}}, &labelled{[]string{"z2", "y", "x"}}))
	create(t, ex, courseSet{"go"}, placeTaken{"go", "bob"}, placeLeft{"go", "ann"}, AccountOpened{})
}

// Events by their tags.
func TestByTags(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	addTagged(t, ex)
	for _, test := range tagFilters() {
		var got []uint64
		for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: test.filters}) {
			noErr(t, err)
			got = append(got, e.Position)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("Events(%+v): got %v, want %v", test.filters, got, test.want)
		}
	}
	tags := []string{"x"}
	f := evento.ByTags(tags...)
	tags[0] = "changed"
	if !slices.Equal(f.Tags, []string{"x"}) {
		t.Errorf("the filter has the tags %q, which the caller has changed since", f.Tags)
	}
}

// Followers see the events that have their tags, those that come later too.
func TestFollowByTags(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	results := make(chan func(), len(tagFilters()))
	for _, test := range tagFilters() {
		query := evento.Query{Filters: append(test.filters, evento.ByTags("the end"))}
		go func() {
			var got []uint64
			var failed error
			for e, err := range evento.Follow(t.Context(), ex, query, "") {
				if failed = err; err != nil || e.Tags[0] == "the end" {
					break
				}
				got = append(got, e.Position)
			}
			results <- func() {
				if failed != nil || !slices.Equal(got, test.want) {
					t.Errorf("Follow(%+v): got %v, %v, want %v", test.filters, got, failed, test.want)
				}
			}
		}()
	}
	addTagged(t, ex)
	commit(t, ex, opened("c").Event(&labelled{[]string{"the end"}}))
	for range tagFilters() {
		(<-results)()
	}
}

// Handlers and appliers see the tags of their events.
func TestHandlersSeeTags(t *testing.T) {
	t.Parallel()
	for _, transactional := range []bool{false, true} {
		ex := newStore(t)
		addTagged(t, ex)
		var got []string
		b := evento.NewSubscription("s").Handler(
			evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				got = append(got, fmt.Sprint(e.Position, e.Tags))
				return nil
			}),
			evento.Handle(func(_ context.Context, e evento.Event[placeTaken]) error {
				got = append(got, fmt.Sprint(e.Position, e.Tags))
				return nil
			}),
		)
		if transactional {
			b.Transactional()
		}
		noErr(t, b.Execute(t.Context(), ex))
		wantList(t, "handled", got, "1 [x]", "2 [x y]", "3 [y]", "4 [z2 y x]", "6 [course:go student:bob]", "8 []")
		applied := evento.NewProjection[[]string]("tags", Account).Handler(evento.Apply(func(s *[]string, e evento.Event[*labelled]) error {
			*s = append(*s, e.Tags...)
			return nil
		}))
		l, err := applied.Load(t.Context(), ex, "b")
		noErr(t, err)
		wantList(t, "applied", l.State, "y", "z2", "y", "x")
	}
}
