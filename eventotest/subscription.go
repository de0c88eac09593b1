package eventotest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evento-go/evento"
)

// SubscriptionTest is a test of a subscription; [Subscribe] begins it. Its
// methods return it for chaining. It is not safe for concurrent use.
//
// The first method whose name begins with Then stores the given events and executes
// the subscription, which handles them and what its handlers commit. Further such
// methods check the same run.
type SubscriptionTest struct {
	*history
	build   func(evento.Executor) *evento.SubscriptionBuilder
	retries int
	report  func() any
	again   bool
	until   []time.Time // time passes until then, after the given events were handled
	parks   bool        // ThenParked was called
	fails   bool        // ThenError was called
	before  []setDeadline
	run     *run
}

// Subscribe begins a test of a subscription. It does not change the builder:
// parallel tests may share it. The builder's hooks are not called.
func Subscribe(t testing.TB, b *evento.SubscriptionBuilder) *SubscriptionTest {
	t.Helper()
	s := &SubscriptionTest{history: newHistory(t)}
	if b == nil {
		s.misuse("Subscribe: the builder is nil")
	}
	s.build = func(evento.Executor) *evento.SubscriptionBuilder { return b }
	return s
}

// SubscribeFunc is [Subscribe] for a subscription whose handlers need the executor:
// it calls build with the executor of the test.
func SubscribeFunc(t testing.TB, build func(evento.Executor) *evento.SubscriptionBuilder) *SubscriptionTest {
	t.Helper()
	s := &SubscriptionTest{history: newHistory(t), build: build}
	if build == nil {
		s.misuse("SubscribeFunc: the function is nil")
	}
	return s
}

// ID sets the aggregate id of given events that have none. Default "1".
func (s *SubscriptionTest) ID(id string) *SubscriptionTest {
	s.id = id
	return s
}

// Given adds events that happened before, in order, and deadlines that were set before.
func (s *SubscriptionTest) Given(events ...evento.Payload) *SubscriptionTest {
	s.add(events)
	return s
}

// GivenRecords adds records of the application that were stored before, each at revision 1.
func (s *SubscriptionTest) GivenRecords(records ...evento.Record) *SubscriptionTest {
	s.records = append(s.records, records...)
	return s
}

// At lets time pass until t after the given events were handled, as [evento.RunDeadlines]
// does while the subscription runs. The deadlines that are due then, given ones and those
// that handlers set, come true, each at its time, and the subscription handles their events
// before time passes on. These are among the new events. t is not before the last event. It
// may be called several times, before the methods whose name begins with Then.
func (s *SubscriptionTest) At(t time.Time) *SubscriptionTest {
	s.t.Helper()
	if s.run != nil {
		s.misuse("At: call it before the methods that begin with Then")
	}
	s.until = append(s.until, t)
	return s
}

// Compare adds go-cmp options for the comparison of events: see
// [ProjectionTest.Compare].
func (s *SubscriptionTest) Compare(opts ...cmp.Option) *SubscriptionTest {
	s.compare = append(s.compare, opts...)
	return s
}

// Retries sets how often a failing handler is called again, instead of the number
// in the builder, with the same waits as in production. Default 0, so that a
// failure is reported at once.
func (s *SubscriptionTest) Retries(n int) *SubscriptionTest {
	s.retries = n
	return s
}

// Redelivered handles every event a second time, as may happen after a crash, and
// checks that this makes no difference: the second time nothing is committed, the
// same events are parked, the application's records have the same values, and report
// returns the same. report returns what the handlers did elsewhere, and is called after
// each time; nil: they did nothing elsewhere. For handlers, [evento.Delivery] does not
// have Replay set, as after a crash.
func (s *SubscriptionTest) Redelivered(report func() any) *SubscriptionTest {
	s.again, s.report = true, report
	return s
}

// Then checks that the subscription did not fail, that its handlers committed
// exactly these events, in this order, and set, moved and [Cleared] exactly these
// deadlines, and that no event was parked, unless ThenParked was called before.
func (s *SubscriptionTest) Then(want ...evento.Payload) *SubscriptionTest {
	s.t.Helper()
	if s.succeeded(want) && !s.unexpectedlyParked() {
		s.check(want)
	}
	return s
}

// check checks what handlers have committed.
func (s *SubscriptionTest) check(want []evento.Payload) {
	s.t.Helper()
	events, deadlines := split(want)
	if s.same("the new events", s.run.events, events, payloadsOf(deadlines)...) {
		s.sameDeadlines(s.run.changes, deadlines, events)
	}
}

// ThenHandled checks that the subscription did not fail, and that it handled
// exactly these events, in this order: those whose handlers returned nil. They
// include handled events that handlers have committed.
func (s *SubscriptionTest) ThenHandled(events ...evento.Payload) *SubscriptionTest {
	s.t.Helper()
	if s.noDeadlines(events) && s.succeeded(events) && !s.unexpectedlyParked() {
		s.same("the handled events", s.run.handled, events)
	}
	return s
}

// ThenParked checks that the subscription did not fail, and that exactly these
// events are parked, in this order, including those that wait for an earlier one of
// their aggregate. Call it before the other methods whose name begins with Then.
func (s *SubscriptionTest) ThenParked(events ...evento.Payload) *SubscriptionTest {
	s.t.Helper()
	s.parks = true
	if s.noDeadlines(events) && s.succeeded(events) {
		s.same("the parked events", s.run.parked, events)
	}
	return s
}

// ThenError checks that the subscription stopped with an error that is target, by
// [errors.Is], and that its handlers committed these events, and set these deadlines,
// before. It also finds the errors of handlers.
func (s *SubscriptionTest) ThenError(target error, want ...evento.Payload) *SubscriptionTest {
	s.t.Helper()
	s.fails = true
	if s.execute(want) && s.wantError("the subscription", s.run.err, target) {
		s.check(want)
	}
	return s
}

// ThenRecords checks that the subscription did not fail, unless ThenError was called before,
// and that the application's records are exactly these, given ones included, in any order:
// their keys and values, and a revision that is set. The library's own records, such as
// the subscription's place, are not compared.
func (s *SubscriptionTest) ThenRecords(want ...evento.Record) *SubscriptionTest {
	s.t.Helper()
	if s.fails && s.execute(nil) || !s.fails && s.succeeded(nil) {
		s.sameRecords(s.run.records, want)
	}
	return s
}

// noDeadlines reports whether there are none among wanted events.
func (s *SubscriptionTest) noDeadlines(want []evento.Payload) bool {
	s.t.Helper()
	_, deadlines := split(want)
	if len(deadlines) > 0 {
		s.misuse("the deadline %q is no event; Then compares deadlines", deadlines[0].Name)
		s.checked = true
	}
	return len(deadlines) == 0
}

// succeeded executes the subscription, once, and reports whether it succeeded.
func (s *SubscriptionTest) succeeded(want []evento.Payload) bool {
	s.t.Helper()
	if !s.execute(want) {
		return false
	}
	if s.run.err != nil {
		s.fail("the subscription failed: %v", s.run.err)
		return false
	}
	return true
}

func (s *SubscriptionTest) unexpectedlyParked() bool {
	s.t.Helper()
	if s.parks || len(s.run.parked) == 0 {
		return false
	}
	s.fail("events were parked, and no ThenParked before this says so:\n%s", strings.Join(s.run.reasons, "\n"))
	return true
}

// run is the result of an execution.
type run struct {
	events  []evento.RawEvent // committed by handlers
	changes []changed         // of deadlines
	records []evento.Record
	parked  []evento.RawEvent
	reasons []string // why they were parked
	err     error

	mu      sync.Mutex
	handled []evento.RawEvent
}

// handle is the hook that notes which events were handled.
func (r *run) handle(ctx context.Context, _ string, events []evento.RawEvent, next func(context.Context) error) error {
	err := next(ctx)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.handled = append(r.handled, events...)
	}
	return err
}

// execute executes the subscription, once, and reports whether there is a run to
// check.
func (s *SubscriptionTest) execute(want []evento.Payload) bool {
	s.t.Helper()
	if s.run != nil {
		s.checked = true
		return !s.mistake
	}
	store := s.stored()
	if store == nil {
		return false
	}
	if s.before = s.deadlines(store); s.mistake {
		return false
	}
	store.ran = true
	first := s.runOn(store, uint64(len(s.given)), s.until)
	if s.run = first; first == nil {
		return false
	}
	if s.again && first.err == nil {
		s.redeliver(store, first, want)
	}
	return !s.mistake
}

// runOn executes the subscription, also while time passes; nil after a report.
func (s *SubscriptionTest) runOn(store *store, behind uint64, until []time.Time) *run {
	s.t.Helper()
	ctx, r := s.t.Context(), &run{}
	built := s.build(store)
	if built == nil {
		s.misuse("SubscribeFunc: the function returned no builder")
		return nil
	}
	b := *built
	b.Retry(s.retries).Hooks(evento.SubscriptionHooks{Handle: r.handle})
	r.err = b.Execute(ctx, store)
	var came []setDeadline
	for _, t := range until {
		if r.err != nil {
			break
		}
		err := store.wait(ctx, t, func(due []setDeadline) error {
			came = append(came, due...)
			r.err = b.Execute(ctx, store)
			return r.err
		})
		if err != nil && r.err == nil {
			s.misuse("At: %v\n%s", err, s.list())
			return nil
		}
	}
	r.events = s.since(store, behind)
	r.changes = changes(s.before, s.deadlines(store), came)
	r.records = s.recordsIn(store)
	for name, err := range evento.Subscriptions(ctx, store) {
		if err == nil {
			err = s.readParked(ctx, store, name, r)
		}
		if err != nil {
			s.misuse("reading the parked events: %v", err)
			return nil
		}
	}
	slices.SortFunc(r.handled, func(a, b evento.RawEvent) int { return int(a.Position) - int(b.Position) })
	return r
}

func controlOf(store *store, name evento.SubscriptionName) *evento.Control {
	return evento.ControlOf(store, name.Key).RoutingKey(name.RoutingKey)
}

func (s *SubscriptionTest) readParked(ctx context.Context, store *store, name evento.SubscriptionName, r *run) error {
	s.t.Helper()
	all := s.since(store, 0)
	for p, err := range controlOf(store, name).Parked(ctx, evento.AllParked()) {
		if err != nil {
			return err
		}
		e := all[p.Position-1]
		r.parked = append(r.parked, e)
		reason := p.Error
		if reason == "" {
			reason = "waits behind another"
		}
		r.reasons = append(r.reasons, "  "+kind{e.AggregateType, e.Name}.String()+" of \""+e.AggregateID+"\": "+reason)
	}
	return nil
}

// redeliver handles everything again and compares the results.
func (s *SubscriptionTest) redeliver(store *store, first *run, want []evento.Payload) {
	s.t.Helper()
	ctx := s.t.Context()
	report := func() []string {
		if s.report == nil {
			return nil
		}
		return lines(s.report())
	}
	before := report()
	// Remove it instead of resetting it: after a reset, handlers would see a
	// replay.
	for name, err := range evento.Subscriptions(ctx, store) {
		if err == nil {
			err = controlOf(store, name).Remove(ctx)
		}
		if err != nil {
			s.misuse("having the subscription begin again: %v", err)
			return
		}
	}
	second := s.runOn(store, uint64(len(s.given)+len(first.events)), nil)
	if second == nil {
		return
	}
	switch {
	case second.err != nil:
		s.fail("the subscription failed when its events came again: %v", second.err)
	case len(second.events) > 0:
		events, deadlines := split(want)
		known := payloadsOf(deadlines) // the types of those wanted the first time
		for _, p := range events {
			if e := asEvent(p); !e.missing() {
				known = append(known, e)
			}
		}
		s.same("when the events came again, the new events", second.events, nil, known...)
	case !slices.EqualFunc(first.parked, second.parked, func(a, b evento.RawEvent) bool { return a.ID == b.ID }):
		s.fail("when the events came again, others were parked (-once +twice):\n%s", s.diff(first.reasons, second.reasons))
	default:
		if diff := s.diff(valuesOf(first.records), valuesOf(second.records)); diff != "" {
			s.fail("the events came again, and the records are not the same (-once +twice):\n%s", diff)
			return
		}
		if diff := s.diff(before, report()); diff != "" {
			s.fail("the events came again, and what the test reports is not the same (-once +twice):\n%s", diff)
		}
	}
}
