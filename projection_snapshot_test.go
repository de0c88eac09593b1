package evento_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// taps notes what is read and what snapshots are saved.
type taps struct {
	*hooked
	saved []evento.Snapshot
	keys  []evento.SnapshotKey
	from  []cursor.Value // where each read began
}

func tapped(ex evento.Executor) *taps {
	s := &taps{}
	s.hooked = &hooked{
		Executor: ex,
		saveSnapshot: func(ctx context.Context, key evento.SnapshotKey, snap evento.Snapshot) error {
			s.saved, s.keys = append(s.saved, snap), append(s.keys, key)
			return ex.SaveSnapshot(ctx, key, snap)
		},
		read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			s.from = append(s.from, args.At())
			return ex.Read(ctx, q, args)
		},
	}
	return s
}

// A load stores a snapshot when it replayed n events or more, and never for
// fewer; the state is the same with and without.
func TestSnapshotEvery(t *testing.T) {
	t.Parallel()
	for _, every := range []uint64{0, 1, 3, 10} {
		ex := tapped(newStore(t))
		p := logging("p").SnapshotEvery(every)
		var unsaved uint64
		for i, n := range []int{1, 1, 1, 0, 2, 5, 0, 9, 1, 30, 0, 2} {
			if n > 0 {
				deposits(t, ex, "a", n)
			}
			unsaved += uint64(n)
			ex.saved, ex.from = nil, nil
			l, err := p.Load(t.Context(), ex, "a")
			if err != nil {
				t.Fatal(err)
			}
			plain, err := logging("plain").Load(t.Context(), ex, "a")
			if err != nil || !reflect.DeepEqual(l, plain) {
				t.Errorf("every %d, load %d: %+v, want as without snapshots %+v, %v", every, i, l, plain, err)
			}
			want := 0
			if every > 0 && unsaved >= every {
				want, unsaved = 1, 0
			}
			if len(ex.saved) != want {
				t.Errorf("every %d, load %d of %d new events: %d snapshots were saved, want %d", every, i, n, len(ex.saved), want)
			}
			if want == 1 && (ex.saved[0].Version != l.Version || ex.saved[0].Position != l.Position || ex.saved[0].Cursor != cursorOf(t, ex.Executor, int(l.Position))) {
				t.Errorf("every %d, load %d: the snapshot %+v is not of version %d", every, i, ex.saved[0], l.Version)
			}
		}
	}
}

func TestSnapshotSparesReading(t *testing.T) {
	t.Parallel()
	ex := tapped(newStore(t))
	deposits(t, ex, "a", 2500)
	p := logging("p").SnapshotEvery(100)
	for _, want := range [][]int{{0, 1000, 2000}, {2499}} { // the snapshot's own last event shows that it fits
		ex.from = nil
		if l, err := p.Load(t.Context(), ex, "a"); err != nil || l.Version != 2500 {
			t.Fatalf("%+v, %v", l, err)
		}
		var from []cursor.Value
		for _, position := range want {
			from = append(from, cursorOf(t, ex.Executor, position))
		}
		if !reflect.DeepEqual(ex.from, from) {
			t.Errorf("read from %q, want from the positions %v, %q", ex.from, want, from)
		}
	}
}

// Only a snapshot of this name, revision, state and set of related aggregates
// is used.
func TestSnapshotsAreKeptApart(t *testing.T) {
	t.Parallel()
	ex := tapped(newStore(t))
	deposits(t, ex, "a", 5)
	deposits(t, ex, "b", 5)
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	load := func(p *evento.Projection[eventLog], id string, opts ...evento.LoadOption) func() error {
		return func() error { _, err := p.Load(t.Context(), ex, id, opts...); return err }
	}
	other := evento.NewProjection[struct{ Count int }]("p", Account).SnapshotEvery(1)
	o, b := evento.Related(ownerType, "o"), evento.Related(Account, "b")
	for i, test := range []struct {
		name string
		load func() error
		same int // the test whose snapshot it shares, or its own
	}{
		{"the first", load(logging("p").SnapshotEvery(1), "a"), 0},
		{"another name", load(logging("q").SnapshotEvery(1), "a"), 1},
		{"another revision", load(logging("p").SnapshotEvery(1).Revision(1), "a"), 2},
		{"another aggregate", load(logging("p").SnapshotEvery(1), "b"), 3},
		{"another state", func() error { _, err := other.Load(t.Context(), ex, "a"); return err }, 4},
		{"a related one", load(withOwners("p").SnapshotEvery(1), "a", o), 5},
		{"two related ones", load(withOwners("p").SnapshotEvery(1), "a", o, b), 6},
		{"the same in another order, and twice", load(withOwners("p").SnapshotEvery(1), "a", b, o, b), 6},
		{"the first again", load(logging("p").SnapshotEvery(7), "a"), 0},
	} {
		saved := len(ex.keys)
		ex.from = nil
		if err := test.load(); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		began := ex.from[0] == ""
		if fresh := test.same == i; began != fresh || (len(ex.keys) > saved) != fresh {
			t.Errorf("%s: read from the beginning: %t, snapshots saved: %d; want both new: %t", test.name, began, len(ex.keys)-saved, fresh)
		}
	}
	for i, key := range ex.keys {
		for _, earlier := range ex.keys[:i] {
			if key == earlier {
				t.Errorf("the snapshot key %+v was used for two", key)
			}
		}
		if len(key.Variant) != 64 || strings.Trim(key.Variant, "0123456789abcdef") != "" {
			t.Errorf("variant %q is not 64 hexadecimal digits", key.Variant)
		}
	}
}

// A snapshot key is stored: it may not change between releases, or every
// snapshot is made again.
func TestSnapshotKeyGolden(t *testing.T) {
	t.Parallel()
	ex := tapped(newStore(t))
	deposits(t, ex, "a", 1)
	if _, err := balance.Load(t.Context(), ex, "a"); err != nil || len(ex.keys) != 0 {
		t.Fatalf("%v, %d keys", err, len(ex.keys))
	}
	p := evento.NewProjection[Balance]("p", Account).Revision(3).SnapshotEvery(1)
	for i, tt := range []struct {
		related []evento.LoadOption
		variant string // 32 digits of the shape, 32 of the related aggregates
	}{
		{nil, "9797fa8868cd37cff45e94d7789108cce3b0c44298fc1c149afbf4c8996fb924"},
		{[]evento.LoadOption{evento.Related(ownerType, "o")}, "9797fa8868cd37cff45e94d7789108cca0e7f7a3c728735360b272823a8d2a46"},
	} {
		if _, err := p.Load(t.Context(), ex, "a", tt.related...); err != nil {
			t.Fatal(err)
		}
		want := evento.SnapshotKey{Projection: "p", Revision: 3, Variant: tt.variant, AggregateType: Account, AggregateID: "a"}
		if ex.keys[i] != want {
			t.Errorf("key %+v, want %+v", ex.keys[i], want)
		}
	}
}

// The shape of a state is all that its snapshot depends on.
func TestSnapshotOfAnotherShape(t *testing.T) {
	t.Parallel()
	type a struct{ N int }
	type b struct{ N int64 }
	type c struct {
		N int `json:"n"`
	}
	type d struct{ M int }
	type e struct{ N []int }
	type f struct{ N *int }
	type g struct{ N map[string]int }
	type h struct{ N map[int]string }
	type i struct{ N [1]int }
	type j struct{ N struct{ N int } }
	type k struct{ N, M int }
	type l struct{ N [2]int }
	type inner struct{ N int }
	type m struct{ inner }
	type Inner struct{ N int }
	type n struct{ Inner }
	type o struct{ Inner Inner }
	type Celsius float64
	type Fahrenheit float64
	type p struct{ N Celsius }
	type q struct{ N Fahrenheit }
	type r struct{ N float64 }
	type s struct{ N time.Duration }
	type u struct{ N *Inner }
	type v struct{ N []Inner }
	type same struct{ N int }
	seen := map[string]string{}
	for _, state := range []struct {
		name    string
		variant string
	}{
		{"a", variantOf[a](t)}, {"b", variantOf[b](t)}, {"c", variantOf[c](t)}, {"d", variantOf[d](t)}, {"e", variantOf[e](t)},
		{"f", variantOf[f](t)}, {"g", variantOf[g](t)}, {"h", variantOf[h](t)}, {"i", variantOf[i](t)}, {"j", variantOf[j](t)}, {"k", variantOf[k](t)},
		{"l", variantOf[l](t)}, {"m", variantOf[m](t)}, {"n", variantOf[n](t)}, {"o", variantOf[o](t)}, {"p", variantOf[p](t)}, {"q", variantOf[q](t)},
		{"r", variantOf[r](t)}, {"s", variantOf[s](t)}, {"u", variantOf[u](t)}, {"v", variantOf[v](t)},
	} {
		if other, found := seen[state.variant]; found {
			t.Errorf("the states %s and %s have one variant", state.name, other)
		}
		seen[state.variant] = state.name
	}
	if variantOf[a](t) != variantOf[same](t) {
		t.Error("two states of one shape have two variants: renaming the type loses its snapshots")
	}
}

func variantOf[V any](t *testing.T) string {
	t.Helper()
	ex := tapped(newStore(t))
	deposits(t, ex, "a", 1)
	if _, err := evento.NewProjection[V]("p", Account).SnapshotEvery(1).Load(t.Context(), ex, "a"); err != nil {
		t.Fatal(err)
	}
	return ex.keys[0].Variant
}

func TestSnapshotRefusesStates(t *testing.T) {
	t.Parallel()
	type embedded struct{ hidden int }
	type tree struct {
		Children []tree
		Up       *tree
		count    int
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"unexported", loadWith[struct{ N, m int }](t), `invalid state: a snapshot would lose the unexported field m of struct`},
		{"unexported below", loadWith[struct{ List []map[string]struct{ n int } }](t), "unexported field List[].n"},
		{"unexported in an embedded one", loadWith[struct{ embedded }](t), "unexported field embedded.hidden"},
		{"in a tree", loadWith[tree](t), "unexported field count"},
		{"a func", loadWith[struct{ F func() }](t), "cannot give back F of type func()"},
		{"an interface", loadWith[struct{ E error }](t), "cannot give back E of type error"},
		{"any", loadWith[map[string]any](t), "of type interface {}"},
		{"a channel", loadWith[struct{ C chan int }](t), "cannot give back C"},
		{"a pointer to a pointer", loadWith[struct{ P **int }](t), "would not tell nil from a pointer to nil in P of type **int"},
		{"a pointer to a slice", loadWith[map[string]*[]int](t), "would not tell nil from a pointer to nil in [] of type *[]int"},
		{"a pointer to a map", loadWith[struct{ L []*map[int]int }](t), "in L of type *map[int]int"},
		{"two of one name", loadWith[struct {
			A int `cbor:"n"`
			B int `cbor:"n"`
		}](t), `the field A or B: both are stored as "n"`},
		{"two embedded with one name", loadWith[struct {
			First
			Second
		}](t), `the field First.N or Second.N: both are stored as "N"`},
		{"one that hides an embedded one's", loadWith[struct {
			First
			N int
		}](t), `the field First.N or N: both are stored as "N"`},
		{"a float that may be left out", loadWith[struct {
			F float64 `cbor:"f,omitempty"`
		}](t), "would lose -0 in the field F"},
		{"a slice that may be left out", loadWith[struct {
			L []int `json:"l,omitempty"`
		}](t), "would lose that it is empty and not nil in the field L"},
		{"a map that may be left out", loadWith[struct {
			M map[string]int `json:",omitempty"`
		}](t), "would lose that it is empty and not nil in the field M"},
		{"a float that may be left out when zero", loadWith[struct {
			List []struct {
				F float32 `json:",omitzero"`
			}
		}](t), "would lose -0 in the field List.F"},
	} {
		if !errors.Is(test.err, evento.ErrInvalid) || !strings.Contains(fmt.Sprint(test.err), test.want) || !strings.Contains(fmt.Sprint(test.err), `projection "p"`) {
			t.Errorf("%s: %v, want ErrInvalid and %q", test.name, test.err, test.want)
		}
	}
	// Without snapshots anything may be a state, and with them what says how
	// it is stored, or that it is not.
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	if _, err := evento.NewProjection[struct{ n int }]("p", Account).Load(t.Context(), ex, "a"); err != nil {
		t.Errorf("a state with an unexported field, without snapshots: %v", err)
	}
	type stored struct {
		Time time.Time
		Addr netip.Addr
		Big  *big.Int
		left int    `cbor:"-"`
		Out  func() `json:"-"`
		base
		Self *stored
	}
	if err := loadWith[stored](t); err != nil {
		t.Errorf("a state of what can be stored: %v", err)
	}
	_ = embedded{hidden: 1}
	_ = tree{count: 1}
	_ = stored{left: 1}
}

// First and Second are to be embedded.
type (
	First  struct{ N int }
	Second struct{ N int }
)

// What omitempty leaves out comes back as it was.
func TestSnapshotOmits(t *testing.T) {
	t.Parallel()
	type state struct {
		Zero *int    `json:"zero,omitempty"`
		None *int    `json:"none,omitempty"`
		Text *string `json:"text,omitempty"`
		Neg  float64
		NaN  float64
		Sum  *First `json:"sum,omitempty"`
	}
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	applied := 0
	p := evento.NewProjection[state]("p", Account).SnapshotEvery(1).Handler(evento.Apply(func(s *state, _ evento.Event[MoneyDeposited]) error {
		applied++
		*s = state{Zero: new(int), Text: new(string), Neg: math.Copysign(0, -1), NaN: math.NaN(), Sum: &First{}}
		return nil
	}))
	for range 2 {
		l, err := p.Load(t.Context(), ex, "a")
		if err != nil || l.SnapshotErr != nil {
			t.Fatal(err, l.SnapshotErr)
		}
		s := l.State
		if s.Zero == nil || s.None != nil || s.Text == nil || s.Sum == nil || !math.Signbit(s.Neg) || !math.IsNaN(s.NaN) {
			t.Errorf("after %d events that were applied: %+v", applied, s)
		}
	}
	if applied != 1 {
		t.Errorf("%d events were applied, want 1, and then the snapshot", applied)
	}
}

// loadWith loads twice with snapshots, and returns the first error.
func loadWith[V any](t *testing.T) error {
	t.Helper()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	p := evento.NewProjection[V]("p", Account).SnapshotEvery(1)
	for range 2 {
		l, err := p.Load(t.Context(), ex, "a")
		if err != nil {
			return err
		}
		if l.SnapshotErr != nil {
			return l.SnapshotErr
		}
	}
	return nil
}

// A snapshot that is of no use is made again, and is no error.
func TestSnapshotRebuilt(t *testing.T) {
	t.Parallel()
	elsewhere := newStore(t)
	deposits(t, elsewhere, "a", 1)
	for _, test := range []struct {
		name   string
		damage func(*evento.Snapshot)
	}{
		{"no bytes", func(s *evento.Snapshot) { s.Data = nil }},
		{"broken bytes", func(s *evento.Snapshot) { s.Data = []byte("\xff\xff") }},
		{"bytes cut", func(s *evento.Snapshot) { s.Data = s.Data[:len(s.Data)-1] }},
		{"null", func(s *evento.Snapshot) { s.Data = []byte{0xf6} }},
		{"undefined", func(s *evento.Snapshot) { s.Data = []byte{0xf7} }},
		{"without a cursor", func(s *evento.Snapshot) { s.Cursor = "" }},
		{"without a position", func(s *evento.Snapshot) { s.Position = 0 }},
		{"without a version", func(s *evento.Snapshot) { s.Version = 0 }},
		{"at a version that is not there", func(s *evento.Snapshot) { s.Version = 9 }},
		{"at an earlier version", func(s *evento.Snapshot) { s.Version = 4 }},
		{"at another position", func(s *evento.Snapshot) { s.Position = 4 }},
		{"of another type", func(s *evento.Snapshot) { s.Data = []byte("\xa1\x65Lines\x01") }},
		{"a cursor of another store", func(s *evento.Snapshot) { s.Cursor = cursorOf(t, elsewhere, 1) }},
		{"no cursor at all", func(s *evento.Snapshot) { s.Cursor = "somewhere" }},
		{"a cursor beyond the head", func(s *evento.Snapshot) {
			b, err := base64.RawURLEncoding.DecodeString(string(s.Cursor))
			if err != nil {
				t.Fatal(err)
			}
			s.Cursor = cursor.NewPositions([16]byte(b[2:])).Value(50)
		}},
	} {
		ex := tapped(newStore(t))
		deposits(t, ex, "a", 5)
		p := logging("p").SnapshotEvery(3)
		if _, err := p.Load(t.Context(), ex, "a"); err != nil {
			t.Fatal(err)
		}
		broken := ex.saved[0]
		test.damage(&broken)
		noErr(t, ex.RemoveSnapshots(t.Context(), ex.keys))
		if err := ex.Executor.SaveSnapshot(t.Context(), ex.keys[0], broken); err != nil {
			t.Fatal(err)
		}
		for i, read := range []bool{true, false} {
			ex.saved, ex.from = nil, nil
			l, err := p.Load(t.Context(), ex, "a")
			wantLoaded(t, test.name, l, err, 5, 5, "a/1 1", "a/2 2", "a/3 3", "a/4 4", "a/5 5")
			if again := len(ex.saved) == 1; again != read {
				t.Errorf("%s, load %d: the snapshot was saved again: %t, want %t", test.name, i, again, read)
			}
		}
	}
}

// What a store says of a snapshot it could not save is reported, beside the
// state; what it says of one it could not read ends the load.
func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3)
	errDisk := errors.New("disk on fire")
	failing := &hooked{Executor: ex, saveSnapshot: func(context.Context, evento.SnapshotKey, evento.Snapshot) error { return errDisk }}
	l, err := logging("p").SnapshotEvery(1).Load(t.Context(), failing, "a")
	if err != nil || l.Version != 3 || len(l.State.Lines) != 3 || !errors.Is(l.SnapshotErr, errDisk) {
		t.Errorf("a snapshot that cannot be saved: %+v, %v, want the whole state and %v beside it", l, err, errDisk)
	}
	failing = &hooked{Executor: ex, snapshot: func(context.Context, evento.SnapshotKey) (evento.Snapshot, error) {
		return evento.Snapshot{}, errDisk
	}}
	if l, err := logging("p").SnapshotEvery(1).Load(t.Context(), failing, "a"); !errors.Is(err, errDisk) {
		t.Errorf("a snapshot that cannot be read: %+v, %v, want %v", l, err, errDisk)
	}
	deep := evento.NewProjection[chain]("p", Account).SnapshotEvery(1).Handler(evento.Apply(func(c *chain, _ evento.Event[MoneyDeposited]) error {
		*c = *chained(evento.MaxDepth + 1)
		return nil
	}))
	if l, err := deep.Load(t.Context(), ex, "a"); err != nil || l.SnapshotErr == nil || !strings.Contains(l.SnapshotErr.Error(), `projection "p"`) {
		t.Errorf("a state that is too deep to store: %v, %v, want the state, and an error that names the projection", l.SnapshotErr, err)
	}
	large := evento.NewProjection[struct{ B []byte }]("p", Account).SnapshotEvery(1).Handler(evento.Apply(func(s *struct{ B []byte }, _ evento.Event[MoneyDeposited]) error {
		s.B = make([]byte, evento.MaxPayload)
		return nil
	}))
	if l, err := large.Load(t.Context(), ex, "a"); err != nil || !errors.Is(l.SnapshotErr, evento.ErrTooLarge) {
		t.Errorf("a state that is too large to store: %v, %v, want the state, and ErrTooLarge", l.SnapshotErr, err)
	}
}

// The past is loaded from a snapshot only where that is older.
func TestSnapshotAndAtVersion(t *testing.T) {
	t.Parallel()
	ex := tapped(newStore(t))
	deposits(t, ex, "a", 5)
	p := logging("p").SnapshotEvery(2)
	if _, err := p.Load(t.Context(), ex, "a"); err != nil {
		t.Fatal(err)
	}
	deposits(t, ex, "a", 4)
	lines := []string{"a/1 1", "a/2 2", "a/3 3", "a/4 4", "a/5 5", "a/6 1", "a/7 2", "a/8 3", "a/9 4"}
	for version := range uint64(9) {
		ex.from, ex.saved = nil, nil
		l, err := p.Load(t.Context(), ex, "a", evento.AtVersion(version+1))
		wantLoaded(t, fmt.Sprintf("version %d", version+1), l, err, version+1, version+1, lines[:version+1]...)
		if fromSnapshot := ex.from[0] != ""; fromSnapshot != (version+1 > 5) || len(ex.saved) != 0 {
			t.Errorf("version %d: from the snapshot of version 5: %t; %d saved", version+1, fromSnapshot, len(ex.saved))
		}
	}
}
