// Listing records: their order, which there are, and paging.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// orderedNames are texts that a store without bytewise order has in another.
func orderedNames() []string {
	return []string{
		" ", "!", "-", "/", "0", "00", "10", "2", "A", "AA", "Aa", "B", "Z", "_", "a", "a ", "a!", "a-", "a/", "a/b", "a0", "aA", "aa", "ab", "az", "a~", "aä", "b", "z", "~",
		"\u00e9", "e\u0301", "ß", "ä", "ÿ", "Ā", "日本", "\uffff", "\U00010000", "😀", "\U0010ffff",
		strings.Repeat("a", evento.MaxName-1), strings.Repeat("a", evento.MaxName), strings.Repeat("a", evento.MaxName-1) + "b",
	}
}

// The order is bytewise, by kind, key and part.
func recordsOrder(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	names := orderedNames()
	var made []evento.Change
	for i, key := range names {
		made = append(made, set(recordKey(key, ""), 0, fmt.Sprint(i)))
		for j, part := range names {
			if (i+j)%5 == 0 || len(key) < 3 && len(part) < 3 {
				made = append(made, set(recordKey(key, part), 0, fmt.Sprint(i, j)))
			}
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(made), func(i, j int) { made[i], made[j] = made[j], made[i] })
	swapAll(ctx, t, ex, made)
	wantRecords(ctx, t, ex, made...)
	all := recordsOf(made...)
	for _, key := range names {
		wantRecordsOf(ctx, t, ex, all, evento.RecordQuery{Kind: kind, Key: key, Limit: 7})
	}
}

// selected are those of the records that a query is for.
func selected(all []evento.Record, q evento.RecordQuery) []evento.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r evento.Record) bool {
		return r.Kind != q.Kind || q.Key != "" && r.Key != q.Key || r.Compare(q.After) <= 0
	})
}

// wantRecordsOf reads the pages of a query, and compares them with what there is.
func wantRecordsOf(ctx context.Context, t testing.TB, ex evento.Executor, all []evento.Record, q evento.RecordQuery) {
	t.Helper()
	sameRecords(t, fmt.Sprintf("page after page of Records(%+v)", q), readRecords(ctx, t, ex, q), selected(all, q))
}

// Hostile names in each field, and texts that are the same when put together,
// are each a record of its own.
func recordsApart(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	keys := []evento.RecordKey{
		recordKey("a", "bc"), recordKey("ab", "c"), recordKey("abc", ""), recordKey("a", "b/c"), recordKey("a/b", "c"), recordKey("a/b/c", ""),
		{Kind: "a", Key: "bc"}, {Kind: "ab", Key: "c"}, {Kind: "a", Key: "b", Part: "c"}, {Kind: kind + "a", Key: "bc"},
	}
	names := hostileNames()
	for _, name := range names {
		keys = append(keys, evento.RecordKey{Kind: name, Key: "key", Part: "part"}, recordKey(name, "part"), recordKey("key", name), recordKey(name, name))
	}
	slices.SortFunc(keys, evento.RecordKey.Compare)
	keys = slices.Compact(keys)
	var made []evento.Change
	for i, k := range keys {
		made = append(made, set(k, 0, fmt.Sprint(i)))
	}
	swapAll(ctx, t, ex, made)
	for i := range made { // each is still at its first revision
		if i%2 == 0 {
			made[i] = set(keys[i], 1, fmt.Sprint("again ", i))
			swap(ctx, t, ex, made[i])
		}
	}
	names = append(names, kind, "a", "ab", kind+"a", strings.ToUpper(kind), kind[:5], "never")
	want := func(all []evento.Record) {
		t.Helper()
		for _, name := range names {
			wantRecordsOf(ctx, t, ex, all, evento.RecordQuery{Kind: name})
			wantRecordsOf(ctx, t, ex, all, evento.RecordQuery{Kind: name, Key: "key"})
			wantRecordsOf(ctx, t, ex, all, evento.RecordQuery{Kind: kind, Key: name})
		}
	}
	want(recordsOf(made...))
	// Removing one removes that one.
	var left []evento.Change
	for i, c := range made {
		if i%3 == 0 {
			swap(ctx, t, ex, unset(c.RecordKey, c.Revision+1))
		} else {
			left = append(left, c)
		}
	}
	want(recordsOf(left...))
}

// library makes more records than a page has, and others around them.
func library(ctx context.Context, t testing.TB, ex evento.Executor) []evento.Record {
	t.Helper()
	var made, around []evento.Change
	for i := range evento.MaxRecords + 60 {
		// Keys of one record, of some, and of hundreds.
		made = append(made, set(recordKey(fmt.Sprint("key ", min(i%200, 100)), fmt.Sprint("part ", i)), 0, fmt.Sprint(i)))
	}
	for _, other := range []string{"a", kind[:5], kind + " ", kind + "0", "z"} {
		around = append(around, set(evento.RecordKey{Kind: other, Key: "key 0", Part: "part 0"}, 0, "around"))
	}
	swapAll(ctx, t, ex, append(made, around...))
	return recordsOf(made...)
}

// wantRecordPage compares a page with what there is.
func wantRecordPage(ctx context.Context, t testing.TB, ex evento.Executor, all []evento.Record, q evento.RecordQuery) {
	t.Helper()
	want := selected(all, q)
	p := recordPage(ctx, t, ex, q)
	n := len(p.Records)
	sameRecords(t, fmt.Sprintf("Records(%+v)", q), p.Records, want[:min(n, len(want))])
	if more := len(want) > n; p.More != more {
		t.Fatalf("Records(%+v): got %d of %d records, more %t, want more %t", q, n, len(want), p.More, more)
	}
}

func recordsPages(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	wantRecordPage(ctx, t, ex, nil, evento.RecordQuery{Kind: kind})
	wantRecordPage(ctx, t, ex, nil, evento.RecordQuery{Kind: kind, After: recordKey("key", "")})
	all := library(ctx, t, ex)
	for _, limit := range []int{0, 1000, 999, 530, 100, 37} {
		q := evento.RecordQuery{Kind: kind, Limit: limit}
		wantRecordPage(ctx, t, ex, all, q)
		wantRecordsOf(ctx, t, ex, all, q)
	}
	for _, limit := range []int{0, 1, 2, 5, 6, 7, 1000} {
		for _, key := range []string{"", "key 0", "key 100", "key 99", "key", "key 1000"} {
			for _, after := range []evento.RecordKey{
				{}, all[0].RecordKey, all[1].RecordKey, all[500].RecordKey, all[len(all)-2].RecordKey, all[len(all)-1].RecordKey,
				recordKey("key 0", ""), recordKey("key 0", "part 0"), recordKey("key 0", "part 00"), recordKey("key 100", "part 555"), recordKey("key 99", "~"),
				recordKey("a", ""), recordKey("z", ""), {Kind: "a", Key: "z"}, {Kind: "z", Key: "a"}, {Kind: kind + " ", Key: "key 50"},
			} {
				wantRecordPage(ctx, t, ex, all, evento.RecordQuery{Kind: kind, Key: key, Limit: limit, After: after})
			}
		}
	}
}

// A page may begin behind a name that is not stored: somebody may have written it
// into the store, and what is behind it is still to be read.
func recordsAfterStrangeNames(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var made []evento.Change
	for _, name := range []string{"a", "a b", "a~", "b", strings.Repeat("x", evento.MaxName), "xy", "é", strings.Repeat("é", evento.MaxName/2), "日本"} {
		made = append(made, set(recordKey(name, ""), 0, "whole"), set(recordKey(name, name), 0, "part"))
	}
	swapAll(ctx, t, ex, made)
	all := recordsOf(made...)
	strange, _ := strangeNames()
	for _, name := range strange {
		for _, after := range []evento.RecordKey{{Kind: name}, {Kind: name, Key: "key", Part: name}, recordKey(name, ""), recordKey(name, "part"), recordKey("a", name), {Key: name}, {Part: name}} {
			for _, key := range []string{"", "a", "b"} {
				wantRecordPage(ctx, t, ex, all, evento.RecordQuery{Kind: kind, Key: key, After: after})
			}
		}
	}
}

func recordsRandomPages(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := library(ctx, t, ex)
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 150 {
		wantRecordPage(ctx, t, ex, all, randomRecordQuery(r, all))
	}
}

// randomRecordQuery is mostly for a page behind one of the records.
func randomRecordQuery(r *rand.Rand, all []evento.Record) evento.RecordQuery {
	q := evento.RecordQuery{Kind: kind, Limit: r.IntN(20)}
	if len(all) == 0 {
		return q
	}
	some := func() evento.RecordKey { return all[r.IntN(len(all))].RecordKey }
	if r.IntN(8) > 0 {
		q.After = some()
	}
	switch r.IntN(4) {
	case 0:
		q.Key = some().Key
	case 1:
		q.Key = q.After.Key
	}
	switch r.IntN(8) {
	case 0:
		q.After.Part += "0"
	case 1:
		q.After.Part = ""
	case 2:
		q.Limit = 0
	}
	if q.After.Key == "" {
		q.After = evento.RecordKey{}
	}
	return q
}

func recordsRefusedQueries(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	swap(ctx, t, ex, set(recordKey("key", ""), 0, "value"))
	refused := []evento.RecordQuery{
		{}, {Key: "key"}, {Kind: kind, Limit: -1}, {Kind: kind, Limit: evento.MaxRecords + 1},
	}
	for _, name := range refusedNames() {
		refused = append(refused, evento.RecordQuery{Kind: name})
		if name != "" { // which is every key
			refused = append(refused, evento.RecordQuery{Kind: kind, Key: name})
		}
	}
	_, noTexts := strangeNames()
	for _, name := range noTexts {
		for _, after := range []evento.RecordKey{{Kind: name, Key: "key"}, recordKey(name, ""), recordKey("key", name)} {
			refused = append(refused, evento.RecordQuery{Kind: kind, After: after})
		}
	}
	for _, q := range refused {
		wantError(t, discard(ex.Records(ctx, q)), evento.ErrInvalid, "Records(%.400s)", fmt.Sprintf("%+v", q))
	}
}
