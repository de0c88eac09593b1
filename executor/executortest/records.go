// Records: small state that is changed by comparing and swapping.

package executortest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func testRecords(t *testing.T, c Config) {
	c.run(t, "Revisions", recordsRevisions)
	c.run(t, "AllOrNothing", recordsAllOrNothing)
	c.run(t, "Order", recordsOrder)
	c.run(t, "Apart", recordsApart)
	c.run(t, "Pages", recordsPages)
	c.run(t, "RandomPages", recordsRandomPages)
	c.run(t, "Values", recordsValues)
	c.run(t, "Largest", recordsLargest)
	c.run(t, "BytesAreCopied", recordsBytesAreCopied)
	c.run(t, "Times", recordsTimes)
	c.run(t, "Refused", recordsRefused)
	c.run(t, "AfterStrangeNames", recordsAfterStrangeNames)
	c.run(t, "RefusedQueries", recordsRefusedQueries)
	c.run(t, "OneWins", recordsOneWins)
	c.run(t, "Counter", recordsCounter)
	c.run(t, "Together", recordsTogether)
	if c.Share != nil {
		c.run(t, "Shared", recordsShared)
	}
}

// kind is that of the records of most tests.
const kind = "executortest"

func recordKey(key, part string) evento.RecordKey {
	return evento.RecordKey{Kind: kind, Key: key, Part: part}
}

// set makes a record that is at a revision, or is new at 0, have a value.
func set(k evento.RecordKey, revision uint64, value string) evento.Change {
	return evento.Change{RecordKey: k, Revision: revision, Value: []byte(value)}
}

func unset(k evento.RecordKey, revision uint64) evento.Change {
	return evento.Change{RecordKey: k, Revision: revision, Remove: true}
}

func swapOf(changes ...evento.Change) evento.Swap { return evento.Swap{Changes: changes} }

// swap changes records, which must succeed.
func swap(ctx context.Context, t testing.TB, ex evento.Executor, changes ...evento.Change) {
	t.Helper()
	if err := ex.Swap(ctx, swapOf(changes...)); err != nil {
		t.Fatalf("Swap(%s): %v", showChanges(changes), err)
	}
}

// swapAll is swap for any number of changes.
func swapAll(ctx context.Context, t testing.TB, ex evento.Executor, changes []evento.Change) {
	t.Helper()
	for c := range slices.Chunk(changes, evento.MaxSwap) {
		swap(ctx, t, ex, c...)
	}
}

// refuseSwap makes a swap that must fail with an error that matches want, and
// leave the records of a kind as they were.
func refuseSwap(ctx context.Context, t testing.TB, ex evento.Executor, s evento.Swap, want error) {
	t.Helper()
	before := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind})
	wantError(t, ex.Swap(ctx, s), want, "Swap(%s)", showChanges(s.Changes))
	sameRecords(t, "after a Swap that was refused", readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}), before)
}

// recordPage is Records with a look at what is promised of every page.
func recordPage(ctx context.Context, t testing.TB, ex evento.Executor, q evento.RecordQuery) *evento.RecordPage {
	t.Helper()
	p, err := ex.Records(ctx, q)
	if err != nil {
		t.Fatalf("Records(%+v): %v", q, err)
	}
	if len(p.Records) > cmp.Or(q.Limit, evento.MaxRecords) || p.More && len(p.Records) == 0 {
		t.Fatalf("Records(%+v): got a page of %d records, more %t", q, len(p.Records), p.More)
	}
	last := q.After
	for _, r := range p.Records {
		switch {
		case r.Kind != q.Kind, q.Key != "" && r.Key != q.Key, r.Compare(last) <= 0:
			t.Fatalf("Records(%+v): got %+v after %+v", q, r.RecordKey, last)
		case r.Revision == 0:
			t.Fatalf("Records(%+v): got %+v at revision 0", q, r.RecordKey)
		case r.ChangedAt.IsZero() || r.ChangedAt.Location() != time.UTC:
			t.Fatalf("Records(%+v): got %+v changed at %v, want a time in UTC", q, r.RecordKey, r.ChangedAt)
		}
		last = r.RecordKey
	}
	if p.Now.Location() != time.UTC {
		t.Fatalf("Records(%+v): got %v for Now, want it in UTC", q, p.Now)
	}
	return p
}

// readRecords reads page after page.
func readRecords(ctx context.Context, t testing.TB, ex evento.Executor, q evento.RecordQuery) []evento.Record {
	t.Helper()
	var all []evento.Record
	for {
		p := recordPage(ctx, t, ex, q)
		all = append(all, p.Records...)
		if !p.More {
			return all
		}
		q.After = all[len(all)-1].RecordKey
	}
}

// readRecord returns one record, or the zero Record when there is none.
func readRecord(ctx context.Context, t testing.TB, ex evento.Executor, k evento.RecordKey) evento.Record {
	t.Helper()
	for _, r := range readRecords(ctx, t, ex, evento.RecordQuery{Kind: k.Kind, Key: k.Key}) {
		if r.RecordKey == k {
			return r
		}
	}
	return evento.Record{}
}

// wantRecords compares the records with what changes make.
func wantRecords(ctx context.Context, t testing.TB, ex evento.Executor, made ...evento.Change) {
	t.Helper()
	sameRecords(t, "the records", readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}), recordsOf(made...))
}

// recordsOf is what changes make, in order. Of their times nothing is known.
func recordsOf(made ...evento.Change) []evento.Record {
	rs := make([]evento.Record, len(made))
	for i, c := range made {
		rs[i] = evento.Record{RecordKey: c.RecordKey, Revision: c.Revision + 1, Value: c.Value}
	}
	slices.SortFunc(rs, func(a, b evento.Record) int { return a.Compare(b.RecordKey) })
	return rs
}

// sameRecords compares records, and their times where both are known.
func sameRecords(t testing.TB, what string, got, want []evento.Record) {
	t.Helper()
	same(t, what, got, want, func(got, want evento.Record) string {
		timed := want.ChangedAt.IsZero() || got.ChangedAt.Equal(want.ChangedAt)
		if got.RecordKey == want.RecordKey && got.Revision == want.Revision && timed && bytes.Equal(got.Value, want.Value) {
			return ""
		}
		return fmt.Sprintf("got %s, want %s", showRecord(got), showRecord(want))
	})
}

func showRecord(r evento.Record) string {
	return fmt.Sprintf("%.100q at revision %d, changed at %v, value %.100q", []string{r.Kind, r.Key, r.Part}, r.Revision, r.ChangedAt, r.Value)
}

func showChanges(changes []evento.Change) string {
	s := ""
	for i, c := range changes {
		if i == 4 {
			return s + fmt.Sprintf(" and %d changes more", len(changes)-i)
		}
		verb := "set"
		if c.Remove {
			verb = "remove"
		}
		s += fmt.Sprintf("[%s %.40q at %d]", verb, []string{c.Kind, c.Key, c.Part}, c.Revision)
	}
	return s
}

// Revisions count the changes from 1 on, and only a change that knows the
// present one is made.
func recordsRevisions(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const most = 1<<62 - 1
	k, beside := recordKey("key", "part"), set(recordKey("key", ""), 0, "beside")
	swap(ctx, t, ex, beside)
	for life := range 3 {
		for revision := range uint64(6) {
			for _, wrong := range []uint64{0, 1, 2, 3, 4, 5, 6, 7, 1000, most} {
				if wrong == revision {
					continue
				}
				refuseSwap(ctx, t, ex, swapOf(set(k, wrong, "stale")), evento.ErrSwapped)
				if wrong > 0 {
					refuseSwap(ctx, t, ex, swapOf(unset(k, wrong)), evento.ErrSwapped)
				}
			}
			c := set(k, revision, fmt.Sprint("value ", life, revision))
			if revision == 4 {
				c.Value = []byte(fmt.Sprint("value ", life, revision-1)) // the same as before is a change too
			}
			swap(ctx, t, ex, c)
			wantRecords(ctx, t, ex, c, beside)
		}
		swap(ctx, t, ex, unset(k, 6))
		wantRecords(ctx, t, ex, beside)
		refuseSwap(ctx, t, ex, swapOf(unset(k, 6)), evento.ErrSwapped)
	}
}

// Wherever in the swap the change is that does not fit, and in whatever way.
func recordsAllOrNothing(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const changes = 5
	there := func(i int) evento.RecordKey { return recordKey(fmt.Sprint("there ", i%2), fmt.Sprint(i)) }
	var bystanders []evento.Change
	for i := range changes {
		bystanders = append(bystanders, set(recordKey("bystander", fmt.Sprint(i)), 0, "before"))
		swap(ctx, t, ex, set(there(i), 0, "before"), bystanders[i])
	}
	good := func() []evento.Change {
		added := func(part string) evento.Change { return set(recordKey("new", part), 0, "after") }
		return []evento.Change{set(there(0), 1, "after"), added("1"), unset(there(2), 1), set(there(3), 1, "after"), added("4")}
	}
	for bad := range changes {
		for _, stale := range []evento.Change{
			set(there(0), 2, "stale"), set(there(0), 0, "stale"), unset(there(0), 3),
			set(recordKey("missing", ""), 1, "stale"), unset(recordKey("missing", ""), 1),
		} {
			cs := good()
			cs[0] = set(recordKey("new", "first"), 0, "after") // as there(0) may be the stale one
			cs[bad] = stale
			refuseSwap(ctx, t, ex, evento.Swap{Changes: cs, Wake: true}, evento.ErrSwapped)
		}
	}
	cs := good()
	swap(ctx, t, ex, cs...)
	made := slices.DeleteFunc(cs, func(c evento.Change) bool { return c.Remove })
	wantRecords(ctx, t, ex, slices.Concat(made, bystanders, []evento.Change{set(there(1), 0, "before"), set(there(4), 0, "before")})...)
	// One swap may move what two records hold, whatever their order.
	swap(ctx, t, ex, set(there(0), 2, "moved"), unset(there(3), 2), set(there(2), 0, "made again"))
	if got := readRecord(ctx, t, ex, there(2)); got.Revision != 1 || string(got.Value) != "made again" {
		t.Errorf("a record that was removed and made again: got %s, want revision 1", showRecord(got))
	}
}

// Values are bytes.
func recordsValues(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	every := everyByte()
	values := [][]byte{
		nil, {}, {0}, {0, 0, 0}, {'\''}, {0xff}, []byte("a\x00b"), []byte("a "), []byte(" \n"), []byte("\\x00"), []byte("NULL"), []byte("007"),
		[]byte(`{"b": 1, "a":2}`), []byte("text ü 😀"), every, bytes.Repeat(every, 10),
	}
	k := recordKey("over", "each other")
	var made []evento.Change
	for i, v := range values {
		c := evento.Change{RecordKey: recordKey("key", fmt.Sprint(i)), Value: v}
		over := evento.Change{RecordKey: k, Revision: uint64(i), Value: v}
		swap(ctx, t, ex, c, over)
		made = append(made, c)
		wantRecords(ctx, t, ex, append(slices.Clone(made), over)...)
	}
}

// As many and as large as they may be, in one swap.
func recordsLargest(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	long := func(i int, rest string) string {
		return fmt.Sprintf("%03d", i) + strings.Repeat(rest, evento.MaxName-3)
	}
	random := rand.NewChaCha8([32]byte{3})
	var made []evento.Change
	for i := range evento.MaxSwap {
		value := make([]byte, evento.MaxRecord)
		_, _ = random.Read(value) // never fails
		made = append(made, evento.Change{RecordKey: evento.RecordKey{Kind: kind, Key: long(i/3, "k"), Part: long(i, "p")}, Value: value})
	}
	swap(ctx, t, ex, made...)
	wantRecords(ctx, t, ex, made...)
	for i := range made {
		made[i].Revision, made[i].Value = 1, made[len(made)-1-i].Value
	}
	swap(ctx, t, ex, made...)
	wantRecords(ctx, t, ex, made...)
}

func recordsBytesAreCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	c := set(recordKey("key", ""), 0, "value")
	swap(ctx, t, ex, c)
	clear(c.Value)
	for range 2 {
		got := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind})
		sameRecords(t, "with the bytes of the change, and of an earlier page, cleared", got, recordsOf(set(recordKey("key", ""), 0, "value")))
		clear(got[0].Value)
	}
}

// A change has the time of its swap, and Now is that of the query, by the same
// clock. Where that is set back meanwhile, nothing is said.
func recordsTimes(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	k := recordKey("key", "")
	look := func(ex evento.Executor) (now time.Time, r evento.Record) {
		t.Helper()
		p := recordPage(ctx, t, ex, evento.RecordQuery{Kind: kind, Key: "key"})
		if len(p.Records) > 0 && p.Records[0].RecordKey == k {
			r = p.Records[0]
		}
		return p.Now, r
	}
	swap(ctx, t, ex, set(recordKey("key", "unchanged"), 0, "value"))
	unchanged := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind})
	for i := range uint64(20) {
		on := exs[int(i)%len(exs)]
		asked, before := look(on)
		swap(ctx, t, exs[int(i/2)%len(exs)], set(k, i, "value"))
		done, r := look(on)
		if r.Revision != i+1 {
			t.Fatalf("after %d changes: got %s", i+1, showRecord(r))
		}
		// A change may be noted in milliseconds.
		if !done.Before(asked) && (r.ChangedAt.Before(asked.Truncate(time.Millisecond)) || r.ChangedAt.After(done) || r.ChangedAt.Equal(before.ChangedAt)) {
			t.Fatalf("a change between %v and %v, after one at %v: got %s", asked, done, before.ChangedAt, showRecord(r))
		}
		for now := done; !now.Before(done) && now.Sub(done) < 2*time.Millisecond; now, _ = look(on) {
			// Until two changes have to differ.
		}
	}
	sameRecords(t, "after swaps of other records", readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind})[1:], unchanged)
}

func recordsRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	there, added := set(recordKey("there", ""), 0, "value"), recordKey("new", "")
	swap(ctx, t, ex, there)
	change := set(there.RecordKey, 1, "changed") // good, beside the one that is not
	refuseSwap(ctx, t, ex, swapOf(), evento.ErrInvalid)
	over := make([]evento.Change, evento.MaxSwap+1)
	for i := range over {
		over[i] = set(recordKey("over", fmt.Sprint(i)), 0, "value")
	}
	refuseSwap(ctx, t, ex, swapOf(over...), evento.ErrInvalid)
	for _, tt := range []struct {
		change evento.Change
		want   error
	}{
		{set(there.RecordKey, 1, "again"), evento.ErrInvalid},
		{unset(there.RecordKey, 1), evento.ErrInvalid},
		{unset(added, 0), evento.ErrInvalid},
		{set(added, 1<<62, "value"), evento.ErrInvalid},
		{set(added, 1<<64-1, "value"), evento.ErrInvalid},
		{set(added, 0, strings.Repeat("x", evento.MaxRecord+1)), evento.ErrTooLarge},
	} {
		refuseSwap(ctx, t, ex, swapOf(change, tt.change), tt.want)
		refuseSwap(ctx, t, ex, swapOf(tt.change, change), tt.want)
	}
	for _, name := range refusedNames() {
		refuseSwap(ctx, t, ex, swapOf(change, set(evento.RecordKey{Kind: name, Key: "key"}, 0, "value")), evento.ErrInvalid)
		refuseSwap(ctx, t, ex, swapOf(change, set(recordKey(name, ""), 0, "value")), evento.ErrInvalid)
		if name != "" {
			refuseSwap(ctx, t, ex, swapOf(change, set(recordKey("key", name), 0, "value")), evento.ErrInvalid)
		}
	}
	swap(ctx, t, ex, change)
	wantRecords(ctx, t, ex, change)
}

// Of those who change the same record at once, one does.
func recordsOneWins(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const workers, rounds = 8, 8
	exs := c.all(t, ex)
	k := recordKey("key", "")
	var made []evento.Change
	for round := range uint64(rounds) {
		changes := func(i int) []evento.Change {
			return []evento.Change{set(k, round, fmt.Sprint("by ", i)), set(recordKey("of", fmt.Sprint(round, i)), 0, "won")}
		}
		won := make([]bool, workers)
		together(t, workers, func(t testing.TB, i int) {
			cs := changes(i)
			if i%2 == 0 {
				slices.Reverse(cs)
			}
			err := exs[i%len(exs)].Swap(ctx, swapOf(cs...))
			if won[i] = err == nil; !won[i] {
				wantError(t, err, evento.ErrSwapped, "Swap(%s)", showChanges(cs))
			}
		})
		winner := slices.Index(won, true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			t.Fatalf("round %d: Swap succeeded for the workers %v, want it for one", round+1, won)
		}
		cs := changes(winner)
		made = append(made, cs[1])
		wantRecords(ctx, t, ex, append(slices.Clone(made), cs[0])...)
	}
}

// increment adds 1 to the numbers in some records, as one, until that succeeds.
func increment(ctx context.Context, t testing.TB, ex evento.Executor, keys ...evento.RecordKey) {
	t.Helper()
	for {
		var changes []evento.Change
		for _, k := range keys {
			r := readRecord(ctx, t, ex, k)
			n, err := strconv.Atoi(cmp.Or(string(r.Value), "0"))
			must(t, err)
			changes = append(changes, set(k, r.Revision, fmt.Sprint(n+1)))
		}
		err := ex.Swap(ctx, swapOf(changes...))
		if err == nil {
			return
		}
		if !errors.Is(err, evento.ErrSwapped) {
			t.Fatal(err)
		}
	}
}

// Many who count in one record, from before it is there, lose nothing.
func recordsCounter(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const counters, each = 8, 10
	exs := c.all(t, ex)
	together(t, counters, func(t testing.TB, i int) {
		for range each {
			increment(ctx, t, exs[i%len(exs)], recordKey("count", ""))
		}
	})
	wantRecords(ctx, t, ex, set(recordKey("count", ""), counters*each-1, fmt.Sprint(counters*each)))
}

// Records that are changed together are never seen apart: a page is as the
// store was at one moment.
func recordsTogether(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, readers, each = 3, 3, 12
	reader := c.another(t, ex)
	ends := []evento.RecordKey{recordKey("pair", "0"), recordKey("pair", "9")}
	var between []evento.Change
	for i := range 30 {
		between = append(between, set(recordKey("pair", fmt.Sprint("5 ", i)), 0, "between"))
	}
	swap(ctx, t, ex, between...)
	swap(ctx, t, ex, set(ends[0], 0, "0"), set(ends[1], 0, "0"))
	var writing atomic.Int32
	writing.Store(writers)
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		defer writing.Add(-1)
		keys := slices.Clone(ends)
		if i%2 == 0 {
			slices.Reverse(keys)
		}
		for range each {
			increment(ctx, t, ex, keys...)
		}
	}}, goroutines{readers, func(t testing.TB, _ int) {
		for more := true; more; {
			more = writing.Load() > 0
			for _, q := range []evento.RecordQuery{{Kind: kind, Key: "pair"}, {Kind: kind, Limit: len(between) + 2}} {
				p := recordPage(ctx, t, reader, q)
				if len(p.Records) != len(between)+2 {
					t.Fatalf("Records(%+v): got %d records, want %d", q, len(p.Records), len(between)+2)
				}
				a, b := p.Records[0], p.Records[len(p.Records)-1]
				if a.Revision != b.Revision || !bytes.Equal(a.Value, b.Value) {
					t.Fatalf("Records(%+v): got %s and %s, which change together", q, showRecord(a), showRecord(b))
				}
			}
		}
	}})
	if r := readRecord(ctx, t, ex, ends[0]); string(r.Value) != fmt.Sprint(writers*each) {
		t.Errorf("got %s, want the value %d", showRecord(r), writers*each)
	}
}

// What one executor swapped, another on the store shows from then on, and
// swaps.
func recordsShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := []evento.Executor{ex, c.share(t, ex), c.share(t, ex)}
	a, b := recordKey("key", ""), recordKey("key", "part")
	for i := range uint64(9) {
		on, beside := exs[i%3], exs[(i+1)%3]
		cs := []evento.Change{set(a, i, fmt.Sprint(i)), set(b, 0, fmt.Sprint(i))}
		swap(ctx, t, on, cs...)
		for _, ex := range exs {
			wantRecords(ctx, t, ex, cs...)
		}
		refuseSwap(ctx, t, beside, swapOf(set(a, i, "stale")), evento.ErrSwapped)
		swap(ctx, t, beside, unset(b, 1))
		refuseSwap(ctx, t, on, swapOf(unset(b, 1)), evento.ErrSwapped)
	}
}
