package evento_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// mixed stores events of two types, with and without routing keys: positions
// 1 to 8.
func mixed(t *testing.T, ex evento.Executor) {
	t.Helper()
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{Owner: "x"}, MoneyDeposited{Amount: 1}))
	commit(t, ex, evento.Aggregate("eu").Event(AccountOpened{Owner: "y"}).RoutingKey("eu"))
	commit(t, ex, evento.Aggregate("us").Event(AccountOpened{Owner: "z"}).RoutingKey("us"))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "n"}))
	commit(t, ex, evento.Aggregate("eu").OriginalVersion(1).Event(MoneyDeposited{Amount: 2}))
	commit(t, ex, evento.Aggregate("a").OriginalVersion(2).Event(MoneyWithdrawn{Amount: 1}, MoneyWithdrawn{Amount: 2}))
}

func TestSubscriptionChoosesEvents(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	mixed(t, ex)
	var got []uint64
	all := func(t evento.AggregateType) evento.SubscriptionHandler {
		return evento.HandleAll(t, func(_ context.Context, e evento.RawEvent) error {
			got = append(got, e.Position)
			return nil
		})
	}
	opened := evento.Handle(func(_ context.Context, e evento.Event[AccountOpened]) error {
		got = append(got, e.Position)
		return nil
	})
	withdrawn := evento.Handle(func(_ context.Context, e evento.Event[MoneyWithdrawn]) error {
		got = append(got, e.Position)
		return nil
	})
	accounts, owners := all(Account), all(ownerType)
	for i, test := range []struct {
		name string
		set  func(*evento.SubscriptionBuilder)
		want []uint64

		routingKey string
	}{
		{"those without a routing key", func(b *evento.SubscriptionBuilder) { b.Handler(accounts, owners) }, []uint64{1, 2, 5, 7, 8}, ""},
		{"one routing key", func(b *evento.SubscriptionBuilder) { b.Handler(accounts, owners).RoutingKey("eu") }, []uint64{3, 6}, "eu"},
		{"an unknown routing key", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).RoutingKey("EU") }, nil, "EU"},
		{"all", func(b *evento.SubscriptionBuilder) { b.Handler(accounts, owners).All() }, upTo(8), ""},
		{"the last word counts", func(b *evento.SubscriptionBuilder) { b.Handler(accounts, owners).RoutingKey("eu").All() }, upTo(8), ""},
		{"the last word counts", func(b *evento.SubscriptionBuilder) { b.Handler(accounts, owners).All().RoutingKey("us") }, []uint64{4}, "us"},
		{"one type", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).All() }, []uint64{1, 2, 3, 4, 6, 7, 8}, ""},
		{"one event", func(b *evento.SubscriptionBuilder) { b.Handler(withdrawn).All() }, []uint64{7, 8}, ""},
		{"two events", func(b *evento.SubscriptionBuilder) { b.Handler(withdrawn).Handler(opened).All() }, []uint64{1, 3, 4, 7, 8}, ""},
		{"an event and a type", func(b *evento.SubscriptionBuilder) { b.Handler(withdrawn, owners).All() }, []uint64{5, 7, 8}, ""},
		{"one aggregate", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).All().Aggregate(Account, "eu") }, []uint64{3, 6}, ""},
		{"one aggregate of those unrouted", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).Aggregate(Account, "eu") }, nil, ""},
		{"one event of one aggregate", func(b *evento.SubscriptionBuilder) { b.Handler(withdrawn).Aggregate(Account, "a") }, []uint64{7, 8}, ""},
		{"two aggregates", func(b *evento.SubscriptionBuilder) {
			b.Handler(opened).All().Aggregate(Account, "us").Aggregate(Account, "a")
		}, []uint64{1, 4}, ""},
		{"aggregates of two types", func(b *evento.SubscriptionBuilder) {
			b.Handler(accounts, owners).All().Aggregate(Account, "us").Aggregate(ownerType, "o")
		}, []uint64{4, 5}, ""},
		{"one that is not there", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).All().Aggregate(Account, "nobody") }, nil, ""},
		{"skipped, which needs no saying", func(b *evento.SubscriptionBuilder) { b.Handler(withdrawn).Skip(AccountOpened{}).All() }, []uint64{7, 8}, ""},
		{"with a safety check", func(b *evento.SubscriptionBuilder) {
			b.Handler(withdrawn, opened).Skip(MoneyDeposited{}).SafetyCheck().All()
		}, []uint64{1, 3, 4, 7, 8}, ""},
		{"with a safety check on all", func(b *evento.SubscriptionBuilder) { b.Handler(accounts).SafetyCheck().All() }, []uint64{1, 2, 3, 4, 6, 7, 8}, ""},
	} {
		for _, chunk := range []int{1, 3, 300} {
			got = nil
			key := fmt.Sprintf("%d in chunks of %d", i, chunk)
			b := evento.NewSubscription(key).ChunkSize(chunk)
			test.set(b)
			if err := b.Execute(t.Context(), ex); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s, %s: handled %v, %v, want %v", test.name, key, got, err, test.want)
			}
			got = nil
			if err := b.Execute(t.Context(), ex); err != nil || got != nil {
				t.Errorf("%s, %s, again: handled %v, %v, want nothing", test.name, key, got, err)
			}
			wantStoredOf(t, evento.ControlOf(ex, key).RoutingKey(test.routingKey), ex, 8) // what was passed over is done too
		}
	}
}

func TestSubscriptionSafetyCheck(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	mixed(t, ex)
	var got []uint64
	opened := evento.Handle(func(_ context.Context, e evento.Event[AccountOpened]) error {
		got = append(got, e.Position)
		return nil
	})
	err := evento.NewSubscription("s").Handler(opened).Skip(MoneyDeposited{}).SafetyCheck().All().Execute(t.Context(), ex)
	if want := `evento: unhandled event: subscription "s": bank/Account MoneyWithdrawn of "a", version 3, position 7`; !errors.Is(err, evento.ErrUnhandledEvent) || fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
	if want := []uint64{1, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
	wantStored(t, ex, "s", 6)
}

func TestSubscriptionMistakes(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	opened := evento.Handle(func(context.Context, evento.Event[AccountOpened]) error { return nil })
	accounts := evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return nil })
	every := evento.HandleEvery(func(context.Context, evento.RawEvent) error { return nil })
	fresh := func() *evento.SubscriptionBuilder { return evento.NewSubscription("s").Handler(opened) }
	for _, test := range []struct {
		name string
		b    *evento.SubscriptionBuilder
		want string
	}{
		{"no key", evento.NewSubscription("").Handler(opened), "invalid subscription key: empty"},
		{"a bad key", evento.NewSubscription("a\n").Handler(opened), "invalid subscription key"},
		{"no handler", evento.NewSubscription("s"), "invalid handler: there is none"},
		{"two of one event", fresh().Handler(opened), "invalid handler: two for bank/Account AccountOpened"},
		{"two of one event at once", evento.NewSubscription("s").Handler(opened, opened), "two for bank/Account AccountOpened"},
		{"two of every event", evento.NewSubscription("s").Handler(every, every), "two for every event"},
		{"a pattern", evento.NewSubscription("s").Handler(evento.HandleAll("*", func(context.Context, evento.RawEvent) error { return nil })), "there are no patterns"},
		{"a pattern for batches", evento.NewSubscription("s").Handler(evento.HandleAllBatch("bank/*", func(context.Context, []evento.RawEvent) error { return nil })), "there are no patterns"},
		{"two of one type", evento.NewSubscription("s").Handler(accounts, accounts), "two for bank/Account"},
		{"a nil function", evento.NewSubscription("s").Handler(evento.Handle[AccountOpened](nil)), "invalid handler: the function is nil"},
		{"a nil function of a type", evento.NewSubscription("s").Handler(evento.HandleAll(Account, nil)), "invalid handler: the function is nil"},
		{"a type without a name", evento.NewSubscription("s").Handler(evento.HandleAll("", func(context.Context, evento.RawEvent) error { return nil })), "invalid aggregate type: empty"},
		{"an event with a bad name", evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[badName]) error { return nil })), "invalid event name"},
		{"an event without a name", evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[nameless]) error { return nil })), "invalid event name: empty"},
		{"an interface", evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[evento.Payload]) error { return nil })), "evento.Payload is an interface"},
		{"an empty handler", evento.NewSubscription("s").Handler(evento.SubscriptionHandler{}), "invalid handler: it is empty"},
		{"nil skipped", fresh().Skip(nil), "the payload is nil"},
		{"an aggregate without an id", fresh().Aggregate(Account, ""), "invalid aggregate id: empty"},
		{"an aggregate of another type", fresh().Aggregate(ownerType, "o"), "invalid handler: bank/Account AccountOpened is of none of its aggregates"},
		{"a bad aggregate id", fresh().Aggregate(Account, "a\n"), "invalid aggregate id"},
		{"an empty routing key", fresh().RoutingKey(""), "invalid routing key: empty"},
		{"no chunk", fresh().ChunkSize(0), "invalid chunk size: 0 is not 1 to 10000"},
		{"a large chunk", fresh().ChunkSize(cursor.MaxPage + 1), "invalid chunk size: 10001"},
		{"retries below none", fresh().Retry(-1), "invalid retries: -1"},
		{"a delay below none", fresh().Delay(-1), "invalid delay: -1ns"},
	} {
		for range 2 {
			err := test.b.Execute(t.Context(), ex)
			sub, startErr := test.b.Start(t.Context(), ex)
			if sub != nil {
				t.Errorf("%s: a worker was started", test.name)
			}
			for name, err := range map[string]error{"Execute": err, "Start": startErr} {
				if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.want) || !strings.Contains(fmt.Sprint(err), "subscription ") {
					t.Errorf("%s: %s: %v, want ErrInvalid, the subscription, and %q", test.name, name, err, test.want)
				}
			}
		}
	}
	if status, err := evento.ControlOf(ex, "s").Status(t.Context()); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("a mistake left a subscription behind: %+v, %v", status, err)
	}
}

type badName struct{}

func (badName) AggregateType() evento.AggregateType { return Account }
func (badName) EventName() string                   { return "a\n" }

func TestSubscriptionData(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	type mailer struct{ from string }
	var got []any
	err := evento.NewSubscription("s").Data(&mailer{"x"}).Data(3).
		Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
			m, ok := evento.Data[*mailer](ctx)
			_, other := evento.Data[mailer](ctx)
			n, _ := evento.Data[int](ctx)
			got = []any{m.from, ok, other, n, evento.ExecutorFrom(ctx) == evento.Executor(ex), ctx.Value(ownKey{})}
			return nil
		})).Execute(context.WithValue(t.Context(), ownKey{}, "caller's"), ex)
	if want := []any{"x", true, false, 3, true, "caller's"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the handler saw %v, %v, want %v", got, err, want)
	}
}

func TestExecuteResumes(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 10)
	var got list[uint64]
	b := evento.NewSubscription("s").Handler(positions(&got)).ChunkSize(4)
	for _, more := range []int{0, 1, 7} {
		if more > 0 {
			deposits(t, ex, "a", more)
		}
		if err := b.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		head := len(events(t, ex))
		if !slices.Equal(got.all(), upTo(head)) {
			t.Errorf("handled %v in all, want 1 to %d, once", got.all(), head)
		}
		wantStored(t, ex, "s", head)
	}
	// Another key begins at the first event.
	var other list[uint64]
	if err := evento.NewSubscription("t").Handler(positions(&other)).Execute(t.Context(), ex); err != nil || !slices.Equal(other.all(), upTo(18)) {
		t.Errorf("another key handled %v, %v, want all 18", other.all(), err)
	}
}

func TestHandlerErrorStopsBeforeTheEvent(t *testing.T) {
	t.Parallel()
	errMail := errors.New("no mail today")
	for _, failing := range []uint64{1, 4, 5, 10} {
		for _, chunk := range []int{1, 5, 300} {
			ex := newStore(t)
			deposits(t, ex, "a", 10)
			var got []uint64
			err := evento.NewSubscription("s").ChunkSize(chunk).Retry(0).Logger(silent).
				Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
					if e.Position == failing {
						return errMail
					}
					got = append(got, e.Position)
					return nil
				})).Execute(t.Context(), ex)
			var h *evento.HandlerError
			if !errors.As(err, &h) || !errors.Is(err, errMail) || h.Key != "s" || h.Event.Position != failing || h.Attempts != 1 {
				t.Errorf("event %d in chunks of %d: %v, want a HandlerError of one attempt", failing, chunk, err)
				continue
			}
			want := fmt.Sprintf(`evento: subscription "s": bank/Account MoneyDeposited of "a", version %d, position %d, failed once: no mail today`, failing, failing)
			if h.Error() != want {
				t.Errorf("error %q, want %q", h, want)
			}
			if !slices.Equal(got, upTo(int(failing)-1)) {
				t.Errorf("event %d in chunks of %d: handled %v, want those before it", failing, chunk, got)
			}
			wantStored(t, ex, "s", int(failing)-1)
		}
	}
}

func mailOut(context.Context, evento.Event[MoneyDeposited]) error { panic("the printer is on fire") }

func TestHandlerPanicIsAFailure(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	err := evento.NewSubscription("s").Retry(0).Logger(silent).Handler(evento.Handle(mailOut)).Execute(t.Context(), ex)
	var h *evento.HandlerError
	if !errors.As(err, &h) || !strings.Contains(err.Error(), "the printer is on fire") || !strings.Contains(err.Error(), "evento_test.mailOut(") {
		t.Errorf("%v, want a HandlerError with the panic and its stack", err)
	}
	tries := 0
	err = evento.NewSubscription("t").Retry(1).Logger(silent).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
		if tries++; tries == 1 {
			panic(errPoor)
		}
		return nil
	})).Execute(t.Context(), ex)
	if err != nil || tries != 2 {
		t.Errorf("a panic, then none: %v after %d tries, want it handled at the second", err, tries)
	}
}

func TestAcceptFailure(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3)
	broken := writeRaw(t, ex, "b", MoneyDeposited{}, "cbor", []byte("\xff"))
	deposits(t, ex, "c", 1)
	deposits(t, ex, "b", 1)
	var out bytes.Buffer
	var got []uint64
	err := evento.NewSubscription("s").Retry(0).AcceptFailure().Logger(slog.New(slog.NewTextHandler(&out, nil))).
		Handler(evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
			if e.Position == 2 {
				return errors.New("no mail today")
			}
			got = append(got, e.Position)
			return nil
		})).Execute(t.Context(), ex)
	if want := []uint64{1, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("handled %v, %v, want %v", got, err, want)
	}
	wantStored(t, ex, "s", 6)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	failed := events(t, ex)[1].ID
	for i, parts := range [][]string{
		{"level=ERROR", "subscription=s", "event=" + failed.String(), `kind="bank/Account MoneyDeposited"`, "aggregate=a", "position=2", "attempts=1", "no mail today"},
		{"level=ERROR", "event=" + broken.String(), "position=4", "attempts=1", "undecodable event"},
	} {
		for _, part := range parts {
			if len(lines) != 2 || !strings.Contains(lines[i], part) {
				t.Errorf("the log is\n%s\nwant two lines, the %dth with %s", out.String(), i+1, part)
			}
		}
	}
	var parked []string
	for p, err := range evento.ControlOf(ex, "s").Parked(t.Context(), evento.AllParked()) {
		if err != nil {
			t.Fatal(err)
		}
		parked = append(parked, fmt.Sprint(p.Position, " ", p.AggregateID, p.Version, " ", p.Attempts, " ", p.Error != ""))
	}
	if want := []string{"2 a2 1 true", "3 a3 0 false", "4 b1 1 true", "6 b2 0 false"}; !slices.Equal(parked, want) {
		t.Errorf("parked are %v, want %v", parked, want)
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 5000)
	for _, test := range []struct {
		chunk int
		// The last but one reads again what was not full when it was read ahead;
		// the last finds that there is none left.
		want []int
	}{
		{0, []int{300, 600, 1200, 2000, 2000, 2000, 300}},
		{1, []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2000, 2000, 2000, 1}},
		{2000, []int{2000, 2000, 2000, 2000, 2000}},
		{5000, []int{5000, 5000}},
		{10_000, []int{10_000, 10_000}},
	} {
		var limits []int
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			limits = append(limits, args.Limit())
			return store.Read(ctx, q, args)
		}}
		var got list[uint64]
		b := evento.NewSubscription(fmt.Sprint(test.chunk)).Handler(positions(&got))
		if test.chunk > 0 {
			b.ChunkSize(test.chunk)
		}
		if err := b.Execute(t.Context(), ex); err != nil || !slices.Equal(got.all(), upTo(5000)) {
			t.Errorf("chunk size %d: handled %d events, %v", test.chunk, len(got.all()), err)
		}
		if !slices.Equal(limits, test.want) {
			t.Errorf("chunk size %d: read %v, want %v", test.chunk, limits, test.want)
		}
	}
}

// Execute is a worker like another: it takes the key from one that runs, and
// loses it to one that comes.
func TestExecuteTakesOver(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3)
	var got list[uint64]
	b := evento.NewSubscription("s").Handler(positions(&got))
	sub, err := b.Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Execute(t.Context(), ex); err != nil {
		t.Errorf("Execute beside a running worker: %v", err)
	}
	<-sub.Done()
	if !errors.Is(sub.Err(), evento.ErrTakenOver) || !strings.Contains(sub.Err().Error(), `"s"`) {
		t.Errorf("the worker ended with %v, want ErrTakenOver and the key", sub.Err())
	}
	if err := sub.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of a worker that ended: %v", err)
	}
	var inner error
	err = evento.NewSubscription("t").ChunkSize(1).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
		if e.Position == 2 {
			inner = evento.NewSubscription("t").Handler(positions(&got)).Execute(ctx, ex)
		}
		return nil
	})).Execute(t.Context(), ex)
	if inner != nil || !errors.Is(err, evento.ErrTakenOver) {
		t.Errorf("an Execute within an Execute: %v, %v, want the outer to end with ErrTakenOver", inner, err)
	}
	wantStored(t, ex, "t", 3)
}

func TestExecuteStoreErrors(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 3)
	errDisk := errors.New("disk on fire")
	var got list[uint64]
	for name, ex := range map[string]*hooked{
		"read": {Executor: store, read: func(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			return nil, errDisk
		}},
		"records": {Executor: store, records: func(context.Context, evento.RecordQuery) (*evento.RecordPage, error) { return nil, errDisk }},
		"swap":    {Executor: store, swap: func(context.Context, evento.Swap) error { return errDisk }},
	} {
		b := evento.NewSubscription("s").Handler(positions(&got))
		if err := b.Execute(t.Context(), ex); !errors.Is(err, errDisk) {
			t.Errorf("Execute with a failing %s: %v, want %v", name, err, errDisk)
		}
	}
	if sub, err := evento.NewSubscription("s").Handler(positions(&got)).Start(t.Context(), &hooked{Executor: store, swap: func(context.Context, evento.Swap) error { return errDisk }}); sub != nil || !errors.Is(err, errDisk) {
		t.Errorf("Start with a failing swap: %v, %v, want %v", sub, err, errDisk)
	}
}

// A place stored by another store is reported, not taken for the beginning.
func TestSubscriptionForeignCursor(t *testing.T) {
	t.Parallel()
	ex, other := newStore(t), newStore(t)
	deposits(t, ex, "a", 1)
	deposits(t, other, "a", 1)
	foreign := &hooked{Executor: ex, records: func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
		page, err := ex.Records(ctx, q)
		for i := range page.Records {
			r := &page.Records[i]
			r.Value = []byte(strings.Replace(string(r.Value), `"cursor":""`, `"cursor":"`+string(cursorOf(t, other, 1))+`"`, 1))
		}
		return page, err
	}}
	if err := evento.NewSubscription("s").Handler(positions(&list[uint64]{})).Execute(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	if err := evento.ControlOf(ex, "s").ResetToStart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got list[uint64]
	b := evento.NewSubscription("s").Handler(positions(&got))
	if err := b.Execute(t.Context(), foreign); !errors.Is(err, cursor.ErrForeign) {
		t.Errorf("Execute: %v, want ErrForeign", err)
	}
	sub, err := b.Start(t.Context(), foreign)
	if err != nil {
		t.Fatal(err)
	}
	<-sub.Done()
	if !errors.Is(sub.Err(), cursor.ErrForeign) || len(got.all()) != 0 {
		t.Errorf("Start: ended with %v after handling %v, want ErrForeign", sub.Err(), got.all())
	}
}

// Whatever error a handler returns, the cursor is stored before its event.
func TestHandlerErrorsThatLookLikeTheStores(t *testing.T) {
	t.Parallel()
	for _, fails := range []error{evento.ErrClosed, evento.ErrTakenOver, evento.ErrConflict, evento.ErrInvalid, context.Canceled} {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		err := evento.NewSubscription("s").Retry(0).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 3 {
				return fails // of another store, say
			}
			return nil
		})).Execute(t.Context(), ex)
		var h *evento.HandlerError
		if !errors.As(err, &h) {
			t.Errorf("%v, want a HandlerError", err)
		}
		wantStored(t, ex, "s", 2)
	}
}

// What cannot be decoded is another event: that may get better.
func TestDecodeErrorOfAnotherEventIsRetried(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	err := evento.NewSubscription("s").Retry(2).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
		return &evento.DecodeError{ID: evento.NewID(), Err: errPoor}
	})).Execute(t.Context(), ex)
	var h *evento.HandlerError
	if !errors.As(err, &h) || h.Attempts != 3 {
		t.Errorf("%v, want 3 attempts", err)
	}
}

// Execute also processes what its handlers commit, in the last chunk too.
func TestExecuteFollowsItsHandlers(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	n := 0
	err := evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		if n++; n < 5 {
			_, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{}).Commit(ctx, evento.ExecutorFrom(ctx))
			return err
		}
		return nil
	})).Execute(t.Context(), ex)
	if err != nil || n != 5 {
		t.Errorf("handled %d events, %v, want 5", n, err)
	}
}
