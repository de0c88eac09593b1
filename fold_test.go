package evento_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const (
	courseType evento.AggregateType = "school/Course"
	placeType  evento.AggregateType = "school/Place"
)

// The facts of a school, of which none is of the aggregate of another.
type (
	courseSet   struct{ Course string }
	placeTaken  struct{ Course, Student string }
	placeLeft   struct{ Course, Student string }
	placeMarked struct{ Course, Student string }
)

func (courseSet) AggregateType() evento.AggregateType   { return courseType }
func (courseSet) EventName() string                     { return "CourseSet" }
func (c courseSet) Tags() []string                      { return []string{"course:" + c.Course} }
func (placeTaken) AggregateType() evento.AggregateType  { return placeType }
func (placeTaken) EventName() string                    { return "PlaceTaken" }
func (placeTaken) FormerNames() []string                { return []string{"Subscribed", "Enrolled"} }
func (p placeTaken) Tags() []string                     { return []string{"course:" + p.Course, "student:" + p.Student} }
func (placeLeft) AggregateType() evento.AggregateType   { return placeType }
func (placeLeft) EventName() string                     { return "PlaceLeft" }
func (p placeLeft) Tags() []string                      { return placeTaken(p).Tags() }
func (placeMarked) AggregateType() evento.AggregateType { return placeType }
func (placeMarked) EventName() string                   { return "PlaceMarked" }
func (p placeMarked) Tags() []string                    { return placeTaken(p).Tags() }

// school appliers tell each event as a word. That of placeMarked is not among them.
func school() []evento.Applier[[]string] {
	return []evento.Applier[[]string]{
		evento.Apply(func(s *[]string, e evento.Event[courseSet]) error {
			*s = append(*s, "set")
			return nil
		}),
		evento.Apply(func(s *[]string, e evento.Event[placeTaken]) error {
			*s = append(*s, "+"+e.Data.Student)
			return nil
		}),
		evento.Apply(func(s *[]string, e evento.Event[placeLeft]) error {
			*s = append(*s, "-"+e.Data.Student)
			return nil
		}),
	}
}

func create(t *testing.T, ex evento.Executor, payloads ...evento.Payload) {
	t.Helper()
	for _, p := range payloads {
		commit(t, ex, evento.Create().Event(p))
	}
}

// Events of several kinds and of former names, whatever their aggregates, in the order of
// positions; without those that have not all of the tags, or no applier.
func TestFold(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	create(t, ex, placeTaken{"go", "ann"}, courseSet{"go"}, courseSet{"sql"}, placeTaken{"go", "bob"}, placeMarked{"go", "bob"})
	for i, former := range []string{"Subscribed", "Enrolled", "Other"} {
		data, err := evento.CBOR().Marshal(placeTaken{"go", former})
		noErr(t, err)
		_, err = ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{AggregateType: placeType, AggregateID: fmt.Sprint(i), Events: []evento.NewEvent{
			{ID: evento.NewID(), Name: former, Codec: "cbor", Data: data, Tags: []string{"x", "student:" + former, "course:go"}},
		}}}})
		noErr(t, err)
	}
	commit(t, ex, evento.Create().Codec(evento.JSON()).Event(placeLeft{"go", "ann"}, placeTaken{"sql", "ann"}, placeTaken{"go", "cid"}))
	for _, test := range []struct {
		tags []string
		want []string
	}{
		{[]string{"course:go"}, []string{"+ann", "set", "+bob", "+Subscribed", "+Enrolled", "-ann", "+cid"}},
		{[]string{"course:sql"}, []string{"set", "+ann"}},
		{[]string{"student:ann"}, []string{"+ann", "-ann", "+ann"}},
		{[]string{"student:ann", "course:go"}, []string{"+ann", "-ann"}},
		{[]string{"course:go", "student:ann", "x"}, nil},
		{[]string{"course"}, nil},
	} {
		got, err := evento.Fold(t.Context(), ex, test.tags, school()...)
		noErr(t, err)
		wantList(t, fmt.Sprintf("Fold(%q)", test.tags), got, test.want...)
		if test.want == nil && got != nil {
			t.Errorf("Fold(%q) without events = %#v, want the zero value", test.tags, got)
		}
	}
	one, err := evento.Fold(t.Context(), ex, []string{"course:go"}, school()[2])
	noErr(t, err)
	wantList(t, "with one applier", one, "-ann")
}

// More events than are read at once.
func TestFoldMany(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const n = 2500
	b := evento.Create()
	for i := range n {
		b.Event(placeTaken{fmt.Sprint(i % 2), fmt.Sprint(i)})
	}
	commit(t, ex, b)
	last := ""
	counts := evento.Apply(func(n *int, e evento.Event[placeTaken]) error {
		*n++
		last = e.Data.Student
		return nil
	})
	got, err := evento.Fold(t.Context(), ex, []string{"course:1"}, counts)
	if err != nil || got != n/2 || last != fmt.Sprint(n-1) {
		t.Errorf("Fold() = %d, %v, the last is %s; want %d until %d", got, err, last, n/2, n-1)
	}
	pages := 0
	got, err = evento.Fold(t.Context(), &hooked{Executor: ex, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		if pages++; pages == 2 {
			return nil, errOutOfOrder
		}
		return ex.Read(ctx, q, args)
	}}, []string{"course:1"}, counts)
	if got != 0 || !errors.Is(err, errOutOfOrder) {
		t.Errorf("Fold() when the second page fails = %d, %v, want no state and %v", got, err, errOutOfOrder)
	}
}

// The error says what of, and the state is none.
func TestFoldErrors(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	create(t, store, placeTaken{"go", "ann"}, placeTaken{"go", "bob"})
	data := []byte{0xff}
	_, err := store.Write(t.Context(), evento.Write{Appends: []evento.Append{{AggregateType: placeType, AggregateID: "broken", Events: []evento.NewEvent{
		{ID: evento.NewID(), Name: "PlaceLeft", Codec: "cbor", Data: data, Tags: []string{"course:go"}},
	}}}})
	noErr(t, err)
	failing := &hooked{Executor: store, read: func(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		return nil, errOutOfOrder
	}}
	var many []string
	for i := range evento.MaxTags + 1 {
		many = append(many, fmt.Sprint(i))
	}
	counts := evento.Apply(func(n *int, e evento.Event[placeTaken]) error {
		if *n++; e.Data.Student == "bob" {
			return errPoor
		}
		return nil
	})
	left := evento.Apply(func(n *int, _ evento.Event[placeLeft]) error {
		*n++
		return nil
	})
	former := evento.Apply(func(*int, evento.Event[enrolledBefore]) error { return nil })
	tags := []string{"course:go"}
	for name, test := range map[string]struct {
		ex       evento.Executor
		tags     []string
		appliers []evento.Applier[int]
		want     error
		says     string
	}{
		"no tags":            {store, nil, []evento.Applier[int]{left}, evento.ErrInvalid, "invalid fold: it needs tags and appliers"},
		"no appliers":        {store, tags, nil, evento.ErrInvalid, "invalid fold: it needs tags and appliers"},
		"an empty applier":   {store, tags, []evento.Applier[int]{left, {}}, evento.ErrInvalid, "fold: invalid handler: it is empty"},
		"no function":        {store, tags, []evento.Applier[int]{evento.Apply[int, placeLeft](nil)}, evento.ErrInvalid, "fold: invalid handler"},
		"a bad payload":      {store, tags, []evento.Applier[int]{evento.Apply(func(*int, evento.Event[twice]) error { return nil })}, evento.ErrInvalid, "fold: payload evento_test.twice"},
		"two of a kind":      {store, tags, []evento.Applier[int]{left, counts, left}, evento.ErrInvalid, "invalid fold: two appliers for school/Place PlaceLeft"},
		"two of a name":      {store, tags, []evento.Applier[int]{counts, former}, evento.ErrInvalid, "two appliers for school/Place Subscribed"},
		"an empty tag":       {store, []string{"a", ""}, []evento.Applier[int]{left}, evento.ErrInvalid, "invalid tag: empty"},
		"a tag twice":        {store, []string{"a", "b", "a"}, []evento.Applier[int]{left}, evento.ErrInvalid, `"a" is there twice`},
		"too many tags":      {store, many, []evento.Applier[int]{left}, evento.ErrInvalid, "17, at most 16"},
		"an applier's":       {store, tags, []evento.Applier[int]{counts}, errPoor, `fold of ["course:go"]: school/Place PlaceTaken of `},
		"an undecodable one": {store, tags, []evento.Applier[int]{left}, evento.ErrDecode, `evento: undecodable event: school/Place PlaceLeft of "broken", version 1, position 3`},
		"the store's":        {failing, tags, []evento.Applier[int]{left}, errOutOfOrder, "out of order"},
	} {
		n, err := evento.Fold(t.Context(), test.ex, test.tags, test.appliers...)
		if text := fmt.Sprint(err); n != 0 || !errors.Is(err, test.want) || !strings.Contains(text, test.says) || test.ex == store && (!strings.HasPrefix(text, "evento: ") || strings.Count(text, "evento:") != 1) {
			t.Errorf("%s: Fold() = %d, %v\nwant no state, %q, and \"evento: \" once, at the front, and %q", name, n, err, test.want, test.says)
		}
	}
}

type enrolledBefore struct{}

func (enrolledBefore) AggregateType() evento.AggregateType { return placeType }
func (enrolledBefore) EventName() string                   { return "Subscribed" }

// A decision depends on what it has folded: on there being no further event that has all of
// the tags and an applier, and on nothing else.
func TestFoldWithinDecide(t *testing.T) {
	t.Parallel()
	both := []string{"course:go", "student:ann"}
	for name, test := range map[string]struct {
		tags  []string
		racer evento.Payload
		runs  int
	}{
		"one that matches":            {[]string{"course:go"}, placeTaken{"go", "new"}, 2},
		"of another kind":             {[]string{"course:go"}, placeLeft{"go", "new"}, 2},
		"without an applier":          {[]string{"course:go"}, placeMarked{"go", "ann"}, 1},
		"with another tag":            {[]string{"course:go"}, placeTaken{"sql", "ann"}, 1},
		"with both tags":              {both, placeTaken{"go", "ann"}, 2},
		"with the first of two tags":  {both, placeTaken{"go", "new"}, 1},
		"with the second of two tags": {both, placeTaken{"sql", "ann"}, 1},
		"the first":                   {[]string{"course:art"}, courseSet{"art"}, 2},
		"without a tag":               {[]string{"course:go"}, AccountOpened{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := newStore(t)
			create(t, ex, courseSet{"go"}, placeTaken{"go", "ann"}, placeTaken{"sql", "ann"})
			runs, seen := 0, 0
			_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
				words, err := evento.Fold(ctx, d, test.tags, school()...)
				if err != nil {
					return err
				}
				seen = len(words)
				if runs++; runs == 1 {
					create(t, ex, test.racer)
				}
				return only(evento.Create().Event(placeTaken{"art", "bob"}).Commit(ctx, d))
			})
			if err != nil || runs != test.runs {
				t.Errorf("Decide() = %v after %d runs, want %d", err, runs, test.runs)
			}
			before, err := evento.Fold(t.Context(), ex, test.tags, school()...)
			noErr(t, err)
			if test.tags[0] == "course:art" {
				before = before[1:] // its own
			}
			if len(before) != seen {
				t.Errorf("the decision was made on %d events, and there were %d", seen, len(before))
			}
		})
	}
}

// What the decision has committed is part of what it folds.
func TestFoldReadsWhatDecideCommits(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	create(t, ex, placeTaken{"go", "ann"})
	_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.Create().Event(placeTaken{"go", "bob"}, placeTaken{"sql", "bob"}).Commit(ctx, d); err != nil {
			return err
		}
		words, err := evento.Fold(ctx, d, []string{"course:go"}, school()...)
		wantList(t, "Fold() within", words, "+ann", "+bob")
		return err
	})
	noErr(t, err)
}
