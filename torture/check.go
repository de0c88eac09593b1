package torture

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/evento-go/evento"
)

// The invariants, as reports name them. The comment of the package says what they mean.
const (
	Durable      = "Durable"
	NoGhost      = "NoGhost"
	Once         = "Once"
	Gapless      = "Gapless"
	RealTime     = "RealTime"
	Serializable = "Serializable"
	SameOrder    = "SameOrder"
	Complete     = "Complete"
	Ordered      = "Ordered"
	OnceDue      = "OnceDue"
	Live         = "Live"
	Fenced       = "Fenced"
	Reached      = "Reached"
)

// asked is an operation of the history.
type asked struct {
	operation
	name    string
	floor   uint64 // the highest position that was acknowledged before it began
	state   happening
	waited  bool // its outcome was unknown for a time
	answers []evento.Receipt
	events  []int // where its events are in the log
}

// checker compares a history with the log. It is used by one goroutine.
type checker struct {
	report *Report
	log    []evento.RawEvent
	at     map[evento.ID]int // places in the log, by event

	operations map[string]*asked
	order      []*asked
	floor      uint64

	observers map[string]*observer   // by name, and the last one of each worker by the worker's
	handled   map[string]*deliveries // by subscription
	places    map[[2]string][]uint64 // of a subscription's partitions, as an observer has read them last
}

// observer is one who follows the log.
type observer struct {
	next  int // the place in the log of the event that it has to be given next
	wrong bool
}

// deliveries are what a subscription has handled.
type deliveries struct {
	times map[evento.ID]int
	next  int                            // of one partition: the place of the first event that was not handled yet
	heads map[evento.AggregateKey]uint64 // of several: the versions that were
}

// check judges a history by the log in the end, and completes the report.
func check(report *Report, history io.Reader, log []evento.RawEvent, records []evento.Record) error {
	c := &checker{
		report: report, log: log, at: make(map[evento.ID]int, len(log)),
		operations: map[string]*asked{}, observers: map[string]*observer{}, handled: map[string]*deliveries{}, places: map[[2]string][]uint64{},
	}
	for _, key := range []string{inOrder, partitioned} {
		c.handled[key] = &deliveries{times: map[evento.ID]int{}, heads: map[evento.AggregateKey]uint64{}}
	}
	c.sound()
	pieces, err := readHistory(history, c.entry)
	if err != nil {
		return err
	}
	report.Pieces = pieces
	c.assign()
	for _, o := range c.order {
		c.judge(o)
	}
	c.serial(records)
	c.deadlines()
	c.complete()
	return nil
}

// behind is the place in the log of the first event behind a position.
func (c *checker) behind(position uint64) int {
	i, _ := slices.BinarySearchFunc(c.log, position+1, func(e evento.RawEvent, at uint64) int { return cmp.Compare(e.Position, at) })
	return i
}

// sound checks the log itself.
func (c *checker) sound() {
	heads := map[evento.AggregateKey]uint64{}
	for i := range c.log {
		e := &c.log[i]
		if j, twice := c.at[e.ID]; twice {
			c.report.add(Once, "event %s is at positions %d and %d", e.ID, c.log[j].Position, e.Position)
		}
		c.at[e.ID] = i
		if i > 0 && e.Position <= c.log[i-1].Position {
			c.report.add(Gapless, "position %d is behind position %d", e.Position, c.log[i-1].Position)
		}
		if i > 0 && e.Timestamp.Before(c.log[i-1].Timestamp) {
			c.report.add(Gapless, "the event at position %d is older than the one before it", e.Position)
		}
		if heads[e.Aggregate()]++; e.Version != heads[e.Aggregate()] {
			c.report.add(Gapless, "%s has version %d where %d is next", e.AggregateID, e.Version, heads[e.Aggregate()])
		}
	}
}

// entry takes the lines of the history, in order.
func (c *checker) entry(e entry) error {
	switch e.What {
	case invoked:
		o := &asked{operation: *e.Operation, name: e.Op, floor: c.floor, state: invoked}
		c.operations[e.Op] = o
		c.order = append(c.order, o)
		return nil
	case follows:
		o := &observer{next: c.behind(e.Position)}
		c.observers[e.By], c.observers[e.Op] = o, o
		return nil
	case observed:
		return c.observed(e)
	case stored:
		c.stored(e)
		return nil
	case delivered:
		c.delivered(e.By, e.Events[0])
		return nil
	case stopped:
		c.report.add(Reached, "%s has ended by itself, without an error", e.By)
		return nil
	case ended:
		c.report.Ended++
		c.reached(e)
		return nil
	}
	o := c.operations[e.Op]
	if o == nil {
		return fmt.Errorf("evento: the history has an answer to %s, which was not asked", e.Op)
	}
	switch e.What {
	case stale:
		c.report.add(RealTime, "%s", e.Why)
		return nil
	case unknown:
		o.waited = true
	case accepted:
		o.answers = e.Receipts
		for _, r := range e.Receipts {
			c.floor = max(c.floor, r.Position)
		}
	}
	o.state = e.What
	return nil
}

// observed checks that an observer was given what is next in the log.
func (c *checker) observed(e entry) error {
	o := c.observers[e.By]
	if o == nil {
		return fmt.Errorf("evento: the history has an observer %s that has not begun", e.By)
	}
	for _, p := range e.Events {
		c.report.Observed++
		if o.wrong {
			return nil // all that follows would be wrong too
		}
		if o.next < len(c.log) && c.log[o.next].ID == p.ID && c.log[o.next].Position == p.Position && sum(&c.log[o.next]) == p.Sum {
			o.next++
			continue
		}
		o.wrong = true
		want := "nothing"
		if o.next < len(c.log) {
			want = fmt.Sprintf("event %s at position %d", c.log[o.next].ID, c.log[o.next].Position)
		}
		c.report.add(SameOrder, "%s was given event %s at position %d, where the log has %s, or the event has changed", e.By, p.ID, p.Position, want)
	}
	return nil
}

// stored checks that no partition goes back, as it would if one who has lost it could still store
// its place, and that everything up to the place of one partition was handled before.
func (c *checker) stored(e entry) {
	last := c.places[[2]string{e.Op, e.By}]
	c.places[[2]string{e.Op, e.By}] = e.Places
	for i, at := range e.Places {
		if i < len(last) && at < last[i] {
			c.report.add(Fenced, "partition %d of %s was at position %d, and then at position %d", i, e.By, last[i], at)
		}
		if d := c.handled[e.By]; e.By == inOrder && d.next < len(c.log) && c.log[d.next].Position <= at {
			c.report.add(Complete, "%s was at position %d before it had handled position %d", e.By, at, c.log[d.next].Position)
		}
	}
}

// reached checks, when a worker has ended, that its observer and the subscriptions have come to the
// position to which it was told to come.
func (c *checker) reached(e entry) {
	to, before := c.behind(e.Position), c.report.Violations[Reached]
	switch o := c.observers[e.Op]; {
	case o == nil:
		c.report.add(Reached, "%s has ended, and has never followed the log", e.Op)
	case !o.wrong && o.next < to:
		c.report.add(Reached, "%s was to follow the log up to position %d, and was not given position %d", e.Op, e.Position, c.log[o.next].Position)
	}
	for _, key := range []string{inOrder, partitioned} {
		left := slices.IndexFunc(c.log[:to], func(e evento.RawEvent) bool { return c.handled[key].times[e.ID] == 0 })
		if left >= 0 {
			c.report.add(Reached, "%s was to handle all up to position %d, and had not handled position %d when %s ended", key, e.Position, c.log[left].Position, e.Op)
		}
	}
	if e.Why != "" && c.report.Violations[Reached] == before {
		c.report.add(Reached, "%s was to come to position %d, and nothing went on: %s", e.Op, e.Position, e.Why)
	}
}

// delivered checks that a subscription handles events in order when it handles them first.
func (c *checker) delivered(key string, p place) {
	d := c.handled[key]
	i, there := c.at[p.ID]
	if d == nil || !there || c.log[i].Position != p.Position || sum(&c.log[i]) != p.Sum {
		c.report.add(Ordered, "%s has handled event %s at position %d, which is not so in the log", key, p.ID, p.Position)
		return
	}
	if d.times[p.ID]++; d.times[p.ID] > 1 {
		c.report.Redelivered++
		return
	}
	c.report.Delivered++
	e := &c.log[i]
	if key == inOrder {
		if i < d.next {
			c.report.add(Ordered, "%s has handled position %d first when later ones were handled", key, e.Position)
		} else if i > d.next {
			c.report.add(Ordered, "%s has handled position %d before position %d", key, e.Position, c.log[d.next].Position)
		}
		d.next = max(d.next, i+1)
		return
	}
	if head := d.heads[e.Aggregate()]; e.Version != head+1 {
		c.report.add(Ordered, "%s has handled version %d of %s after version %d", key, e.Version, e.AggregateID, head)
	}
	d.heads[e.Aggregate()] = max(d.heads[e.Aggregate()], e.Version)
}

// assign gives each operation its events.
func (c *checker) assign() {
	for i := range c.log {
		e := &c.log[i]
		if e.Name == firedName {
			continue // see deadlines
		}
		o := c.operations[e.Metadata.ID]
		if o == nil {
			c.report.add(NoGhost, "nobody has asked for the event at position %d", e.Position)
			continue
		}
		o.events = append(o.events, i)
	}
}

// judge checks an operation by its events.
func (c *checker) judge(o *asked) {
	c.report.Operations++
	want := o.operation.events()
	if len(o.events) > want {
		c.report.add(Once, "%s asked for %d events, and has %d", o.name, want, len(o.events))
	}
	switch o.state {
	case accepted:
		c.report.Acked += want
		if o.waited {
			c.report.Resolved++
		}
		if len(o.events) < want {
			c.report.add(Durable, "%s was acknowledged with %d events, and has %d", o.name, want, len(o.events))
			return
		}
	case refused:
		if c.report.Refused++; len(o.events) > 0 {
			c.report.add(NoGhost, "%s was refused, and has events", o.name)
		}
		if o.waited {
			c.report.Resolved++
		}
	default: // unknown, or the worker was killed
		if c.report.Unknown++; len(o.events) > 0 {
			c.report.UnknownStored++
		}
	}
	if len(o.events) == 0 {
		return
	}
	if len(o.events) < want {
		c.report.add(NoGhost, "%s asked for %d events, and has %d", o.name, want, len(o.events))
		return
	}
	if first := &c.log[o.events[0]]; first.Position <= o.floor {
		c.report.add(RealTime, "%s is at position %d, and began after position %d was acknowledged", o.name, first.Position, o.floor)
	}
	c.parts(o)
	c.conditions(o)
}

// parts checks where the events of an operation are in their aggregates, and that this is where
// the store has said.
func (c *checker) parts(o *asked) {
	at := 0
	for n, p := range o.Parts {
		events := o.events[at:min(at+p.Events, len(o.events))]
		at += len(events)
		first, last := &c.log[events[0]], &c.log[events[len(events)-1]]
		if first.AggregateID != p.ID || last.AggregateID != p.ID || last.Version != first.Version+uint64(len(events))-1 {
			c.report.add(NoGhost, "%s has other events of %s than it asked for", o.name, p.ID)
			continue
		}
		if !p.Any && first.Version != p.Expected+1 {
			c.report.add(Gapless, "%s expected %s at version %d, and was stored as version %d", o.name, p.ID, p.Expected, first.Version)
		}
		for i := range events {
			e := &c.log[events[i]]
			if k := at - len(events) + i; k < len(o.Contents) && content(e.ID, e.Name, e.Codec, e.Data, e.Tags) != o.Contents[k] {
				c.report.add(Durable, "the event at position %d has another content than %s asked for", e.Position, o.name)
			}
		}
		if n < len(o.answers) && (o.answers[n].Version != last.Version || o.answers[n].Position != last.Position) {
			c.report.add(Durable, "%s was acknowledged as version %d at position %d, and is version %d at position %d", o.name,
				o.answers[n].Version, o.answers[n].Position, last.Version, last.Position)
		}
	}
}

// conditions checks that no event that a condition excludes is between its place and the write.
func (c *checker) conditions(o *asked) {
	for _, condition := range o.Unless {
		for i := c.behind(condition.After); i < o.events[0]; i++ {
			if condition.Query.Matches(c.log[i]) {
				c.report.add(Serializable, "%s is at position %d, and its condition excludes the event at position %d", o.name, c.log[o.events[0]].Position, c.log[i].Position)
				break
			}
		}
	}
}

// serial checks what was read before it was written: seats, and the counter.
func (c *checker) serial(records []evento.Record) {
	taken, count := map[string]int{}, uint64(0)
	for i := range c.log {
		e := &c.log[i]
		o := c.operations[e.Metadata.ID]
		switch {
		case o == nil:
		case o.Kind == decision:
			var seat struct{ Round, Seat int }
			if err := json.Unmarshal(e.Data, &seat); err != nil {
				c.report.add(Durable, "the payload at position %d: %v", e.Position, err)
				continue
			}
			if taken[roundTag(seat.Round)]++; taken[roundTag(seat.Round)] != seat.Seat {
				c.report.add(Serializable, "%s has taken seat %d of round %d, which is number %d", o.name, seat.Seat, seat.Round, taken[roundTag(seat.Round)])
			}
		case o.Kind == counted:
			var n number
			if err := json.Unmarshal(e.Data, &n); err != nil {
				c.report.add(Durable, "the payload at position %d: %v", e.Position, err)
				continue
			}
			if count++; n.N != count {
				c.report.add(Serializable, "%s has counted %d, and is number %d", o.name, n.N, count)
			}
		}
	}
	var stored number
	for _, r := range records {
		if err := json.Unmarshal(r.Value, &stored); err != nil {
			c.report.add(Durable, "the record %s: %v", r.Key, err)
		}
	}
	if stored.N != count {
		c.report.add(Serializable, "the record has counted %d events, and the log has %d", stored.N, count)
	}
}

// deadlines checks that each came true once, in time, or was cleared before.
func (c *checker) deadlines() {
	fires, clears := map[string][]int{}, map[string]*asked{}
	for i := range c.log {
		if e := &c.log[i]; e.Name == firedName {
			fires[e.Metadata.CorrelationID] = append(fires[e.Metadata.CorrelationID], i)
		}
	}
	for _, o := range c.order {
		if o.Kind == clearing && len(o.events) > 0 {
			clears[o.Clears] = o
		}
	}
	for name, at := range fires {
		if o := c.operations[name]; o == nil || o.Kind != deadline || len(o.events) == 0 {
			c.report.add(OnceDue, "the deadline %s came true at position %d, and was not set", name, c.log[at[0]].Position)
		}
	}
	for _, o := range c.order {
		if o.Kind == deadline && len(o.events) > 0 {
			c.due(o, fires[o.name], clears[o.name])
		}
	}
}

// due checks one deadline that was set.
func (c *checker) due(o *asked, fires []int, cleared *asked) {
	if len(fires) == 0 {
		if cleared == nil {
			c.report.add(OnceDue, "the deadline %s was set, and did not come true", o.name)
		}
		return
	}
	c.report.Fired++
	e := &c.log[fires[0]]
	switch {
	case len(fires) > 1:
		c.report.add(OnceDue, "the deadline %s came true %d times", o.name, len(fires))
	case e.Timestamp.Before(o.Due) && !c.held(fires[0]):
		c.report.add(OnceDue, "the deadline %s came true at %s, before %s", o.name, e.Timestamp, o.Due)
	case cleared != nil && cleared.events[0] < fires[0]:
		c.report.add(OnceDue, "the deadline %s came true at position %d, and was cleared at position %d", o.name, e.Position, c.log[cleared.events[0]].Position)
	}
}

// held reports whether an event has the time of the one before it. The store gives it that when its
// clock was set back, so it does not say when the event was stored.
func (c *checker) held(i int) bool {
	return i > 0 && c.log[i].Timestamp.Equal(c.log[i-1].Timestamp)
}

// complete checks that the subscriptions have handled every event.
func (c *checker) complete() {
	for _, key := range []string{inOrder, partitioned} {
		for i := range c.log {
			if c.handled[key].times[c.log[i].ID] == 0 {
				c.report.add(Complete, "%s has not handled the event at position %d", key, c.log[i].Position)
			}
		}
	}
}
