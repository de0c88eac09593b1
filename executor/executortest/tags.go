// Tags: what an event is found by besides its aggregate.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testTags(t *testing.T, c Config) {
	c.run(t, "Each", tagsEach)
	c.run(t, "Texts", tagsTexts)
	c.run(t, "Copied", tagsCopied)
	c.run(t, "SameNumber", tagsSameNumber)
	c.run(t, "Most", tagsMost)
	c.run(t, "Rare", tagsRare)
	c.run(t, "Fresh", tagsFresh)
	c.run(t, "Refused", tagsRefused)
	if !c.NoPositions {
		c.run(t, "Conditions", tagsConditions)
	}
}

// randomTags are up to two tags of few; mostly none.
func randomTags(r *rand.Rand) []string {
	return [][]string{nil, nil, nil, {"a"}, {"b"}, {"a", "b"}, {"b", "c"}, {"c"}}[r.IntN(8)]
}

// tagged gives the events of an append their tags: one list for each.
func tagged(a evento.Append, tags ...[]string) evento.Append {
	for i := range tags {
		a.Events[i].Tags = tags[i]
	}
	return a
}

// Every combination of tags with the other fields of a filter.
func tagsEach(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	lists := [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"b", "a", "c"}, {"c"}}
	for i, key := range []string{"", "left", "right"} {
		for _, typ := range []evento.AggregateType{thing, other} {
			a := tagged(to(fmt.Sprint("id ", i), 0, "Name0", "Name1", "Name2", "Name0", "Name1", "Name2"), lists...)
			a.AggregateType, a.RoutingKey = typ, key
			if i == 1 {
				a.Metadata = evento.Metadata{ID: "m", Values: map[string]string{"tags": `"tags":["a"]`}}
			}
			commit(ctx, t, ex, a)
		}
	}
	m := model(readAll(ctx, t, ex, evento.Query{}))
	for _, q := range []evento.Query{{}, {Unrouted: true}, {RoutingKey: "left"}, {RoutingKey: "none"}} {
		for _, tags := range [][]string{{"a"}, {"b"}, {"c"}, {"a", "b"}, {"b", "a"}, {"c", "a", "b"}, {"none"}, {"a", "none"}, {"none", "a"}} {
			filters := []evento.Filter{evento.ByTags(tags...)}
			for _, typ := range []evento.AggregateType{thing, "executortest/None"} {
				for _, id := range []string{"", "id 1", "none"} {
					for _, name := range []string{"", "Name1", "None"} {
						filters = append(filters, evento.Filter{AggregateType: typ, AggregateID: id, Name: name, Tags: tags})
					}
				}
			}
			for i, f := range filters {
				q.Filters = []evento.Filter{f}
				m.wantPage(ctx, t, ex, q, cursor.Forward(len(m)+1, ""))
				m.wantPage(ctx, t, ex, q, everyWay(2, m[(7*i)%len(m)].Cursor)[i%3])
				q.Filters = []evento.Filter{f, evento.ByTags("c"), evento.ByID(other, "id 2"), {AggregateType: thing, Name: "Name2"}}[:2+i%3]
				m.wantPage(ctx, t, ex, q, cursor.Forward(len(m)+1, ""))
			}
		}
	}
}

// Texts that a store may fold, or take for part of its own format.
func tagsTexts(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	texts := []string{
		"course:go", "Course:go", "course:go ", " course:go", "course:", "\u00e9", "e\u0301", "ß", "ss", "日本", "😀", "\u00a0",
		`"`, `\`, `"]}`, `a","b`, `\"`, `{"tags":["x"]}`, "<b>&", "%", "_", "a", "a,b", "'; --", "\ufffd", "null", "1", strings.Repeat("é", 127), strings.Repeat("x", evento.MaxName),
	}
	metadata := evento.Metadata{ID: `"tags":["z"]`}
	for i, tag := range texts {
		a := tagged(to(fmt.Sprint(i), 0, "One", "Two"), []string{tag}, []string{tag, "another", texts[0] + "!"})
		if i%2 == 1 {
			a.Metadata = metadata
		}
		commit(ctx, t, ex, a)
	}
	m := model(readAll(ctx, t, ex, evento.Query{}))
	for i, tag := range texts {
		if got := m[2*i].Node.Tags; !slices.Equal(got, []string{tag}) {
			t.Errorf("the event with tag %q has %q", tag, got)
		}
		m.wantPage(ctx, t, ex, filtered(evento.ByTags(tag)), cursor.Forward(10, ""))
		m.wantPage(ctx, t, ex, filtered(evento.ByTags("another", tag)), cursor.Forward(10, ""))
	}
	for _, tag := range []string{"z", "x", "b", "course", "COURSE:GO"} {
		m.wantPage(ctx, t, ex, filtered(evento.ByTags(tag)), cursor.Forward(10, ""))
	}
}

// What a caller or a reader writes to a slice of tags changes nothing in the store.
func tagsCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for i := range 2 {
		given := []string{"a", "b"}
		commit(ctx, t, ex, tagged(to(fmt.Sprint(i), 0, "A", "B"), given, given))
		given[0] = "mine"
	}
	q := filtered(evento.ByTags("a", "b"))
	for range 2 {
		got := read(ctx, t, ex, q, cursor.Onward(10, "")).Edges
		if len(got) != 4 {
			t.Fatalf("%d events have both tags, want 4", len(got))
		}
		for i := range got {
			if !slices.Equal(got[i].Node.Tags, []string{"a", "b"}) {
				t.Fatalf("event %d has tags %q", i, got[i].Node.Tags)
			}
			got[i].Node.Tags[0] = "mine"
		}
	}
}

// Two tags with one FNV-1a hash of 64 bits, which an index may use.
const twinA, twinB = "363581d884d1a7db", "c05c3cec0e471599"

// Such tags are told apart.
func tagsSameNumber(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for i := range 40 {
		commit(ctx, t, ex, tagged(to(fmt.Sprint(i), 0, "A", "B", "C", "D"), []string{twinA}, []string{twinB}, []string{twinA, twinB}, []string{twinB, "x"}))
	}
	m := model(readAll(ctx, t, ex, evento.Query{}))
	for _, f := range []evento.Filter{
		evento.ByTags(twinA), evento.ByTags(twinB), evento.ByTags(twinA, twinB), evento.ByTags(twinA, "x"), evento.ByTags("x", twinB),
		{AggregateType: thing, Name: "C", Tags: []string{twinA}}, {AggregateType: thing, AggregateID: "7", Tags: []string{twinB}},
	} {
		for _, args := range append(everyWay(5, m[70].Cursor), cursor.Forward(5, ""), cursor.Onward(30, ""), cursor.Backward(30, ""), cursor.Forward(200, "")) {
			m.wantPage(ctx, t, ex, filtered(f), args)
			m.wantPage(ctx, t, ex, filtered(f, evento.ByID(thing, "3")), args)
		}
	}
	// A condition on the one is not about the other.
	if c := (evento.Condition{Query: filtered(evento.ByTags(twinA, "x"))}); m.excludedBy(c.Query, 0) != 0 {
		t.Fatalf("%+v matches", c)
	}
}

// As many tags as an event may have, on as many events as a commit may have.
func tagsMost(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a := to("one", 0, many(evento.MaxCommitEvents/10, "A")...)
	for i := range a.Events {
		a.Events[i].Tags = make([]string, evento.MaxTags)
		for j := range a.Events[i].Tags {
			a.Events[i].Tags[j] = fmt.Sprintf("tag %d of %d", j, (i+j)%7)
		}
	}
	long := to("long", 0, many(20, "A")...)
	for i := range long.Events {
		for j := range evento.MaxTags {
			long.Events[i].Tags = append(long.Events[i].Tags, fmt.Sprint(j, strings.Repeat(`"`, evento.MaxName-2)))
		}
	}
	commit(ctx, t, ex, a)
	commit(ctx, t, ex, long)
	m := model(readAll(ctx, t, ex, evento.Query{}))
	for i := range a.Events {
		if got := m[i].Node.Tags; !slices.Equal(got, a.Events[i].Tags) {
			t.Fatalf("event %d: got tags %q, want %q", i, got, a.Events[i].Tags)
		}
	}
	for _, f := range []evento.Filter{evento.ByTags(a.Events[0].Tags...), evento.ByTags(a.Events[6].Tags[3:9]...), evento.ByTags(long.Events[0].Tags...)} {
		m.wantPage(ctx, t, ex, filtered(f), cursor.Forward(100, ""))
		m.wantPage(ctx, t, ex, filtered(f), cursor.Backward(7, m[500].Cursor))
	}
}

// Few events have both of two tags that many have.
func tagsRare(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	r := rand.New(rand.NewPCG(11, 12))
	for i := range 12 {
		a := to(fmt.Sprint("id ", i%3), uint64(i/3*100), many(100, "Name1")...)
		a.RoutingKey = []string{"", "left", ""}[i%3]
		for j := range a.Events {
			switch n := 100*i + j; {
			case n%97 == 5:
				a.Events[j].Tags = []string{"even", "odd", "rare"}
			case n%2 == 0:
				a.Events[j].Tags = []string{"even"}
			default:
				a.Events[j].Tags = []string{"odd"}
			}
		}
		commit(ctx, t, ex, a)
	}
	m := model(readAll(ctx, t, ex, evento.Query{}))
	filters := []evento.Filter{
		evento.ByTags("even"), evento.ByTags("rare"), evento.ByTags("even", "odd"), evento.ByTags("odd", "even"), evento.ByTags("rare", "odd"), evento.ByTags("odd", "rare"),
		{AggregateType: thing, AggregateID: "id 1", Tags: []string{"odd", "even"}}, {AggregateType: thing, Tags: []string{"even", "rare"}}, {AggregateType: thing, Name: "Name1", Tags: []string{"even"}},
		evento.ByID(thing, "id 2"),
	}
	for range 120 {
		q := filtered(filters[r.IntN(len(filters))])
		if r.IntN(3) == 0 {
			q.Filters = append(q.Filters, filters[r.IntN(len(filters))])
		}
		q.Unrouted = r.IntN(6) == 0
		m.wantPage(ctx, t, ex, q, randomArgs(r, m))
	}
}

// Who waits for a tag that no event has yet gets its first event.
func tagsFresh(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for round := range freshRounds / 3 {
		tag := fmt.Sprint("fresh ", round)
		waitForFresh(ctx, t, ex, filtered(evento.ByTags(tag, "all")), tagged(to(tag, 0, "Made"), []string{"all", tag}))
	}
}

func tagsRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	most := make([]string, evento.MaxTags+1)
	for i := range most {
		most[i] = fmt.Sprint(i)
	}
	for _, tags := range [][]string{most, {""}, {"a", "a"}, {"a\x00b"}, {"a\nb"}, {"\xff"}, {strings.Repeat("x", evento.MaxName+1)}} {
		refuse(ctx, t, ex, write(tagged(to("a", 0, "A"), tags)), evento.ErrInvalid)
		refuse(ctx, t, ex, unless(to("a", 0, "A"), evento.Condition{Query: filtered(evento.ByTags(tags...))}), evento.ErrInvalid)
		wantError(t, discard(ex.Read(ctx, filtered(evento.ByTags(tags...)), cursor.Forward(1, ""))), evento.ErrInvalid, "Read(%.200q)", tags)
	}
	for _, f := range []evento.Filter{evento.ByTags(), {Name: "A", Tags: []string{"a"}}, {AggregateID: "a", Tags: []string{"a"}}} {
		wantError(t, discard(ex.Read(ctx, filtered(f), cursor.Forward(1, ""))), evento.ErrInvalid, "Read(%+v)", f)
	}
	wantLog(ctx, t, ex, nil)
}

// Conditions on tags, judged in the same flush as what they exclude: of each round, one
// alone gets the place that several want.
func tagsConditions(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	const rounds, racers = 6, 8
	for round := range rounds {
		begin := endOf(ctx, t, ex)
		student := func(i int) string { return fmt.Sprint("student ", round, i%4) }
		course := fmt.Sprint("course ", round)
		q := func(i int) evento.Query { return filtered(evento.ByTags(course, student(i))) }
		won := make([]bool, racers)
		together(t, racers, func(t testing.TB, i int) {
			a := tagged(to(fmt.Sprint("place ", round, i), 0, "Taken"), []string{student(i), course, "all"})
			err := discard(tryCommit(ctx, exs[i%len(exs)], unless(a, evento.Condition{Query: q(i), After: begin})))
			if won[i] = err == nil; err != nil {
				wantError(t, err, evento.ErrConflict, "Write of %d", i)
			}
		})
		for i := range 4 {
			if n := len(readOnwardOf(ctx, t, ex, q(i), begin)); n != 1 || won[i] == won[i+4] {
				t.Errorf("round %d: %s has %d places, and of two racers %t and %t have won, want one", round, student(i), n, won[i], won[i+4])
			}
		}
	}
	soundLog(ctx, t, c, ex)
}

// readOnwardOf reads what matches behind a place.
func readOnwardOf(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, at cursor.Value) model {
	t.Helper()
	return model(read(ctx, t, ex, q, cursor.Onward(cursor.MaxPage, at)).Edges)
}
