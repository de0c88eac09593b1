package evento_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// says is an error, what it is of, and what else its text has to say.
type says struct {
	of   string
	err  error
	want string
}

// only drops what a call returns beside its error.
func only[T any](_ T, err error) error { return err }

// lastOf is the error that a range ends with.
func lastOf[T any](all iter.Seq2[T, error]) (last error) {
	for _, err := range all {
		last = err
	}
	return last
}

// An error's text begins with "evento: " and has that once, whatever the error is
// of and however many errors of the library are in it. It names the input.
func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for _, some := range [][]says{
		textsOfCommits(t), textsOfQueries(t), textsOfStores(t), textsOfProjections(t), textsOfSnapshots(t),
		textsOfBuilders(t), textsOfHandlers(t), textsOfControl(t), textsOfDamage(t),
	} {
		for _, s := range some {
			text := fmt.Sprint(s.err)
			t.Logf("%s: %s", s.of, cutAt(text, 200))
			if !strings.HasPrefix(text, "evento: ") || strings.Count(text, "evento:") != 1 || !strings.Contains(text, s.want) {
				t.Errorf("%s: %s\nwant \"evento: \" once, at the front, and %q", s.of, text, s.want)
			}
		}
	}
}

func cutAt(text string, n int) string { return text[:min(n, len(text))] }

func textsOfCommits(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	deposits(t, ex, "a", 2)
	of := func(b *evento.CommitBuilder) error { return only(b.Commit(ctx, ex)) }
	good := MoneyDeposited{Amount: 1}
	late := evento.Aggregate("late").Event(good)
	noErr(t, of(late))
	return []says{
		{"no events", of(evento.Aggregate("a")), `aggregate "a"`},
		{"a nil payload", of(evento.Aggregate("a").Event(nil)), `payload 1 of aggregate "a": invalid event`},
		{"a bad event name", of(evento.Aggregate("a").Event(good, badName{})), `payload 2 of aggregate "a": payload evento_test.badName: invalid event name`},
		{"two types", of(evento.Aggregate("a").Event(good, &renamed{})), "commit them with CommitAll"},
		{"a retired payload", of(evento.Aggregate("a").Event(moved{})), "is retired"},
		{"events added later", of(late.Event(good)), `"late"`},
		{"an id", of(evento.Aggregate("a\n").Event(good)), `aggregate id "a\n"`},
		{"a routing key", of(evento.Aggregate("b").RoutingKey("\x00").Event(good)), "routing key"},
		{"metadata", of(evento.Aggregate("b").Metadata("k", "\x00").Event(good)), `metadata value of "k"`},
		{"a codec's name", of(evento.Aggregate("b").Codec(namedCodec{evento.CBOR(), ""}).Event(good)), "codec name: empty"},
		{"a codec that fails", of(evento.Aggregate("b").Event(unwritable{})), "encoding"},
		{"a payload too large", of(evento.Aggregate("b").Codec(fixedCodec{make([]byte, evento.MaxPayload+1)}).Event(good)), "encoding bank/Account MoneyDeposited: too large"},
		{"a conflict", of(evento.Aggregate("a").Event(good)), `"a" is at version 2`},
		{"a nil builder", only(evento.CommitAll(ctx, ex, nil)), "a builder is nil"},
		{"an aggregate twice", only(evento.CommitAll(ctx, ex, evento.Aggregate("b").Event(good), evento.Aggregate("b").Event(good))), "twice"},
	}
}

func textsOfQueries(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	transactor := newTransactor(t)
	of := func(filters ...evento.Filter) error {
		return lastOf(evento.Events(ctx, ex, evento.Query{Filters: filters}))
	}
	texts := []says{
		{"an empty id", of(evento.ByID(Account, "")), "invalid filter: aggregate id: empty"},
		{"an event with a bad name", of(evento.ByEvent(badName{})), "invalid filter: payload evento_test.badName: invalid event name"},
		{"former names twice", of(evento.EventsOf(twice{})...), "leave it out of FormerNames once"},
		{"too many filters", of(make([]evento.Filter, evento.MaxFilters+1)...), "1001 filters"},
		{"two routings", lastOf(evento.Events(ctx, ex, evento.Query{RoutingKey: "eu", Unrouted: true})), `"eu"`},
		{"an event of no kind", only(evento.HasEvent[evento.Payload](ctx, ex, "a")), "is an interface"},
		{"another event", only(evento.Decode[AccountOpened](evento.RawEvent{AggregateType: Account, Name: "MoneyDeposited"})), "is not"},
		{"an unknown codec", only(evento.Decode[AccountOpened](evento.RawEvent{AggregateType: Account, Name: "AccountOpened", Codec: "none"})), `codec "none": unknown codec`},
		{"following a bad cursor", lastOf(evento.Follow(ctx, ex, evento.Query{}, "nonsense")), `follow after "nonsense"`},
		{"following a bad query", lastOf(evento.Follow(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(badName{})}}, "")), "badName"},
		{"following without a feed", lastOf(evento.Follow(ctx, feedless{ex}, evento.Query{}, "")), "Feed"},
	}
	noErr(t, transactor.InTx(ctx, func(ctx context.Context) error {
		texts = append(texts, says{"following in a transaction", lastOf(evento.Follow(evento.TxContext(ctx), ex, evento.Query{}, "")), "outside of it"})
		return nil
	}))
	return texts
}

func textsOfStores(t *testing.T) []says {
	t.Helper()
	imported := func(change func(*evento.RawEvent)) error {
		events := []evento.RawEvent{stored(1, "a", 1), stored(2, "a", 2)}
		change(&events[1])
		return evento.CheckImport(events)
	}
	record := evento.RecordKey{Kind: "k", Key: "k"}
	return []says{
		{"an import of a bad name", imported(func(e *evento.RawEvent) { e.Name = "" }), "event at position 2: invalid event name: empty"},
		{"an import with metadata", imported(func(e *evento.RawEvent) { e.Metadata.ID = "\x00" }), "event at position 2: invalid metadata id"},
		{"an import of too much", imported(func(e *evento.RawEvent) { e.Data = make([]byte, evento.MaxPayload+1) }), "event at position 2: too large"},
		{"an import with a gap", imported(func(e *evento.RawEvent) { e.Position = 4 }), "4 comes after 1"},
		{"an empty write", evento.Write{}.Check(), ""},
		{"a bad limit", evento.RecordQuery{Kind: "k", Limit: -1}.Check(), "-1"},
		{"a bad key to begin behind", evento.SnapshotQuery{After: evento.SnapshotKey{Projection: "\xff"}}.Check(), "key to begin behind"},
		{"an empty swap", evento.Swap{}.Check(), "1 to 100"},
		{"a swap of one record twice", evento.Swap{Changes: []evento.Change{{RecordKey: record}, {RecordKey: record}}}.Check(), "twice"},
	}
}

func textsOfProjections(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	deposits(t, ex, "a", 2)
	writeRaw(t, ex, "broken", MoneyDeposited{}, "cbor", []byte{0xff})
	type state struct{ N int }
	fails := func(err error) evento.Applier[state] {
		return evento.Apply(func(*state, evento.Event[MoneyDeposited]) error { return err })
	}
	of := func(p *evento.Projection[state], id string, opts ...evento.LoadOption) error {
		return only(p.Load(ctx, ex, id, opts...))
	}
	fresh := func(handlers ...evento.Applier[state]) *evento.Projection[state] {
		return evento.NewProjection[state]("p", Account).Handler(handlers...)
	}
	return []says{
		{"a bad name", of(evento.NewProjection[state]("", Account), "a"), `projection "": invalid projection name: empty`},
		{"an empty handler", of(fresh(evento.Applier[state]{}), "a"), `projection "p": invalid handler`},
		{"two handlers", of(fresh(fails(nil), fails(nil)), "a"), "two for"},
		{"names twice", of(fresh(evento.Apply(func(*state, evento.Event[twice]) error { return nil })), "a"), `projection "p": payload evento_test.twice: invalid former event name "Once"`},
		{"a codec twice", of(fresh().Codecs(evento.CBOR(), evento.CBOR()), "a"), `two are named "cbor"`},
		{"no events", of(fresh(), "none"), `"none"`},
		{"a version", of(fresh(), "a", evento.AtVersion(9)), "version 9"},
		{"an unhandled event", of(fresh().SafetyCheck(), "a"), `projection "p"`},
		{"an undecodable event", of(fresh(fails(nil)), "broken"), `"broken"`},
		{"a handler that fails", of(fresh(fails(errPoor)), "a"), "version 1, position 1: not enough money"},
		{"a handler that meets an error of the library", of(fresh(fails(evento.ErrTooLarge)), "a"), "position 1: too large"},
		{"an update without a function", only(fresh().Update(ctx, ex, "a", nil)), "the function is nil"},
		{"an update of the past", only(fresh().Update(ctx, ex, "a", nil, evento.AtVersion(1))), "AtVersion"},
	}
}

func textsOfSnapshots(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	deposits(t, ex, "a", 1)
	type lossy struct{ Do func() }
	type large struct{ B []byte }
	grows := evento.NewProjection[large]("large", Account).SnapshotEvery(1).Handler(evento.Apply(func(l *large, _ evento.Event[MoneyDeposited]) error {
		l.B = make([]byte, evento.MaxPayload+1)
		return nil
	}))
	grown, err := grows.Load(ctx, ex, "a")
	noErr(t, err)
	unfit := evento.NewProjection[lossy]("lossy", Account).SnapshotEvery(1)
	keep := func(b *evento.SubscriptionBuilder) error { return b.Retry(0).Execute(ctx, ex) }
	return []says{
		{"a state that is lost", only(unfit.Load(ctx, ex, "a")), `projection "lossy": invalid state`},
		{"keeping a state that is lost", keep(unfit.Keep("unfit")), `subscription "unfit": projection "lossy": invalid state`},
		{"keeping with a mistake", keep(evento.NewProjection[large]("", Account).Keep("bad")), `subscription "bad": projection "": invalid projection name: empty`},
		{"keeping a state too large", keep(grows.Keep("large")), `failed once: too large: snapshot of projection "large"`},
		{"a state too large", grown.SnapshotErr, `snapshot of projection "large"`},
		{"states that are not kept", lastOf(evento.NewProjection[large]("other", Account).States(ctx, ex, evento.StatesAfter("a"))), "Projection.Keep"},
		{"states behind a bad id", lastOf(grows.States(ctx, ex, evento.StatesAfter("\n"))), "aggregate id"},
		{"snapshots of no projection", lastOf(evento.Snapshots(ctx, ex, evento.SnapshotsOf(""))), "projection name: empty"},
		{"two filters", only(evento.DeleteSnapshots(ctx, ex, evento.SnapshotsOf("p"), evento.SnapshotsOf("q"))), "two for a projection"},
	}
}

func textsOfBuilders(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	fresh := func() *evento.SubscriptionBuilder {
		return evento.NewSubscription("s").Handler(positions(&list[uint64]{}))
	}
	of := func(b *evento.SubscriptionBuilder) error { return only(b.Start(ctx, ex)) }
	noErr(t, fresh().Execute(ctx, ex))
	return []says{
		{"a bad key", of(evento.NewSubscription("")), `subscription "": invalid subscription key: empty`},
		{"no handler", of(evento.NewSubscription("s")), `subscription "s": invalid handler`},
		{"names twice", of(fresh().Handler(evento.Handle(func(context.Context, evento.Event[twice]) error { return nil }))), `subscription "s": payload evento_test.twice: invalid`},
		{"a chunk", of(fresh().ChunkSize(0)), `subscription "s": invalid chunk size: 0`},
		{"a lease", of(fresh().Lease(1)), "invalid lease: 1ns"},
		{"other aggregates", of(fresh().Aggregate(ownerType, "o")), `subscription "s"`},
		{"another selection", of(fresh().All()), "Control.Reselect"},
		{"other partitions", of(fresh().Partitions(2)), "Control.Repartition"},
		{"nothing to run", evento.Run(ctx, ex), "there is no subscription"},
		{"one to run twice", evento.Run(ctx, ex, fresh(), fresh()), "twice"},
	}
}

func textsOfHandlers(t *testing.T) []says {
	t.Helper()
	ctx := t.Context()
	// run makes a store of some events of four aggregates, and executes.
	run := func(b *evento.SubscriptionBuilder, change ...func(*hooked)) error {
		ex := &hooked{Executor: newStore(t)}
		for _, id := range []string{"a", "b", "c", "d"} {
			deposits(t, ex, id, 1)
		}
		writeRaw(t, ex, "broken", MoneyWithdrawn{}, "none", nil)
		for _, fn := range change {
			fn(ex)
		}
		return b.Logger(silent).Retry(0).Execute(ctx, ex)
	}
	handler := func(err error) *evento.SubscriptionBuilder {
		return evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[MoneyDeposited]) error { return err }))
	}
	withdrawn := evento.HandleBatch(func(context.Context, []evento.Event[MoneyWithdrawn]) error { return nil })
	fenced := func(h *hooked) {
		h.swap = func(ctx context.Context, s evento.Swap) error {
			if s.Wake && s.Changes[0].Revision > 1 { // giving the partition up
				return fmt.Errorf("%w: no, never", evento.ErrClosed)
			}
			return h.Executor.Swap(ctx, s)
		}
	}
	both := run(handler(errPoor), fenced)
	var failed *evento.HandlerError
	if !errors.As(both, &failed) || !errors.Is(both, errPoor) || !errors.Is(both, evento.ErrClosed) {
		t.Errorf("%v is not both a HandlerError and ErrClosed", both)
	}
	return []says{
		{"a handler that fails", run(handler(errPoor)), `subscription "s": bank/Account MoneyDeposited of "a", version 1, position 1, failed once: not enough money`},
		{"a handler that meets an error of the library", run(handler(evento.ErrNotFound)), "failed once: not found"},
		{"a handler that panics", run(evento.NewSubscription("s").Handler(evento.Handle(mailOut))), "handler panicked: the printer"},
		{"an event that is not decoded", run(evento.NewSubscription("s").Handler(withdrawn)), `failed once: undecodable event`},
		{"a handler, and the store at the end", both, "not enough money\nexecutor closed: no, never"},
		{"an unhandled event", run(handler(nil).SafetyCheck()), `subscription "s": bank/Account MoneyWithdrawn`},
		{"handlers in two partitions", run(handler(evento.ErrTooLarge).Partitions(64)), "failed once: too large\nsubscription \"s\": "},
		{"a failure without a cause", &evento.HandlerError{Key: "s", RoutingKey: "eu"}, `"s" of routing key "eu"`},
		{"a payload that refuses its data", &evento.DecodeError{Err: evento.ErrInvalid}, ": invalid"},
	}
}

// unplaced is an executor in which positions say nothing.
type unplaced struct{ evento.Executor }

func (unplaced) CursorAt(uint64) (cursor.Value, error) {
	return "", fmt.Errorf("evento: unplaced: %w", errors.ErrUnsupported)
}

func textsOfControl(t *testing.T) []says {
	t.Helper()
	ctx, ex := t.Context(), newStore(t)
	deposits(t, ex, "a", 2)
	fails := evento.NewSubscription("s").Logger(silent).Retry(0).AcceptFailure().Handler(evento.HandleEvery(func(context.Context, evento.RawEvent) error { return errPoor }))
	noErr(t, fails.Execute(ctx, ex))
	paused := evento.NewSubscription("paused").Handler(positions(&list[uint64]{}))
	noErr(t, paused.Execute(ctx, ex))
	noErr(t, evento.ControlOf(ex, "paused").Pause(ctx))
	start(t, ex, evento.NewSubscription("runs").Handler(positions(&list[uint64]{})))
	c := evento.ControlOf(ex, "s")
	ended, end := context.WithCancel(ctx)
	end()
	return []says{
		{"a key", only(evento.ControlOf(ex, "").Status(ctx)), "subscription key: empty"},
		{"none", only(evento.ControlOf(ex, "none").RoutingKey("eu").Status(ctx)), `subscription "none" of routing key "eu"`},
		{"paused", paused.Execute(ctx, ex), `"paused"`},
		{"running", evento.ControlOf(ex, "runs").Remove(ctx), `"runs"`},
		{"partitions", c.Repartition(ctx, 0), "0 is not 1 to 64"},
		{"another builder", only(c.Reselect(ctx, paused)), `is of subscription "paused", not "s"`},
		{"a bad cursor", c.ResetToCursor(ctx, "nonsense"), `resetting subscription "s" to "nonsense": invalid cursor`},
		{"a position", evento.ControlOf(unplaced{ex}, "s").ResetToPosition(ctx, 1), "see ResetToCursor: unplaced: unsupported operation"},
		{"waiting for a position", evento.WaitFor(ctx, unplaced{ex}, "s", 1), "see Control.WaitForCursor: unplaced: unsupported operation"},
		{"waiting for a bad cursor", c.WaitForCursor(ctx, "nonsense"), `subscription "s" has not reached "nonsense": invalid cursor`},
		{"waiting in vain", evento.WaitFor(ended, ex, "none", 1), `subscription "none" has not reached`},
		{"no parked event", c.DropParked(ctx, evento.ParkedOf(Account, "none")), `parked event of subscription "s"`},
		{"one behind another", c.RetryParked(ctx, evento.ParkedEvent(events(t, ex)[1].ID)), "waits behind"},
	}
}

func textsOfDamage(t *testing.T) []says {
	t.Helper()
	ctx := t.Context()
	const empty = `{"partitions":1,"events":{"":null}}`
	damage := func(values ...string) evento.Executor {
		ex := newStore(t)
		for i, value := range values {
			key := evento.RecordKey{Kind: "subscription", Key: fmt.Sprintf("s%d", i)}
			if i > 0 {
				key.Part = "route-x-shared"
			}
			noErr(t, ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key, Value: []byte(value)}}}))
		}
		return ex
	}
	of := func(value string) error { return only(evento.ControlOf(damage(value), "s0").Status(ctx)) }
	long := &hooked{Executor: newStore(t), records: func(context.Context, evento.RecordQuery) (*evento.RecordPage, error) {
		return &evento.RecordPage{Records: []evento.Record{{RecordKey: evento.RecordKey{Kind: "subscription", Key: "a\n"}}}, Now: time.Now()}, nil
	}}
	parked := newStore(t)
	noErr(t, evento.NewSubscription("s").Handler(positions(&list[uint64]{})).Execute(ctx, parked))
	noErr(t, parked.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "parked", Key: "s", Part: "1"}, Value: []byte("{}")}}}))
	unfinished := evento.WaitFor(ctx, damage("no JSON"), "s0", 0)
	return []says{
		{"no JSON", of("no JSON"), `damaged: record subscription "s0" "": `},
		{"a refused name in a record", of(empty), `damaged: record subscription "s0" "": invalid aggregate type: empty`},
		{"no partition", of(`{"partitions":1}`), "it is missing"},
		{"waiting for what is damaged", unfinished, "damaged: record"},
		{"a refused key", lastOf(evento.Subscriptions(ctx, long)), `damaged: record subscription "a\n" "": invalid subscription key "a\n"`},
		{"several", lastOf(evento.Subscriptions(ctx, damage("{}", "no JSON", empty))), "\ndamaged: record subscription \"s2\""},
		{"a parked event", lastOf(evento.ControlOf(parked, "s").Parked(ctx, evento.AllParked())), "invalid filter: aggregate id: empty"},
	}
}

// What stands before %w would be before the prefix of the error there.
func TestErrorsBeginWithTheirCause(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	noErr(t, err)
	within := regexp.MustCompile("Errorf\\([\"`][^%\"`][^\"`]*%w|errors\\.Join\\(")
	for _, file := range files {
		text, err := os.ReadFile(file)
		noErr(t, err)
		for line := range strings.Lines(string(text)) {
			if found := within.FindString(line); found != "" && !strings.HasSuffix(file, "_test.go") && !strings.Contains(line, `"cbor: %w"`) {
				t.Errorf("%s: %s\nwant wrap or join", file, cmp.Or(strings.TrimSpace(line), found))
			}
		}
	}
}
