package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

type noted struct {
	N    int
	Text string
}

func (noted) AggregateType() evento.AggregateType { return "storetest/Note" }
func (noted) EventName() string                   { return "Noted" }

type remarked struct{ N int }

func (remarked) AggregateType() evento.AggregateType { return "storetest/Note" }
func (remarked) EventName() string                   { return "Remarked" }

type notes struct {
	Sum   int
	Texts []string
}

// Settings opens a store with each of the settings, which are of a URL or its like. It
// fails t unless a setting is refused with ErrInvalid, or changes nothing: events,
// conflicts, pages, records, snapshots and transactions are what the plain executor on
// the same store says they are. Unknown reports whether an error says that the server
// does not have the setting; at least one must be had.
func Settings(t *testing.T, plain evento.Executor, settings []string, unknown func(error) bool, open func(setting string) (evento.Executor, error)) {
	t.Helper()
	tried := 0
	for i, setting := range settings {
		ex, err := open(setting)
		switch {
		case err == nil:
		case errors.Is(err, evento.ErrInvalid), errors.Is(err, evento.ErrReadOnly):
			t.Logf("%s is refused: %v", setting, err)
			tried++
			continue
		case unknown(err):
			t.Logf("%s is not known: %v", setting, err)
			continue
		default:
			t.Errorf("%s: Open() = %v, want it opened, or ErrInvalid", setting, err)
			continue
		}
		tried++
		for _, part := range []struct {
			name string
			run  func(ctx context.Context, ex, plain evento.Executor, key string) error
		}{
			{"events", settingsEvents}, {"conflicts", settingsConflicts}, {"pages", settingsPages},
			{"records", settingsRecords}, {"snapshots", settingsSnapshots}, {"transactions", settingsTx},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			if err := part.run(ctx, ex, plain, fmt.Sprintf("%s-%d", t.Name(), i)); err != nil && !errors.Is(err, evento.ErrReadOnly) {
				t.Errorf("%s: %s: %v", setting, part.name, err)
			}
			cancel()
		}
		if err := ex.Close(); err != nil {
			t.Errorf("%s: Close() = %v", setting, err)
		}
	}
	if tried == 0 {
		t.Error("no setting was tried")
	}
}

// hostileText has what dialects take for something else.
const hostileText = `it's "a" \b \\ %s %% ~ ü € 😀 -- ; /* 'x' `

func settingsEvents(ctx context.Context, ex, plain evento.Executor, key string) error {
	began := time.Now()
	for a := range 4 {
		for n := range 5 {
			b := evento.Aggregate(fmt.Sprintf("%s-%s-%d", hostileText[:20], key, a)).OriginalVersion(uint64(2*n)).RoutingKey(key).
				Metadata("note", hostileText).Event(noted{n, hostileText}, remarked{n})
			r, err := b.Commit(ctx, ex)
			if err != nil {
				return err
			}
			if r.Version != uint64(2*n+2) {
				return fmt.Errorf("version %d, want %d", r.Version, 2*n+2)
			}
		}
	}
	same, err := samePage(ctx, ex, plain, evento.Query{RoutingKey: key}, cursor.Forward(1000, ""))
	if err != nil {
		return err
	}
	if len(same) != 40 {
		return fmt.Errorf("%d events, want 40", len(same))
	}
	for _, e := range same {
		// A server's clock is near; a session's may not be.
		if off := e.Node.Timestamp.Sub(began); off < -time.Minute || off > 10*time.Minute {
			return fmt.Errorf("recorded at %s, it is %s", e.Node.Timestamp, began)
		}
	}
	return nil
}

// samePage reads a page by both, which must be the same.
func samePage(ctx context.Context, ex, plain evento.Executor, q evento.Query, args cursor.Args) ([]cursor.Edge[evento.RawEvent], error) {
	got, err := ex.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	want, err := plain.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	if len(got.Edges) != len(want.Edges) || got.PageInfo.HasNextPage != want.PageInfo.HasNextPage || got.PageInfo.HasPreviousPage != want.PageInfo.HasPreviousPage {
		return nil, fmt.Errorf("a page of %d events (%+v), by the plain executor %d (%+v)", len(got.Edges), got.PageInfo, len(want.Edges), want.PageInfo)
	}
	for i := range got.Edges {
		if g, w := got.Edges[i], want.Edges[i]; g.Cursor != w.Cursor || !reflect.DeepEqual(g.Node, w.Node) {
			return nil, fmt.Errorf("event %d is %+v, by the plain executor %+v", i, g, w)
		}
	}
	return got.Edges, nil
}

func settingsConflicts(ctx context.Context, ex, plain evento.Executor, key string) error {
	id := "conflict " + key
	commit := func(ex evento.Executor, b *evento.CommitBuilder) error {
		_, err := b.Event(remarked{1}).Commit(ctx, ex)
		return err
	}
	if err := commit(ex, evento.Aggregate(id)); err != nil {
		return err
	}
	if err := commit(plain, evento.Aggregate(id).OriginalVersion(1)); err != nil {
		return err
	}
	for _, stale := range []uint64{0, 1, 3} {
		var conflict *evento.ConflictError
		if err := commit(ex, evento.Aggregate(id).OriginalVersion(stale)); !errors.As(err, &conflict) {
			return fmt.Errorf("with version %d of 2: %w, want a conflict", stale, err)
		}
	}
	if err := errors.Join(commit(ex, evento.Aggregate(id).OriginalVersion(2)), commit(ex, evento.Aggregate(id).AnyVersion())); err != nil {
		return err
	}
	edges, err := samePage(ctx, ex, plain, evento.Query{Filters: []evento.Filter{evento.ByID("storetest/Note", id)}}, cursor.Forward(10, ""))
	if err == nil && len(edges) != 4 {
		err = fmt.Errorf("%d events, want 4", len(edges))
	}
	return err
}

func settingsPages(ctx context.Context, ex, plain evento.Executor, key string) error {
	for _, q := range []evento.Query{
		{RoutingKey: key}, {Filters: []evento.Filter{evento.ByEvent(noted{})}, RoutingKey: key},
		{Filters: []evento.Filter{evento.ByEvent(noted{}), evento.ByType("storetest/Other")}, RoutingKey: key}, {Unrouted: true},
	} {
		for _, backward := range []bool{false, true} {
			for at, pages := cursor.Value(""), 0; ; pages++ {
				args := cursor.Forward(3, at)
				if backward {
					args = cursor.Backward(3, at)
				}
				edges, err := samePage(ctx, ex, plain, q, args)
				if err != nil {
					return fmt.Errorf("page %d of %+v: %w", pages, q, err)
				}
				if len(edges) < 3 {
					break
				}
				if at = edges[2].Cursor; backward {
					at = edges[0].Cursor
				}
			}
		}
	}
	return nil
}

func settingsRecords(ctx context.Context, ex, plain evento.Executor, key string) error {
	kind := "storetest-" + key
	change := func(part string, revision uint64) evento.Swap {
		k := evento.RecordKey{Kind: kind, Key: hostileText, Part: part}
		return evento.Swap{Changes: []evento.Change{{RecordKey: k, Revision: revision, Value: []byte(hostileText)}}}
	}
	for part := range 12 {
		if err := ex.Swap(ctx, change(fmt.Sprintf("%s%02d", strings.Repeat("p", 60), part), 0)); err != nil {
			return err
		}
	}
	first := strings.Repeat("p", 60) + "00"
	for _, tt := range []struct {
		revision uint64
		want     error
	}{{0, evento.ErrSwapped}, {2, evento.ErrSwapped}, {1, nil}, {1, evento.ErrSwapped}, {2, nil}, {3, nil}} {
		// The same value once more is a change too.
		if err := ex.Swap(ctx, change(first, tt.revision)); !errors.Is(err, tt.want) {
			return fmt.Errorf("Swap() of revision %d = %w, want %w", tt.revision, err, tt.want)
		}
	}
	for after := (evento.RecordKey{}); ; {
		q := evento.RecordQuery{Kind: kind, After: after, Limit: 5}
		got, err := ex.Records(ctx, q)
		if err != nil {
			return err
		}
		want, err := plain.Records(ctx, q)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(got.Records, want.Records) || got.More != want.More {
			return fmt.Errorf("records %+v, by the plain executor %+v", got, want)
		}
		if off := got.Now.Sub(want.Now); off.Abs() > time.Minute {
			return fmt.Errorf("the store's time is %s, by the plain executor %s", got.Now, want.Now)
		}
		if !got.More {
			return nil
		}
		after = got.Records[len(got.Records)-1].RecordKey
	}
}

func settingsSnapshots(ctx context.Context, ex, plain evento.Executor, key string) error {
	id := "snapshot " + key
	projection := evento.NewProjection[notes]("notes-"+key, "storetest/Note").SnapshotEvery(1).Handler(
		evento.Apply(func(s *notes, e evento.Event[noted]) error {
			s.Sum += e.Data.N
			s.Texts = append(s.Texts, e.Data.Text)
			return nil
		}))
	for n := range 3 {
		if _, err := evento.Aggregate(id).AnyVersion().Event(noted{n, hostileText}).Commit(ctx, ex); err != nil {
			return err
		}
		got, err := projection.Load(ctx, ex, id)
		if err != nil {
			return err
		}
		want, err := projection.Load(ctx, plain, id)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(got.State, want.State) || len(got.State.Texts) != n+1 {
			return fmt.Errorf("the state %+v, by the plain executor %+v", got.State, want.State)
		}
	}
	return nil
}

func settingsTx(ctx context.Context, ex, plain evento.Executor, key string) error {
	tx, ok := ex.(evento.Transactor)
	if !ok {
		return nil
	}
	id, undone := "tx "+key, errors.New("undone")
	for n, want := range []error{nil, undone, nil} {
		err := tx.InTx(ctx, func(ctx context.Context) error {
			if _, err := evento.Aggregate(id).AnyVersion().Event(noted{n, hostileText}).Commit(ctx, ex); err != nil {
				return err
			}
			return want
		})
		if !errors.Is(err, want) {
			return fmt.Errorf("InTx() = %w, want: %t", err, want == nil)
		}
	}
	edges, err := samePage(ctx, ex, plain, evento.Query{Filters: []evento.Filter{evento.ByID("storetest/Note", id)}}, cursor.Forward(10, ""))
	if err != nil {
		return err
	}
	var got []int
	for _, e := range edges {
		event, err := evento.Decode[noted](e.Node)
		if err != nil {
			return err
		}
		got = append(got, event.Data.N)
	}
	if !slices.Equal(got, []int{0, 2}) {
		return fmt.Errorf("the events %v, want 0 and 2: the other transaction was undone", got)
	}
	return nil
}
