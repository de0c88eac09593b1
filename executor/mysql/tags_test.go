//go:build unix

// The index of tags.

package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/testserver"
)

// labelled is a payload with tags.
type labelled struct {
	Text   string
	Tagged []string `cbor:"-"`
}

func (labelled) AggregateType() evento.AggregateType { return thing }
func (labelled) EventName() string                   { return "Labelled" }
func (l labelled) Tags() []string                    { return l.Tagged }

// These have the same number.
const twinA, twinB = "363581d884d1a7db", "c05c3cec0e471599"

// wantIndex holds the index to the events.
func wantIndex(t *testing.T, db *sql.DB, ex evento.Executor) {
	t.Helper()
	var got, want []string
	for _, e := range log(t, ex) {
		for _, tag := range store.TagNumbers(e.Tags) {
			want = append(want, fmt.Sprint(tag, " ", e.Position))
		}
	}
	rows, err := db.QueryContext(t.Context(), "SELECT CONCAT(tag, ' ', position) FROM evento_tag")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the index is %q, want %q", got, want)
	}
}

// tryLabel appends an event with tags to one aggregate.
func (a *alone) tryLabel(tags ...string) error {
	_, err := evento.Aggregate("alone").OriginalVersion(a.version).Event(labelled{Tagged: tags}).Commit(a.t.Context(), a.ex)
	if err == nil {
		a.version++
	}
	return err
}

func (a *alone) label(tags ...string) {
	a.t.Helper()
	if err := a.tryLabel(tags...); err != nil {
		a.t.Fatalf("Commit() with tags %q = %v", tags, err)
	}
}

// warmLabel makes the next label one that is sent at once.
func (a *alone) warmLabel() {
	a.t.Helper()
	for range 3 {
		a.label("all")
	}
}

// A writer alone sends tags in its one round trip. Whatever becomes of that, they are in
// the index once.
func TestTagsAtOnce(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	a, db := &alone{t: t, ex: openSilent(t, through)}, raw(t, dsn)
	const within = "; INSERT INTO evento_tag" // it follows another statement
	for name, c := range map[string]cut{
		"not made":     {text: within},
		"made":         {text: within, forward: true, packets: 5},
		"half made":    {text: within, forward: true},
		"not answered": {text: within, forward: true, race: true},
	} {
		a.warmLabel()
		p.next.Store(&c)
		a.label("all", name, twinA, twinB)
		if p.next.Load() != nil {
			t.Fatalf("%s: nothing was cut: the commit was not sent at once", name)
		}
	}
	wantIndex(t, db, a.ex)

	// Another process has appended meanwhile.
	other := openSilent(t, dsn)
	for i := range 5 {
		a.warmLabel()
		if _, err := evento.Create().Event(labelled{Tagged: []string{"all", "other"}}).Commit(t.Context(), other); err != nil {
			t.Fatalf("Commit() of another = %v", err)
		}
		a.label("all", fmt.Sprint(i))
	}
	wantIndex(t, db, a.ex)

	// The server refuses them.
	a.warmLabel()
	for _, text := range []string{
		"CREATE TRIGGER evento_no_tag BEFORE INSERT ON evento_tag FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no tag today'",
		"DROP TRIGGER evento_no_tag",
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		err := a.tryLabel("all")
		refused := strings.HasPrefix(text, "CREATE")
		if refused != (err != nil) || refused && (errors.Is(err, evento.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "no tag today")) {
			t.Errorf("Commit() after %s = %v", text, err)
		}
	}
	wantIndex(t, db, a.ex)
}

// Transactions of callers, and imports.
func TestTagsInTx(t *testing.T) {
	t.Parallel()
	dsn, copied := testserver.MySQL(t), testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, to := openSilent(t, dsn), openSilent(t, copied)
	db := raw(t, dsn)
	failed := errors.New("failed")
	for i := range 6 {
		before := (i + 1) / 2 // that were committed
		err := ex.InTx(t.Context(), func(ctx context.Context) error {
			for j := range 3 {
				l := labelled{Tagged: []string{"all", fmt.Sprint(j), twinB, twinA}}
				if _, err := evento.Aggregate(fmt.Sprint(j)).AnyVersion().RequestedBy("me").Event(l, labelled{}, l).Commit(ctx, ex); err != nil {
					return err
				}
				page, err := ex.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByTags("all", fmt.Sprint(j))}}, cursor.Onward(100, ""))
				if err != nil || len(page.Edges) != 2*before+2 {
					t.Errorf("Read() within round %d has %d events, %v, want %d", i, len(page.Edges), err, 2*before+2)
				}
			}
			if i%2 == 0 {
				return nil
			}
			return failed
		})
		if i%2 == 0 && err != nil || i%2 == 1 && !errors.Is(err, failed) {
			t.Fatalf("InTx() of round %d = %v", i, err)
		}
	}
	wantEvents(t, ex, 27)
	wantIndex(t, db, ex)
	if err := to.Import(t.Context(), log(t, ex)); err != nil {
		t.Fatalf("Import() = %v", err)
	}
	wantEvents(t, to, 27)
	wantIndex(t, raw(t, copied), to)
}

// Without tags, nobody asks for the index, or writes to it.
func TestNoTags(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	a := &alone{t: t, ex: openSilent(t, through)}
	p.next.Store(&cut{text: "evento_tag"})
	a.warm()
	a.commit()
	for _, err := range writes(t.Context(), a.ex) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, q := range []evento.Query{{}, {Unrouted: true}, {Filters: []evento.Filter{evento.ByType(thing)}}, {Filters: []evento.Filter{evento.ByID(thing, "alone"), evento.ByEvent(note{})}}} {
		for _, args := range []cursor.Args{cursor.Onward(3, ""), cursor.Forward(3, ""), cursor.Backward(100, "")} {
			if _, err := a.ex.Read(t.Context(), q, args); err != nil {
				t.Errorf("Read(%+v) = %v", q, err)
			}
		}
	}
	if p.next.Load() == nil {
		t.Error("a statement was about tags")
	}
}

// A store that was made before there were tags.
func TestTagsInOlderStore(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	db, ex := raw(t, dsn), openDSN(t, dsn)
	create(t, ex)
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"DROP TABLE evento_tag", "DELETE FROM evento_migration WHERE version > 1"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	ex = openSilent(t, dsn)
	if _, err := evento.Create().Event(labelled{Tagged: []string{"new"}}).Commit(t.Context(), ex); err != nil {
		t.Errorf("Commit() = %v", err)
	}
	wantEvents(t, ex, 2)
	wantIndex(t, db, ex)
}
