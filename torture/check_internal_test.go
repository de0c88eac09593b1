package torture

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// story is a history with its log: three appends to one aggregate, and one to another.
type story struct {
	log   []evento.RawEvent
	lines []entry
}

func newStory() *story {
	s := &story{}
	for i, id := range []string{"a", "a", "b", "a"} {
		op, version := fmt.Sprint("w-", i), uint64(1)
		for _, e := range s.log {
			if e.AggregateID == id {
				version++
			}
		}
		e := evento.RawEvent{
			ID: evento.NewID(), Position: uint64(i + 1), AggregateType: aggregateType, AggregateID: id, Version: version,
			Name: "Happened", Metadata: evento.Metadata{ID: op}, Timestamp: time.UnixMicro(int64(i)).UTC(),
		}
		s.log = append(s.log, e)
		s.lines = append(s.lines,
			entry{What: invoked, Op: op, Operation: &operation{Kind: appends, Parts: []part{{ID: id, Expected: version - 1, Events: 1}}}},
			entry{What: accepted, Op: op, Receipts: []evento.Receipt{{AggregateID: id, Version: version, Position: e.Position}}})
	}
	s.lines = append(s.lines, entry{What: follows, Op: "w", By: "observer"}, entry{What: observed, By: "observer", Events: s.places(0, 1, 2, 3)})
	for i := range s.log {
		s.lines = append(s.lines, s.delivery(inOrder, i), s.delivery(partitioned, i))
	}
	return s
}

func (s *story) places(at ...int) (list []place) {
	for _, i := range at {
		list = append(list, placeOf(&s.log[i]))
	}
	return list
}

func (s *story) delivery(key string, i int) entry {
	return entry{What: delivered, By: key, Events: s.places(i)}
}

func placed(key string, at uint64) entry {
	return entry{What: stored, Op: "w", By: key, Places: []uint64{at}}
}

// ends is that a worker has ended that was told to come to a position.
func ends(worker string, at uint64) entry { return entry{What: ended, Op: worker, Position: at} }

// fire makes the last event the one that sets a deadline, which comes true so long after it, and
// early.
func (s *story) fire(after time.Duration) {
	set := &s.log[3]
	for _, e := range s.lines {
		if e.What == invoked && e.Op == set.Metadata.ID {
			e.Operation.Kind, e.Operation.Due = deadline, set.Timestamp.Add(time.Hour)
		}
	}
	s.log = append(s.log, evento.RawEvent{
		ID: evento.NewID(), Position: 5, AggregateType: aggregateType, AggregateID: "a", Version: 4, Name: firedName,
		Metadata: evento.Metadata{CorrelationID: set.Metadata.ID}, Timestamp: set.Timestamp.Add(after),
	})
	s.lines = append(s.lines, s.delivery(inOrder, 4), s.delivery(partitioned, 4))
}

// drop removes the nth line of a kind, and returns it.
func (s *story) drop(what happening, by string, n int) entry {
	for i, e := range s.lines {
		if e.What != what || by != "" && e.By != by {
			continue
		}
		if n--; n < 0 {
			s.lines = slices.Delete(s.lines, i, i+1)
			return e
		}
	}
	panic("there is no such line")
}

func (s *story) judge(t *testing.T) map[string]int {
	t.Helper()
	var text strings.Builder
	for _, e := range s.lines {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("\n" + string(line) + "\n")
	}
	text.WriteString("\n{\"what\":\"accep") // a piece
	r := &Report{}
	if err := check(r, strings.NewReader(text.String()), s.log, nil); err != nil {
		t.Fatal(err)
	}
	if r.Pieces != 1 {
		t.Errorf("%d pieces", r.Pieces)
	}
	return r.Violations
}

// What the executors under a checker cannot be made to do is told to it.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *story)
		breaks string // "": nothing
	}{
		"nothing is wrong": {func(*story) {}, ""},
		"an event is handled again": {func(s *story) {
			s.lines = append(s.lines, s.delivery(inOrder, 1), s.delivery(partitioned, 0))
		}, ""},
		"a worker was killed before it had an answer":    {func(s *story) { s.drop(accepted, "", 3) }, ""},
		"partitions are at different places":             {func(s *story) { s.lines = append(s.lines, s.drop(delivered, partitioned, 2)) }, ""},
		"a cursor is stored before its event is handled": {func(s *story) { s.drop(delivered, inOrder, 2) }, Complete},
		"the last event is not handled":                  {func(s *story) { s.drop(delivered, partitioned, 3) }, Complete},
		"two events are handled in the wrong order":      {func(s *story) { s.lines = append(s.lines, s.drop(delivered, inOrder, 1)) }, Ordered},
		"two events of an aggregate are handled in the wrong order": {func(s *story) {
			s.lines = append(s.lines, s.drop(delivered, partitioned, 1))
		}, Ordered},
		"an event is handled that a crash has removed": {func(s *story) {
			s.lines = append(s.lines, entry{What: delivered, By: inOrder, Events: []place{{ID: evento.NewID(), Position: 5}}})
		}, Ordered},
		"an event was there before a crash": {func(s *story) {
			s.lines = append(s.lines, entry{What: observed, By: "observer", Events: []place{{ID: evento.NewID(), Position: 5}}})
		}, SameOrder},
		"an observer is given an event twice": {func(s *story) {
			s.lines = append(s.lines, entry{What: observed, By: "observer", Events: s.places(3)})
		}, SameOrder},
		"an acknowledged event is gone": {func(s *story) {
			s.log = s.log[:3]
		}, Durable},
		"what began later is earlier": {func(s *story) {
			// The first is asked for when the last was acknowledged.
			first, answer := s.drop(invoked, "", 0), s.drop(accepted, "", 0)
			s.lines = append(s.lines, first, answer)
		}, RealTime},
		"nobody has asked for an event": {func(s *story) {
			s.drop(invoked, "", 3)
			s.drop(accepted, "", 3)
		}, NoGhost},
		"a place is stored when its events were handled": {func(s *story) {
			s.lines = append(s.lines, placed(inOrder, 3), placed(inOrder, 4))
		}, ""},
		"a place is stored before its event is handled": {func(s *story) {
			s.lines = append(s.lines, placed(inOrder, 4), s.drop(delivered, inOrder, 3))
		}, Complete},
		"a place goes back": {func(s *story) {
			s.lines = append(s.lines, placed(partitioned, 4), placed(partitioned, 3))
		}, Fenced},
		"an observer is given another content": {func(s *story) { s.log[2].Data = []byte("other") }, SameOrder},
		"another content is stored": {func(s *story) {
			s.lines[0].Operation.Contents = []uint32{7}
		}, Durable},
		"a worker ends when all have come to the end": {func(s *story) { s.lines = append(s.lines, ends("w", 4)) }, ""},
		"an observer stops": {func(s *story) {
			s.drop(observed, "observer", 0)
			s.lines = append(s.lines, entry{What: observed, By: "observer", Events: s.places(0, 1)}, ends("w", 4))
		}, Reached},
		"an observer is behind the end of the log, and was told to stop before": {func(s *story) {
			s.drop(observed, "observer", 0)
			s.lines = append(s.lines, entry{What: observed, By: "observer", Events: s.places(0, 1)}, ends("w", 2))
		}, ""},
		"an observer is killed on its way": {func(s *story) {
			s.drop(observed, "observer", 0)
			s.lines = append(s.lines, entry{What: observed, By: "observer", Events: s.places(0, 1)})
		}, ""},
		"an observer begins again, and stops": {func(s *story) {
			s.lines = append(s.lines, entry{What: follows, Op: "w", By: "another", Position: 3}, ends("w", 4))
		}, Reached},
		"a worker has followed nothing": {func(s *story) { s.lines = append(s.lines, ends("v", 4)) }, Reached},
		"an observer ends by itself":    {func(s *story) { s.lines = append(s.lines, entry{What: stopped, By: "observer"}) }, Reached},
		"a subscription stops, and one who begins later goes on": {func(s *story) {
			s.lines = append(s.lines, ends("w", 4), s.drop(delivered, inOrder, 3))
		}, Reached},
		"a partition stops, and one who begins later goes on": {func(s *story) {
			s.lines = append(s.lines, ends("w", 4), s.drop(delivered, partitioned, 2))
		}, Reached},
		"a subscription handles all, and its place is never stored": {func(s *story) {
			e := ends("w", 4)
			e.Why = "it is at 3"
			s.lines = append(s.lines, e)
		}, Reached},
		"a deadline is early":                               {func(s *story) { s.fire(time.Second) }, OnceDue},
		"a deadline comes true when the clock was set back": {func(s *story) { s.fire(0) }, ""},
		"a position is there twice": {func(s *story) {
			s.log[3].Position = 3
			s.lines = slices.DeleteFunc(s.lines, func(e entry) bool { return e.What == observed || e.What == delivered })
		}, Gapless},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			test.change(s)
			broken := s.judge(t)
			if test.breaks == "" && len(broken) > 0 || test.breaks != "" && broken[test.breaks] == 0 {
				t.Errorf("broken are %v, want %q", slices.Collect(maps.Keys(broken)), test.breaks)
			}
		})
	}
}

func TestReportOfAViolation(t *testing.T) {
	t.Parallel()
	r := &Report{Name: "s", History: "h.jsonl", Again: "again --seed 7"}
	for i := range mostExamples + 2 {
		r.add(Once, "event %d", i)
	}
	text := r.String()
	if r.OK() || !strings.Contains(text, "duplicated 7") || !strings.Contains(text, "event 4") || strings.Contains(text, "event 5") ||
		!strings.Contains(text, "Once: 7 in all") || !strings.Contains(text, "h.jsonl") || !strings.Contains(text, "again --seed 7") {
		t.Error(text)
	}
}
