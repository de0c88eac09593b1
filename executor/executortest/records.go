// Records: small state that is changed by comparing and swapping.

package executortest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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

// trySwap is Swap with an error that shows what was swapped.
func trySwap(ctx context.Context, ex evento.Executor, changes ...evento.Change) error {
	if err := ex.Swap(ctx, evento.Swap{Changes: changes}); err != nil {
		return fmt.Errorf("Swap(%s): %w", showChanges(changes), err)
	}
	return nil
}

// swap changes records, which must succeed.
func swap(ctx context.Context, t testing.TB, ex evento.Executor, changes ...evento.Change) {
	t.Helper()
	must(t, trySwap(ctx, ex, changes...))
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

// tryRecords is Records with a look at what is promised of every page.
func tryRecords(ctx context.Context, ex evento.Executor, q evento.RecordQuery) (*evento.RecordPage, error) {
	p, err := ex.Records(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("Records(%+v): %w", q, err)
	}
	most := q.Limit
	if most == 0 {
		most = evento.MaxRecords
	}
	if len(p.Records) > most || p.More && len(p.Records) == 0 {
		return nil, fmt.Errorf("Records(%+v): got a page of %d records, more %t", q, len(p.Records), p.More)
	}
	last := q.After
	for _, r := range p.Records {
		switch {
		case r.Kind != q.Kind, q.Key != "" && r.Key != q.Key, r.Compare(last) <= 0:
			return nil, fmt.Errorf("Records(%+v): got %+v after %+v", q, r.RecordKey, last)
		case r.Revision == 0:
			return nil, fmt.Errorf("Records(%+v): got %+v at revision 0", q, r.RecordKey)
		case r.ChangedAt.IsZero() || r.ChangedAt.Location() != time.UTC:
			return nil, fmt.Errorf("Records(%+v): got %+v changed at %v, want a time in UTC", q, r.RecordKey, r.ChangedAt)
		}
		last = r.RecordKey
	}
	if p.Now.Location() != time.UTC {
		return nil, fmt.Errorf("Records(%+v): got %v for Now, want it in UTC", q, p.Now)
	}
	return p, nil
}

func recordPage(ctx context.Context, t testing.TB, ex evento.Executor, q evento.RecordQuery) *evento.RecordPage {
	t.Helper()
	p, err := tryRecords(ctx, ex, q)
	must(t, err)
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
func readRecord(ctx context.Context, ex evento.Executor, k evento.RecordKey) (evento.Record, error) {
	for q := (evento.RecordQuery{Kind: k.Kind, Key: k.Key}); ; {
		p, err := tryRecords(ctx, ex, q)
		if err != nil {
			return evento.Record{}, err
		}
		for _, r := range p.Records {
			if r.RecordKey == k {
				return r, nil
			}
			q.After = r.RecordKey
		}
		if !p.More {
			return evento.Record{}, nil
		}
	}
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
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		if w.ChangedAt.IsZero() {
			w.ChangedAt = g.ChangedAt
		}
		if g.RecordKey != w.RecordKey || g.Revision != w.Revision || !g.ChangedAt.Equal(w.ChangedAt) || !bytes.Equal(g.Value, w.Value) {
			t.Fatalf("%s: record %d of %d: got %s, want %s", what, i+1, len(want), showRecord(g), showRecord(w))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: got %d records, want %d", what, len(got), len(want))
	}
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
	for i := range changes {
		swap(ctx, t, ex, set(there(i), 0, "before"), set(recordKey("bystander", fmt.Sprint(i)), 0, "before"))
	}
	good := func(round int) []evento.Change {
		var cs []evento.Change
		for i := range changes {
			switch i % 3 {
			case 0:
				cs = append(cs, set(there(i), 1, "after"))
			case 1:
				cs = append(cs, set(recordKey("new", fmt.Sprint(round, i)), 0, "after"))
			default:
				cs = append(cs, unset(there(i), 1))
			}
		}
		return cs
	}
	for bad := range changes {
		for _, stale := range []evento.Change{
			set(recordKey("there 0", "0"), 2, "stale"), set(recordKey("there 0", "0"), 0, "stale"), unset(recordKey("there 0", "0"), 3),
			set(recordKey("missing", ""), 1, "stale"), unset(recordKey("missing", ""), 1),
		} {
			cs := good(bad)
			if bad != 0 {
				cs[0] = set(recordKey("new", "first"), 0, "after") // as it may be the stale one
			}
			cs[bad] = stale
			refuseSwap(ctx, t, ex, evento.Swap{Changes: cs, Wake: true}, evento.ErrSwapped)
		}
	}
	cs := good(0)
	swap(ctx, t, ex, cs...)
	want := slices.DeleteFunc(cs, func(c evento.Change) bool { return c.Remove })
	for i := range changes {
		want = append(want, set(recordKey("bystander", fmt.Sprint(i)), 0, "before"))
		if i%3 == 1 {
			want = append(want, set(there(i), 0, "before"))
		}
	}
	wantRecords(ctx, t, ex, want...)
	// One swap may move what two records hold, whatever their order.
	swap(ctx, t, ex, set(there(0), 2, "moved"), unset(there(3), 2), set(there(2), 0, "made again"))
	got, err := readRecord(ctx, ex, there(2))
	if err != nil || got.Revision != 1 || string(got.Value) != "made again" {
		t.Errorf("a record that was removed and made again: got %s, %v, want revision 1", showRecord(got), err)
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
	there := set(recordKey("there", ""), 0, "value")
	swap(ctx, t, ex, there)
	change := set(there.RecordKey, 1, "changed") // good, beside the one that is not
	refuseSwap(ctx, t, ex, evento.Swap{}, evento.ErrInvalid)
	over := make([]evento.Change, evento.MaxSwap+1)
	for i := range over {
		over[i] = set(recordKey("over", fmt.Sprint(i)), 0, "value")
	}
	refuseSwap(ctx, t, ex, evento.Swap{Changes: over}, evento.ErrInvalid)
	for _, tt := range []struct {
		change evento.Change
		want   error
	}{
		{set(there.RecordKey, 1, "again"), evento.ErrInvalid},
		{unset(there.RecordKey, 1), evento.ErrInvalid},
		{unset(recordKey("new", ""), 0), evento.ErrInvalid},
		{set(recordKey("new", ""), 1<<62, "value"), evento.ErrInvalid},
		{set(recordKey("new", ""), 1<<64-1, "value"), evento.ErrInvalid},
		{set(recordKey("new", ""), 0, strings.Repeat("x", evento.MaxRecord+1)), evento.ErrTooLarge},
	} {
		refuseSwap(ctx, t, ex, swapOf(change, tt.change), tt.want)
		refuseSwap(ctx, t, ex, swapOf(tt.change, change), tt.want)
	}
	for _, name := range refusedNames() {
		keys := []evento.RecordKey{{Kind: name, Key: "key"}, {Kind: kind, Key: name}}
		if name != "" {
			keys = append(keys, recordKey("key", name))
		}
		for _, k := range keys {
			refuseSwap(ctx, t, ex, swapOf(change, set(k, 0, "value")), evento.ErrInvalid)
		}
	}
	swap(ctx, t, ex, change)
	wantRecords(ctx, t, ex, change)
}
