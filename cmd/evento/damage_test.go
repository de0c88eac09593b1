package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// answers are all that a store says.
type answers struct {
	Events    []evento.RawEvent
	Records   []evento.Record
	Snapshots []evento.StoredSnapshot
}

func ask(ctx context.Context, ex evento.Executor) (a answers, err error) {
	for _, q := range []evento.Query{{}, {Filters: []evento.Filter{evento.ByType("shop/Order")}}, {Filters: []evento.Filter{evento.ByID("shop/Order", "o-3")}}, {RoutingKey: "eu"}, {Filters: []evento.Filter{evento.ByTags("shop:1")}}, {Filters: []evento.Filter{evento.ByTags("shop:1", "\"gift\"")}}} {
		for e, err := range evento.Events(ctx, ex, q) {
			if err != nil {
				return a, err
			}
			a.Events = append(a.Events, e)
		}
	}
	records, err := ex.Records(ctx, evento.RecordQuery{Kind: "subscription"})
	if err != nil {
		return a, err
	}
	a.Records = records.Records
	page, err := ex.Snapshots(ctx, evento.SnapshotQuery{States: true})
	if err != nil {
		return a, err
	}
	a.Snapshots = page.Snapshots
	return a, nil
}

type orderPlaced struct {
	N    int
	Note string
	tags []string
}

func (orderPlaced) AggregateType() evento.AggregateType { return "shop/Order" }
func (orderPlaced) EventName() string                   { return "Placed" }
func (p orderPlaced) Tags() []string                    { return p.tags }

type orderState struct {
	Sum   int
	Notes []string
}

// fillMuch makes a store with several pages of everything.
func fillMuch(ctx context.Context, store string) error {
	return onNewStore(ctx, store, func(ex evento.Executor) error {
		r := rand.New(rand.NewPCG(1, 2))
		many := []string{"shop:1", "item:żółw", "\"gift\""}
		for i := range 300 {
			_, err := evento.Aggregate(fmt.Sprint("o-", i%30)).AnyVersion().RoutingKey([]string{"eu", "us"}[i%2]).RequestedBy("ada").Metadata("n", strconv.Itoa(i)).
				Event(orderPlaced{i, strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(300)), many[:i%4]}).Commit(ctx, ex)
			if err != nil {
				return err
			}
		}
		for i := range 20 {
			s := evento.NewSubscription(fmt.Sprint("mails-", i)).RoutingKey("eu").Logger(quiet).Handler(
				evento.HandleEvery(func(context.Context, evento.RawEvent) error { return nil }))
			if err := s.Execute(ctx, ex); err != nil {
				return err
			}
		}
		orders := evento.NewProjection[orderState]("orders", "shop/Order").SnapshotEvery(1).Handler(
			evento.Apply(func(o *orderState, e evento.Event[orderPlaced]) error {
				o.Sum += e.Data.N
				o.Notes = append(o.Notes, e.Data.Note)
				return nil
			}))
		for i := range 30 {
			if _, err := orders.Load(ctx, ex, fmt.Sprint("o-", i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// spoil damages one of the files of a store.
func spoil(r *rand.Rand, place string) (how string, err error) {
	var files []string
	err = filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, e := d.Info(); e == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		return "", err
	}
	path := files[r.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	at := r.IntN(len(b))
	switch r.IntN(6) {
	case 0, 1, 2:
		how = fmt.Sprintf("bit flipped at %d", at)
		b[at] ^= 1 << r.IntN(8)
	case 3:
		n := min(1+r.IntN(5000), len(b)-at)
		how = fmt.Sprintf("%d zeros at %d", n, at)
		clear(b[at : at+n])
	case 4:
		how = fmt.Sprintf("cut at %d of %d", at, len(b))
		b = b[:at]
	case 5:
		n := min(1+r.IntN(64), len(b)-at)
		how = fmt.Sprintf("%d random bytes at %d", n, at)
		for i := range n {
			b[at+i] = byte(r.IntN(256))
		}
	}
	return filepath.Base(path) + ": " + how, os.WriteFile(path, b, 0o600)
}

// A store that was damaged gives the answers that it gave before, or an error, or doctor
// finds an error.
func TestDamaged(t *testing.T) {
	t.Parallel()
	n := 30
	if s := os.Getenv("EVENTO_DAMAGED"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("EVENTO_DAMAGED: %v", err)
		}
	}
	for _, kind := range []storeKind{sqliteStore, pebbleStore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			whole := filepath.Join(t.TempDir(), "whole")
			if err := os.Mkdir(whole, 0o700); err != nil {
				t.Fatal(err)
			}
			address := func(dir string) string {
				if kind == pebbleStore {
					return "pebble:" + filepath.Join(dir, "events")
				}
				return "sqlite:" + filepath.Join(dir, "events.db")
			}
			if err := fillMuch(t.Context(), address(whole)); err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(t.TempDir(), "copied")
			if err := os.CopyFS(copied, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			want, err := askAt(t.Context(), address(copied))
			if err != nil || len(want.Events) < 600 || len(want.Records) == 0 || len(want.Snapshots) == 0 {
				t.Fatalf("%d events, %d records, %d snapshots, %v", len(want.Events), len(want.Records), len(want.Snapshots), err)
			}
			if code := run(t.Context(), []string{"doctor", "--store", address(copied)}, nil, io.Discard, io.Discard); code != exitOK {
				t.Fatalf("doctor of the undamaged store: %d", code)
			}
			told := map[string]int{}
			for seed := range n {
				r := rand.New(rand.NewPCG(uint64(seed), 7))
				dir := filepath.Join(t.TempDir(), "damaged")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				how, err := spoil(r, dir)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				got, err := askAt(ctx, address(dir))
				var out, errs strings.Builder
				code := run(ctx, []string{"doctor", "--store", address(dir)}, nil, &out, &errs)
				switch {
				case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
					t.Errorf("seed %d: %s: it goes on for ever", seed, how)
				case err != nil:
					told["an error"]++
				case reflect.DeepEqual(got, want):
					told["no difference"]++
				case code == exitFailed:
					told["doctor"]++
				default:
					told["not told"]++
					t.Errorf("seed %d: %s: %s, and doctor finds nothing: %s%s", seed, how, difference(want, got), out.String(), errs.String())
				}
				cancel()
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("of %d: %v", n, told)
		})
	}
}

func askAt(ctx context.Context, address string) (a answers, err error) {
	at, err := parseStore(address)
	if err != nil {
		return a, err
	}
	ex, err := at.open(ctx, changing)
	if err != nil {
		return a, err
	}
	a, err = ask(ctx, ex)
	return a, errors.Join(err, ex.Close())
}

func difference(want, got answers) string {
	at := func(n, m int, equal func(i int) bool) string {
		for i := range min(n, m) {
			if !equal(i) {
				return fmt.Sprintf("%d", i)
			}
		}
		return fmt.Sprintf("%d instead of %d", m, n)
	}
	switch {
	case !reflect.DeepEqual(want.Events, got.Events):
		return "events differ: " + at(len(want.Events), len(got.Events), func(i int) bool { return reflect.DeepEqual(want.Events[i], got.Events[i]) })
	case !reflect.DeepEqual(want.Records, got.Records):
		return "records differ: " + at(len(want.Records), len(got.Records), func(i int) bool { return reflect.DeepEqual(want.Records[i], got.Records[i]) })
	}
	return "snapshots differ: " + at(len(want.Snapshots), len(got.Snapshots), func(i int) bool { return reflect.DeepEqual(want.Snapshots[i], got.Snapshots[i]) })
}
