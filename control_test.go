package evento_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
)

// Pause, Resume and the resets, of one that runs and of one that does not.
func TestControl(t *testing.T) {
	t.Parallel()
	for _, runs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			w := &ward{}
			control := evento.ControlOf(ex, "s")
			var listed error
			for _, err := range control.Parked(t.Context(), evento.AllParked()) {
				listed = err
			}
			for what, err := range map[string]error{
				"Pause": control.Pause(t.Context()), "ResetToStart": control.ResetToStart(t.Context()), "ResetToPosition": control.ResetToPosition(t.Context(), 3),
				"Repartition": control.Repartition(t.Context(), 2), "Remove": control.Remove(t.Context()), "Parked": listed,
				"RetryParked of an aggregate": control.RetryParked(t.Context(), evento.ParkedOf(Account, "a")),
				"RetryParked":                 control.RetryParked(t.Context(), evento.AllParked()),
				"DropParked":                  control.DropParked(t.Context(), evento.AllParked()),
			} {
				if !errors.Is(err, evento.ErrNotFound) {
					t.Errorf("%s of a subscription that was never started: %v, want ErrNotFound", what, err)
				}
			}
			var times []time.Time
			for range 4 {
				times = append(times, time.Now())
				deposits(t, ex, "a", 1)
				time.Sleep(time.Minute)
			}
			noErr(t, w.builder().Execute(t.Context(), ex))
			if runs {
				start(t, ex, w.builder())
			}
			paused := false
			step := func(what string, err error, wanted ...string) {
				t.Helper()
				noErr(t, err)
				if runs {
					time.Sleep(time.Second)
					synctest.Wait()
				} else if err := w.builder().Execute(t.Context(), ex); paused != errors.Is(err, evento.ErrPaused) || !paused && err != nil {
					t.Errorf("%s: Execute: %v, paused %t", what, err, paused)
				}
				want(t, fmt.Sprint(what, ", running ", runs), w.take(), wanted...)
			}
			step("start", nil, "a1", "a2", "a3", "a4")
			step("reset to start", control.ResetToStart(t.Context()), "a1", "a2", "a3", "a4")
			step("reset to position 2", control.ResetToPosition(t.Context(), 2), "a3", "a4")
			step("reset to the head", control.ResetToPosition(t.Context(), 4))
			step("reset beyond it", control.ResetToPosition(t.Context(), 40))
			step("reset to the time of 2", control.ResetToTime(t.Context(), times[1]), "a2", "a3", "a4")
			step("reset behind the time of 2", control.ResetToTime(t.Context(), times[1].Add(time.Second)), "a3", "a4")
			paused = true
			step("pause", control.Pause(t.Context()))
			deposits(t, ex, "a", 1)
			step("paused", nil)
			step("reset while paused", control.ResetToPosition(t.Context(), 3))
			if s, err := control.Status(t.Context()); err != nil || !s.Partitions[0].Paused || s.Position != 3 || s.Head != 5 || s.Lag < time.Minute {
				t.Errorf("status %+v, %v, want it paused at 3 of 5", s, err)
			}
			paused = false
			step("resume", control.Resume(t.Context()), "a4", "a5")
		})
	}
}

// A reset, or a pause, while a handler is at work is not overwritten by what the
// worker stores next, however long the handler takes.
func TestResetWhileHandling(t *testing.T) {
	t.Parallel()
	for _, long := range []time.Duration{100 * time.Millisecond, time.Second, time.Minute} {
		for _, pause := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ex := newStore(t)
				w := &ward{fails: func(evento.RawEvent) error { time.Sleep(long); return nil }}
				deposits(t, ex, "a", 4)
				start(t, ex, w.builder())
				time.Sleep(2*long + long/2) // the third is in hand
				control := evento.ControlOf(ex, "s")
				if pause {
					noErr(t, control.Pause(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); len(got) > 4 || long >= time.Second && len(got) > 3 {
						t.Errorf("paused within the third event of %s: handled %v", long, got)
					}
					noErr(t, control.Resume(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); len(got) > 1 {
						t.Errorf("resumed: handled %v, want nothing again", got)
					}
				} else {
					noErr(t, control.ResetToStart(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); !slices.Equal(got[len(got)-4:], []string{"a1", "a2", "a3", "a4"}) || len(got) < 7 {
						t.Errorf("reset within an event of %s: handled %v, want all of them again", long, got)
					}
				}
				wantStored(t, ex, "s", 4)
			})
		}
	}
}

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
		if s, err = control.Status(t.Context()); err != nil || s.Parked != 0 || s.Partitions[0].Error != `evento: subscription "s": bank/Account MoneyDeposited of "a", version 4, position 4, failed 1 times: not enough money` {
			t.Errorf("of one that failed: %+v, %v", s, err)
		}
	})
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
			{evento.ControlOf(ex, "s").RoutingKey("eu"), `{"routing_key":"eu","aggregates":{"bank/Account":["a","b"]},"events":{"bank/Account":["AccountOpened"]}}`, nil},
			{evento.ControlOf(ex, "kept"), `{"all":true,"events":{"bank/Account":null}}`, []string{"accounts"}},
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

func TestHooks(t *testing.T) {
	t.Parallel()
	for _, transactional := range []bool{false, true} {
		var got list[string]
		var ex evento.Executor = newStore(t)
		h := evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 2 {
				return errPoor
			}
			return nil
		})
		b := evento.NewSubscription("s").Handler(h).Retry(1).AcceptFailure().Logger(silent)
		if transactional {
			ex = newTransactor(t)
			b.Transactional().ChunkSize(1)
		}
		deposits(t, ex, "a", 3)
		noErr(t, b.Hooks(evento.SubscriptionHooks{
			Handle: func(ctx context.Context, key string, es []evento.RawEvent, next func(context.Context) error) error {
				got.add(fmt.Sprint("handle ", es[0].Position))
				return next(ctx)
			},
			Retry: func(_ context.Context, _ string, e evento.RawEvent, n int, _ error) {
				got.add(fmt.Sprint("retry ", e.Position, n))
			},
			GaveUp: func(_ context.Context, _ string, e evento.RawEvent, n int, _ error) {
				got.add(fmt.Sprint("gave up ", e.Position, n))
			},
			Owner: func(_ context.Context, _ string, p int, owner bool) { got.add(fmt.Sprint("owner ", p, owner)) },
			Stored: func(_ context.Context, _ string, _ int, e evento.RawEvent) {
				got.add(fmt.Sprint("stored ", e.Position))
			},
		}).Execute(t.Context(), ex))
		all := slices.DeleteFunc(got.all(), func(s string) bool { return s == "stored 1" }) // when depends on the clock
		want(t, "hooks", all, "owner 0 true", "handle 1", "handle 2", "retry 2 1", "handle 2", "gave up 2 2", "stored 2", "stored 3", "owner 0 false")
	}
}

// Each hook's context says of which of the subscriptions with one key it is told,
// also when a handler of another has started it.
func TestHooksOfARoutingKey(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{}).RoutingKey("eu"))
	commit(t, ex, evento.Aggregate("outer").Event(AccountOpened{}))
	var got list[string]
	note := func(ctx context.Context, hook, key string) {
		d := evento.DeliveryFrom(ctx)
		got.add(fmt.Sprint(hook, " ", key, " ", d.Key, " ", d.RoutingKey))
	}
	inner := func() *evento.SubscriptionBuilder {
		return evento.NewSubscription("s").RoutingKey("eu").Retry(1).Logger(silent).Hooks(evento.SubscriptionHooks{
			Handle: func(ctx context.Context, key string, es []evento.RawEvent, next func(context.Context) error) error {
				note(ctx, "handle", key)
				return next(ctx)
			},
			Retry:  func(ctx context.Context, key string, _ evento.RawEvent, _ int, _ error) { note(ctx, "retry", key) },
			GaveUp: func(ctx context.Context, key string, _ evento.RawEvent, _ int, _ error) { note(ctx, "gave up", key) },
			Owner:  func(ctx context.Context, key string, _ int, _ bool) { note(ctx, "owner", key) },
			Stored: func(ctx context.Context, key string, _ int, _ evento.RawEvent) { note(ctx, "stored", key) },
		}).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
			if note(ctx, "handler", "s"); e.Version == 2 {
				return errPoor
			}
			return nil
		}))
	}
	var failed *evento.HandlerError
	outer := evento.NewSubscription("outer").Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		if err := inner().Execute(ctx, ex); !errors.As(err, &failed) {
			t.Errorf("Execute: %v, want a HandlerError", err)
		}
		return nil
	}))
	noErr(t, outer.Execute(t.Context(), ex))
	all := got.all()
	slices.Sort(all)
	const twice = " s " + "s eu" // by the hook's parameter, and by its context
	want(t, "hooks", slices.Compact(all), "gave up"+twice, "handle"+twice, "handler"+twice, "owner"+twice, "retry"+twice, "stored"+twice)
	text := `evento: subscription "s" of routing key "eu": bank/Account MoneyDeposited of "a", version 2, position 2, failed 2 times: not enough money`
	if failed.Key != "s" || failed.RoutingKey != "eu" || failed.Error() != text {
		t.Errorf("%q of %q %q, want %q", failed, failed.Key, failed.RoutingKey, text)
	}
	if s, err := evento.ControlOf(ex, "s").RoutingKey("eu").Status(t.Context()); err != nil || s.Partitions[0].Error != text {
		t.Errorf("status %+v, %v, want the error %q", s, err, text)
	}
}
