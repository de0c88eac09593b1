package eventotest

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// history is what all kinds of tests share: the given events, and how to report.
type history struct {
	t        testing.TB
	id       string
	given    []Event
	set      []givenDeadline // deadlines
	records  []evento.Record // given
	compare  []cmp.Option    // of the test
	defaults defaults
	checked  bool // a Then was called
	mistake  bool // a mistake was reported that makes the rest meaningless
}

const defaultID = "1"

func newHistory(t testing.TB) *history {
	t.Helper()
	h := &history{t: t, id: defaultID}
	t.Cleanup(func() {
		if !h.checked && !t.Failed() && !t.Skipped() {
			t.Errorf("eventotest: nothing was checked: end with a method that begins with Then\n%s", h.list())
		}
	})
	return h
}

// misuse reports a mistake in the test itself.
func (h *history) misuse(format string, args ...any) {
	h.t.Helper()
	h.mistake = true
	h.t.Errorf("eventotest: "+format, args...)
}

// fail reports that the application is not as wanted.
func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Errorf("%s\n%s", strings.TrimRight(fmt.Sprintf(format, args...), "\n"), h.list())
}

func (h *history) add(payloads []evento.Payload) {
	for _, p := range payloads {
		if d, ok := asDeadline(p); ok {
			h.set = append(h.set, givenDeadline{d, len(h.given)})
			continue
		}
		h.given = append(h.given, asEvent(p))
	}
}

// known returns the payloads of what is given, for their types and codecs.
func (h *history) known() []Event {
	known := slices.Clone(h.given)
	for _, d := range h.set {
		known = append(known, Event{Payload: d.Payload})
	}
	return known
}

// mostListed is how many given events a report shows.
const mostListed = 100

// list shows the given events.
func (h *history) list() string {
	if len(h.given)+len(h.set) == 0 {
		return "given no events"
	}
	var b strings.Builder
	b.WriteString("given")
	for i, e := range h.given {
		if left := len(h.given) - i; i >= mostListed/2 && left > mostListed/2 {
			if i == mostListed/2 {
				fmt.Fprintf(&b, "\n  … %d more", left-mostListed/2)
			}
			continue
		}
		if e.missing() {
			fmt.Fprintf(&b, "\n  %d. nil", i+1)
			continue
		}
		fmt.Fprintf(&b, "\n  %d. %s of %q: %s", i+1, e.kind(), h.idOf(e), describe(e.Payload))
	}
	for _, d := range h.set {
		b.WriteString("\n  " + d.describe(h.idOr(d.AggregateID)))
	}
	return b.String()
}

func (h *history) idOf(e Event) string { return h.idOr(e.AggregateID) }

// idOr returns an aggregate's id or, when it is not set, the test's.
func (h *history) idOr(id string) string {
	if id == "" {
		return h.id
	}
	return id
}

// store is the store in memory of a test.
type store struct {
	*memory.Executor
	clock     *atomic.Int64 // microseconds
	events    int           // the number of given ones
	ran       bool          // what is tested has run, or time has passed
	snapshots atomic.Bool   // a load has asked for one
	kinds     kinds
}

func newStore() *store {
	s := &store{clock: new(atomic.Int64)}
	s.clock.Store(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	s.Executor = memory.New(&memory.Options{Clock: func() time.Time { return time.UnixMicro(s.clock.Load()) }})
	return s
}

// Snapshot notes that the projection has snapshots.
func (s *store) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	s.snapshots.Store(true)
	return s.Executor.Snapshot(ctx, key)
}

// give stores an event; then it advances the clock by one second.
func (s *store) give(ctx context.Context, e Event, aggregateID string) error {
	if !e.Timestamp.IsZero() {
		at := e.Timestamp.UnixMicro()
		if last := s.clock.Load() - time.Second.Microseconds(); s.events > 0 && at < last {
			return fmt.Errorf("its time %s is before that of the event ahead of it, %s",
				e.Timestamp.UTC().Format(time.RFC3339Nano), time.UnixMicro(last).UTC().Format(time.RFC3339Nano))
		}
		s.clock.Store(at)
	}
	codec := e.codec()
	data, err := codec.Marshal(e.Payload)
	if err != nil {
		return fmt.Errorf("codec %s cannot encode it: %w", codec.Name(), err)
	}
	id := e.ID
	if id == (evento.ID{}) {
		id = fixedID(s.clock.Load(), s.events)
	}
	_, err = s.Write(ctx, evento.Write{Appends: []evento.Append{{
		AggregateType: e.AggregateType(),
		AggregateID:   aggregateID,
		AnyVersion:    true,
		RoutingKey:    e.RoutingKey,
		Metadata:      e.Metadata,
		Events:        []evento.NewEvent{{ID: id, Name: e.EventName(), Tags: e.tags(), Codec: codec.Name(), Data: data}},
	}}})
	s.events++
	s.clock.Add(time.Second.Microseconds())
	return err
}

// fixedID returns an id that is the same in every run.
func fixedID(micros int64, n int) (id evento.ID) {
	// A time outside the range of a ULID leaves that part zero.
	_ = id.SetTime(uint64(min(max(0, micros/1000), int64(ulid.MaxTime()))))
	binary.BigEndian.PutUint32(id[12:], uint32(n+1))
	return id
}

// check reports mistakes in the given events.
func (h *history) check() bool {
	h.t.Helper()
	h.checked = true
	if h.mistake {
		return false
	}
	for i, e := range h.given {
		if e.missing() {
			h.misuse("given event %d is nil\n%s", i+1, h.list())
			return false
		}
		if why := h.lost(e); why != "" {
			h.misuse("given event %d %s\n%s", i+1, why, h.list())
			return false
		}
	}
	return h.checkGivenDeadlines()
}

// stored returns a store with the given events; nil after a report.
func (h *history) stored() *store {
	h.t.Helper()
	if !h.check() {
		return nil
	}
	s := newStore()
	set := h.set
	for i := 0; ; i++ {
		for ; len(set) > 0 && set[0].behind == i; set = set[1:] {
			if err := s.set(h.t.Context(), set[0].Deadline, h.idOr(set[0].AggregateID)); err != nil {
				h.misuse("the given deadline %q cannot be set: %v\n%s", set[0].Name, err, h.list())
				return nil
			}
		}
		if i == len(h.given) {
			break
		}
		if err := s.give(h.t.Context(), h.given[i], h.idOf(h.given[i])); err != nil {
			h.misuse("given event %d cannot be stored: %v\n%s", i+1, err, h.list())
			return nil
		}
	}
	for i := range h.records {
		r := &h.records[i]
		if err := s.giveRecord(h.t.Context(), r); err != nil {
			h.misuse("the given record %q %q %q %v\n%s", r.Kind, r.Key, r.Part, err, h.list())
			return nil
		}
	}
	return s
}

// since returns the events of a store after a position.
func (h *history) since(s *store, position uint64) []evento.RawEvent {
	h.t.Helper()
	var events []evento.RawEvent
	for e, err := range evento.Events(h.t.Context(), s, evento.Query{}) {
		if err != nil {
			h.misuse("reading the new events: %v", err)
			return nil
		}
		if e.Position > position {
			events = append(events, e)
		}
	}
	return events
}
