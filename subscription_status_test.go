package evento_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		w := &ward{fails: func(e evento.RawEvent) error {
			if e.Version == 2 {
				return errPoor
			}
			return nil
		}}
		sub := start(t, ex, w.builder())
		deposits(t, ex, "a", 3)
		time.Sleep(time.Second)
		synctest.Wait()
		control := evento.ControlOf(ex, "s")
		s, err := control.Status(t.Context())
		noErr(t, err)
		if p := s.Partitions[0]; len(s.Partitions) != 1 || p.Owner != sub.ID.String() || p.Host == "" || !p.Live || p.Position != 3 || p.Error != "" || s.Parked != 2 || s.Lag != 0 || s.Position != 3 || s.Head != 3 {
			t.Errorf("of one that runs: %+v", s)
		}
		noErr(t, sub.Shutdown(t.Context()))
		deposits(t, ex, "a", 2)
		time.Sleep(time.Hour)
		if s, err = control.Status(t.Context()); err != nil || s.Partitions[0].Live || s.Partitions[0].Owner != "" || s.Lag != time.Hour || s.Position != 3 || s.Head != 5 {
			t.Errorf("of one that does not run: %+v, %v", s, err)
		}
		noErr(t, control.DropParked(t.Context(), evento.AllParked()))
		failing := evento.NewSubscription("s").Retry(0).Logger(silent).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return errPoor }))
		if err := failing.Execute(t.Context(), ex); !errors.Is(err, errPoor) {
			t.Fatal(err)
		}
		if s, err = control.Status(t.Context()); err != nil || s.Parked != 0 || s.Partitions[0].Error != `evento: subscription "s": bank/Account MoneyDeposited of "a", version 4, position 4, failed once: not enough money` {
			t.Errorf("of one that failed: %+v, %v", s, err)
		}
	})
}

// Pending has the events that Status counts, in order, whatever partition they are of.
func TestPending(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	builder := func(fails error) *evento.SubscriptionBuilder {
		return evento.NewSubscription("s").Partitions(3).Retry(0).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.AggregateID == "b" {
				return fails
			}
			return nil
		}))
	}
	for _, id := range []string{"a", "b", "c", "b", "a", "b"} {
		deposits(t, ex, id, 1)
	}
	if err := builder(errPoor).Execute(t.Context(), ex); !errors.Is(err, errPoor) {
		t.Fatal(err)
	}
	control := evento.ControlOf(ex, "s")
	positions := func() (list []uint64) {
		for e, err := range control.Pending(t.Context()) {
			noErr(t, err)
			list = append(list, e.Position)
		}
		return list
	}
	got := positions()
	st, err := control.Status(t.Context())
	noErr(t, err)
	if len(got) < 3 || uint64(len(got)) != st.Behind || got[0] != 2 || !slices.IsSorted(got) {
		t.Errorf("pending are the positions %d, want %d from 2 on", got, st.Behind)
	}
	for e, err := range control.Pending(t.Context()) {
		noErr(t, err)
		if e.Position != 2 {
			t.Errorf("the first is at %d, want 2", e.Position)
		}
		break
	}
	noErr(t, builder(nil).Execute(t.Context(), ex))
	if got := positions(); got != nil {
		t.Errorf("when all is handled, pending are the positions %d", got)
	}
	for _, err := range evento.ControlOf(ex, "nobody").Pending(t.Context()) {
		if !errors.Is(err, evento.ErrNotFound) {
			t.Errorf("of no subscription: %v, want %v", err, evento.ErrNotFound)
		}
	}
}

// Status says what the subscription selects and keeps, and what time it is for the
// store.
func TestStatusSaysWhat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		b := evento.NewSubscription("s").RoutingKey("eu").Aggregate(Account, "b").Aggregate(Account, "a").Handler(
			evento.Handle(func(context.Context, evento.Event[AccountOpened]) error { return nil }))
		noErr(t, b.Execute(t.Context(), ex))
		noErr(t, evento.NewProjection[struct{}]("accounts", Account).Keep("kept").Partitions(2).Execute(t.Context(), ex))
		time.Sleep(time.Hour)
		for _, test := range []struct {
			control   *evento.Control
			selection string
			keeps     []string
		}{
			{evento.ControlOf(ex, "s").RoutingKey("eu"), `{"routingKey":"eu","all":false,"aggregates":{"bank/Account":["a","b"]},"events":{"bank/Account":["AccountOpened"]}}`, nil},
			{evento.ControlOf(ex, "kept"), `{"routingKey":"","all":true,"aggregates":null,"events":{"bank/Account":null}}`, []string{"accounts"}},
		} {
			s, err := test.control.Status(t.Context())
			noErr(t, err)
			selection, err := json.Marshal(s.Selection)
			noErr(t, err)
			if string(selection) != test.selection || !slices.Equal(s.Keeps, test.keeps) {
				t.Errorf("%s selects %s and keeps %q, want %s and %q", s.Key, selection, s.Keeps, test.selection, test.keeps)
			}
			if since := s.Now.Sub(s.Partitions[0].ChangedAt); since != time.Hour {
				t.Errorf("%s: the store's time is %s after the last change, want an hour", s.Key, since)
			}
		}
	})
}

// The list of subscriptions goes over pages.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var wanted, got []string
	for i := range 40 {
		key := fmt.Sprintf("key %02d", i)
		wanted = append(wanted, key)
		start(t, ex, evento.NewSubscription(key).Partitions(64).Delay(time.Hour).Handler(positions(&list[uint64]{})))
	}
	for name, err := range evento.Subscriptions(t.Context(), ex) {
		noErr(t, err)
		got = append(got, name.Key)
	}
	want(t, "subscriptions", got, wanted...)
}

// What cannot be read is told of at the end, all of it, and ends the list nowhere:
// also where a name that somebody wrote into the store is the last of a page.
func TestSubscriptionsBesideDamage(t *testing.T) {
	t.Parallel()
	record := func(key, part, value string) evento.Record {
		return evento.Record{RecordKey: evento.RecordKey{Kind: "subscription", Key: key, Part: part}, Revision: 1, Value: []byte(value)}
	}
	records := []evento.Record{record("a", "", "{}"), record("a", "route-x-shared", "no JSON"), record("a", "route-y-shared", `{"partitions":1,"routing_key":"eu"}`)}
	wanted := []string{"a"}
	for i := range evento.MaxRecords - len(records) - 1 {
		records = append(records, record("b", fmt.Sprintf("%04d", i), "{}"))
	}
	for i, key := range []string{"c\x1b[31m", "d", strings.Repeat("x", evento.MaxName+1), "y", "z"} { // the first is the last of a page
		records = append(records, record(key, "", "{}"))
		if i%2 == 1 || key == "z" {
			wanted = append(wanted, key)
		}
	}
	ex := &hooked{Executor: newStore(t), records: func(_ context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
		if err := q.Check(); err != nil {
			return nil, err
		}
		page := &evento.RecordPage{}
		for _, r := range records {
			if r.Compare(q.After) > 0 {
				page.Records = append(page.Records, r)
			}
		}
		if page.More = len(page.Records) > evento.MaxRecords; page.More {
			page.Records = page.Records[:evento.MaxRecords]
		}
		return page, nil
	}}
	var got []string
	var unreadable error
	for name, err := range evento.Subscriptions(t.Context(), ex) {
		switch {
		case unreadable != nil:
			t.Errorf("%v, %v came behind the error", name, err)
		case err != nil:
			unreadable = err
		default:
			got = append(got, name.Key)
		}
	}
	want(t, "subscriptions", got, wanted...)
	if !errors.Is(unreadable, evento.ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", unreadable)
	}
	for _, part := range []string{`"route-x-shared"`, `"route-y-shared"`, `"c\x1b[31m"`, "256 bytes"} {
		if !strings.Contains(fmt.Sprint(unreadable), part) {
			t.Errorf("%v, want %s in it", unreadable, part)
		}
	}
}

// While an event is tried again the status says why, and of which event.
func TestStatusOfRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		var failing atomic.Bool
		failing.Store(true)
		start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 2 && failing.Load() {
				return errPoor
			}
			return nil
		})))
		time.Sleep(time.Second)
		synctest.Wait()
		s, err := evento.ControlOf(ex, "s").Status(t.Context())
		noErr(t, err)
		if p := s.Partitions[0]; !strings.Contains(p.Error, errPoor.Error()) || p.ErrorEvent != events(t, ex)[1].ID.String() || s.Behind != 2 || s.Position != 1 {
			t.Errorf("while it is tried again: %+v", s)
		}
		failing.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s, err = evento.ControlOf(ex, "s").Status(t.Context()); err != nil || s.Partitions[0].Error != "" || s.Partitions[0].ErrorEvent != "" || s.Behind != 0 {
			t.Errorf("when it was handled: %+v, %v", s, err)
		}
	})
}
