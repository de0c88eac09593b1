package cursor_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento/cursor"
)

// account is an item that can be ordered by owner, by balance, or by id.
type account struct {
	ID      int64
	Owner   string
	Balance int64
}

func byID(a account) int64      { return a.ID }
func byOwner(a account) string  { return a.Owner }
func byBalance(a account) int64 { return a.Balance }

// orders are orders as columns, and the same order as a Go function.
var orders = []struct {
	name    string
	columns []cursor.Column[account]
	compare func(a, b account) int
}{
	{"id", []cursor.Column[account]{cursor.Asc("id", byID)},
		func(a, b account) int { return cmp.Compare(a.ID, b.ID) }},
	{"id down", []cursor.Column[account]{cursor.Desc("id", byID)},
		func(a, b account) int { return cmp.Compare(b.ID, a.ID) }},
	{"owner, id", []cursor.Column[account]{cursor.Asc("owner", byOwner), cursor.Asc("id", byID)},
		func(a, b account) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.ID, b.ID)) }},
	{"balance down, id", []cursor.Column[account]{cursor.Desc("balance", byBalance), cursor.Asc("id", byID)},
		func(a, b account) int { return cmp.Or(cmp.Compare(b.Balance, a.Balance), cmp.Compare(a.ID, b.ID)) }},
	{"owner, balance down, id", []cursor.Column[account]{cursor.Asc("owner", byOwner), cursor.Desc("balance", byBalance), cursor.Asc("id", byID)},
		func(a, b account) int {
			return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(b.Balance, a.Balance), cmp.Compare(a.ID, b.ID))
		}},
	{"all down", []cursor.Column[account]{cursor.Desc("owner", byOwner), cursor.Desc("balance", byBalance), cursor.Desc("id", byID)},
		func(a, b account) int {
			return cmp.Or(cmp.Compare(b.Owner, a.Owner), cmp.Compare(b.Balance, a.Balance), cmp.Compare(b.ID, a.ID))
		}},
}

// accounts have many equal owners and balances.
func accounts(r *rand.Rand, n int) []account {
	as := make([]account, n)
	for i, id := range r.Perm(n) {
		as[i] = account{ID: int64(id) - int64(n/2), Owner: []string{"", "a", "A", "ab", "é", "zoë"}[r.IntN(6)], Balance: r.Int64N(5) - 2}
	}
	return as
}

// wantPage returns the page found by checking every item.
func wantPage(items []account, compare func(a, b account) int, args cursor.Args, at *account) (want []account, previous, next bool) {
	items = slices.SortedFunc(slices.Values(items), compare)
	from, to := 0, len(items)
	for i, item := range items {
		switch {
		case at == nil:
		case args.IsBackward() && compare(item, *at) >= 0:
			to = min(to, i)
		case !args.IsBackward() && compare(item, *at) <= 0:
			from = i + 1
		}
	}
	if args.IsBackward() {
		from = max(from, to-args.Limit())
	} else {
		to = min(to, from+args.Limit())
	}
	return items[from:to], from > 0 && !args.IsOnward(), to < len(items)
}

// checkPage compares a page with wantPage.
func checkPage(t *testing.T, what string, page *cursor.Page[account], items []account, compare func(a, b account) int, args cursor.Args, at *account) {
	t.Helper()
	want, previous, next := wantPage(items, compare, args, at)
	var got []account
	for _, e := range page.Edges {
		got = append(got, e.Node)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: items\n got %v\nwant %v", what, got, want)
		return
	}
	info := cursor.PageInfo{HasPreviousPage: previous, HasNextPage: next, StartCursor: args.At(), EndCursor: args.At()}
	if len(page.Edges) > 0 {
		info.StartCursor, info.EndCursor = page.Edges[0].Cursor, page.Edges[len(page.Edges)-1].Cursor
	}
	if page.PageInfo != info {
		t.Errorf("%s: page info\n got %+v\nwant %+v", what, page.PageInfo, info)
	}
}

// argsFor returns all kinds of args for a place.
func argsFor(n int, at cursor.Value) []cursor.Args {
	return []cursor.Args{cursor.Forward(n, at), cursor.Onward(n, at), cursor.Backward(n, at)}
}

func TestReaderAgainstModel(t *testing.T) {
	t.Parallel()
	for _, order := range orders {
		t.Run(order.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			for _, n := range []int{0, 1, 2, 7, 40} {
				items := accounts(r, n)
				reader := newReader(t, items, order.columns...)
				if reader.Len() != n {
					t.Errorf("Len() = %d, want %d", reader.Len(), n)
				}
				whole, err := reader.Read(cursor.Forward(100, ""))
				if err != nil {
					t.Fatal(err)
				}
				for _, limit := range []int{1, 2, 3, n, n + 1} {
					if limit == 0 {
						continue
					}
					for _, args := range argsFor(limit, "") {
						page, err := reader.Read(args)
						if err != nil {
							t.Fatalf("%d items, %+v: %v", n, args, err)
						}
						checkPage(t, fmt.Sprintf("%d items, %+v", n, args), page, items, order.compare, args, nil)
					}
					for _, e := range whole.Edges {
						// With the item of the cursor, and after its removal.
						without := slices.DeleteFunc(slices.Clone(items), func(a account) bool { return a == e.Node })
						for _, items := range [][]account{items, without} {
							for _, args := range argsFor(limit, e.Cursor) {
								page, err := newReader(t, items, order.columns...).Read(args)
								if err != nil {
									t.Fatalf("%d items, %+v: %v", len(items), args, err)
								}
								checkPage(t, fmt.Sprintf("%d items, %+v", len(items), args), page, items, order.compare, args, &e.Node)
							}
						}
					}
				}
			}
		})
	}
}

func newReader[T any](t *testing.T, items []T, columns ...cursor.Column[T]) *cursor.Reader[T] {
	t.Helper()
	reader, err := cursor.NewReader(items, columns...)
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

func TestReaderKeepsItsOwnOrder(t *testing.T) {
	t.Parallel()
	items := []account{{ID: 2}, {ID: 3}, {ID: 1}}
	reader := newReader(t, items, cursor.Asc("id", byID))
	if items[0].ID != 2 || items[2].ID != 1 {
		t.Errorf("the caller's slice was reordered: %v", items)
	}
	items[0].ID = 99
	page, err := reader.Read(cursor.Forward(3, ""))
	if err != nil || page.Edges[1].Node.ID != 2 {
		t.Errorf("after the caller wrote to its slice: %+v, %v, want the item 2 in the middle", page, err)
	}
}

func TestReaderRefusesCursors(t *testing.T) {
	t.Parallel()
	items := []account{{ID: 1, Owner: "a"}, {ID: 2, Owner: "b"}}
	mine := newReader(t, items, cursor.Asc("owner", byOwner), cursor.Asc("id", byID))
	first := func(columns ...cursor.Column[account]) cursor.Value {
		page, err := newReader(t, items, columns...).Read(cursor.Forward(1, ""))
		if err != nil {
			t.Fatal(err)
		}
		return page.PageInfo.EndCursor
	}
	db := openSQLite(t)
	insertAccounts(t, db, items)
	keyset := cursor.NewKeyset(cursor.SQLite, cursor.Asc("owner", byOwner), cursor.Asc("id", byID))
	keysetPage, err := keyset.Read(t.Context(), db, cursor.Forward(1, ""), scanAccount, selectAccounts)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		at   cursor.Value
		want error
	}{
		{"another direction", first(cursor.Asc("owner", byOwner), cursor.Desc("id", byID)), cursor.ErrForeign},
		{"another name", first(cursor.Asc("owners", byOwner), cursor.Asc("id", byID)), cursor.ErrForeign},
		{"other columns", first(cursor.Asc("id", byID), cursor.Asc("owner", byOwner)), cursor.ErrForeign},
		{"fewer columns", first(cursor.Asc("owner", byOwner)), cursor.ErrForeign},
		{"another type", first(cursor.Asc("owner", func(a account) []byte { return []byte(a.Owner) }), cursor.Asc("id", byID)), cursor.ErrForeign},
		{"a keyset's", keysetPage.PageInfo.EndCursor, cursor.ErrMalformed},
		{"a store's", cursor.NewPositions(store).Value(1), cursor.ErrMalformed},
		{"no cursor", "no cursor", cursor.ErrMalformed},
		{"too long", cursor.Value(strings.Repeat("A", 1<<20)), cursor.ErrMalformed},
	} {
		for _, args := range argsFor(1, test.at) {
			if _, err := mine.Read(args); !errors.Is(err, test.want) || !errors.Is(err, cursor.ErrInvalid) {
				t.Errorf("%s: Read(%.60q) = %v, want %v", test.name, test.at, err, test.want)
			}
		}
	}
	for _, args := range argsFor(0, "") {
		if _, err := mine.Read(args); !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("Read(%+v) = %v, want ErrInvalid", args, err)
		}
	}
	damaged(t, first(cursor.Asc("owner", byOwner), cursor.Asc("id", byID)), func(v cursor.Value) error {
		_, err := mine.Read(cursor.Forward(1, v))
		return err
	})
}

// everything has a column of each type.
type everything struct {
	Int    int8
	Uint   uint64
	Float  float64
	String label
	Bytes  []byte
	Bool   bool
	Time   time.Time
}

type label string

func columnsOfEverything() []cursor.Column[everything] {
	return []cursor.Column[everything]{
		cursor.Asc("int", func(e everything) int8 { return e.Int }),
		cursor.Asc("uint", func(e everything) uint64 { return e.Uint }),
		cursor.Asc("float", func(e everything) float64 { return e.Float }),
		cursor.Asc("string", func(e everything) label { return e.String }),
		cursor.Asc("bytes", func(e everything) []byte { return e.Bytes }),
		cursor.Asc("bool", func(e everything) bool { return e.Bool }),
		cursor.Asc("time", func(e everything) time.Time { return e.Time }),
	}
}

// ascending has items that each differ from the one before in one column, where
// they are greater.
func ascending() []everything {
	day := time.Date(2024, 2, 29, 23, 59, 59, 999_999_998, time.UTC)
	zero := everything{Int: -128, Float: math.Inf(-1), Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}
	steps := []func(*everything){
		func(e *everything) { e.Time = time.Date(1969, 12, 31, 23, 59, 59, 1, time.UTC) },
		func(e *everything) { e.Time = day },
		func(e *everything) { e.Time = day.Add(1).In(time.FixedZone("", 3600)) },
		func(e *everything) { e.Time = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC) },
		func(e *everything) { e.Bool = true },
		func(e *everything) { e.Bytes = []byte{0} },
		func(e *everything) { e.Bytes = []byte{0, 0xff} },
		func(e *everything) { e.Bytes = []byte{0xff} },
		func(e *everything) { e.String = "A" },
		func(e *everything) { e.String = "a" },
		func(e *everything) { e.String = label(strings.Repeat("a", 200)) },
		func(e *everything) { e.String = "é" },
		func(e *everything) { e.Float = -0.1 },
		func(e *everything) { e.Float = 0 },
		func(e *everything) { e.Float = math.SmallestNonzeroFloat64 },
		func(e *everything) { e.Float = math.Inf(1) },
		func(e *everything) { e.Uint = 1 },
		func(e *everything) { e.Uint = math.MaxUint64 },
		func(e *everything) { e.Int = -1 },
		func(e *everything) { e.Int = 127 },
	}
	items := []everything{zero}
	for _, step := range steps {
		next := items[len(items)-1]
		step(&next)
		items = append(items, next)
	}
	return items
}

func TestReaderTypes(t *testing.T) {
	t.Parallel()
	want := ascending()
	shuffled := slices.Clone(want)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	reader := newReader(t, shuffled, columnsOfEverything()...)
	var got []everything
	for at := cursor.Value(""); ; {
		page, err := reader.Read(cursor.Forward(1, at))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Edges[0].Node)
		if !page.PageInfo.HasNextPage {
			break
		}
		at = page.PageInfo.EndCursor
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("one by one\n got %+v\nwant %+v", got, want)
	}
}

func TestReaderRefusesItems(t *testing.T) {
	t.Parallel()
	type item struct {
		F float64
		S string
		T time.Time
	}
	float := cursor.Asc("f", func(i item) float64 { return i.F })
	text := cursor.Desc("s", func(i item) string { return i.S })
	when := cursor.Asc("t", func(i item) time.Time { return i.T })
	for _, test := range []struct {
		name    string
		items   []item
		columns []cursor.Column[item]
		want    string
	}{
		{"no columns", nil, nil, "1 to 16 columns, not 0"},
		{"many columns", nil, make([]cursor.Column[item], 17), "1 to 16 columns, not 17"},
		{"no name", nil, []cursor.Column[item]{text, {}}, "column 2 has no name"},
		{"a bad name", nil, []cursor.Column[item]{cursor.Asc("a\x00b", func(item) int { return 0 })}, `"a\x00b" is not a name`},
		{"no function", nil, []cursor.Column[item]{cursor.Asc[item, int]("n", nil)}, `"n" has no function`},
		{"twice the same", nil, []cursor.Column[item]{text, float, text}, `"s" is in the order twice`},
		{"two in one place", []item{{F: 1}, {F: 0}, {F: math.Copysign(0, -1)}}, []cursor.Column[item]{float}, "two items are in one place"},
		{"NaN", []item{{}, {F: math.NaN()}}, []cursor.Column[item]{float}, `item 1: cursor: column "f": NaN`},
		{"not UTF-8", []item{{S: "\xff"}}, []cursor.Column[item]{text}, `item 0: cursor: column "s": a string that is not valid UTF-8`},
		{"NUL", []item{{S: "a\x00"}}, []cursor.Column[item]{text}, "or has NUL in it"},
		{"too early", []item{{T: time.Time{}.Add(-1)}}, []cursor.Column[item]{when}, "the year 0 is not 1 to 9999"},
		{"too late", []item{{T: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}}, []cursor.Column[item]{when}, "the year 10000"},
		{"too long", []item{{S: strings.Repeat("x", 4000)}}, []cursor.Column[item]{text}, "at most 3072 are allowed"},
	} {
		_, err := cursor.NewReader(test.items, test.columns...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%s: %v matches ErrInvalid, which says that a cursor is to blame", test.name, err)
		}
	}
}

// The format of cursors must not change: users have them in links.
func TestReaderFormat(t *testing.T) {
	t.Parallel()
	page, err := newReader(t, ascending()[4:5], columnsOfEverything()...).Read(cursor.Forward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	const want = "AXIZ6Q68BXQXrv________-AAAAAAAAAAAD_8AAAAAAAAAAAAAAAADr_9EF_O5rJ_x6rybo"
	if got := page.PageInfo.EndCursor; got != want {
		t.Errorf("cursor of %+v: %q, want %q", page.Edges[0].Node, got, want)
	}
}

func FuzzReader(f *testing.F) {
	reader, err := cursor.NewReader(ascending(), columnsOfEverything()...)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := reader.Read(cursor.Forward(100, ""))
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range whole.Edges {
		f.Add(string(e.Cursor))
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := reader.Read(cursor.Forward(2, cursor.Value(text)))
		if err != nil && !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("Read after %q: %v does not match ErrInvalid", text, err)
		}
	})
}
