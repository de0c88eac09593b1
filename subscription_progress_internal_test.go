package evento

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento/cursor"
)

// modelStore is the record of a partition, the events' effects, and changes whose
// answer the worker has not had.
type modelStore struct {
	state   partitionState
	effects []int        // of coupled work, in order
	late    func() error // a change that may be made yet; nil: none
}

// modelWorker is a worker reduced to its progress.
type modelWorker struct {
	progress
	store   *modelStore
	known   partitionState // the record as it was read or written last
	handled []int          // plain work, in order
}

const modelEvents = 3

var modelPlaces = []cursor.Value{"", "1", "2", "3"}

func at(n int) cursor.Value { return modelPlaces[n] }

func (w *modelWorker) next() int { return slices.Index(modelPlaces, w.at) + 1 }

var modelEdges = []cursor.Edge[RawEvent]{
	{}, {Cursor: "1", Node: RawEvent{Position: 1}}, {Cursor: "2", Node: RawEvent{Position: 2}}, {Cursor: "3", Node: RawEvent{Position: 3}},
}

func edgeOf(n int) *cursor.Edge[RawEvent] { return &modelEdges[n] }

var errNoAnswer = errors.New("no answer")

// swap makes a change of the record as it is known, unless it was changed since.
func (w *modelWorker) swap(how string, change func(*partitionState) error, effect int) error {
	read := w.known
	next := read
	if err := change(&next); err != nil {
		return err
	}
	next.Epoch++ // stands for the revision
	apply := func() error {
		if w.store.state != read {
			return ErrSwapped
		}
		w.store.state = next
		if effect > 0 {
			w.store.effects = append(w.store.effects, effect)
		}
		return nil
	}
	switch how {
	case "lost before":
		return errNoAnswer
	case "lost after":
		_ = apply()
		return errNoAnswer
	case "late":
		w.store.late = apply
		return errNoAnswer
	}
	if err := apply(); err != nil {
		return err
	}
	w.known = next
	return nil
}

// inEpoch refuses a change in another epoch than the worker acts in, as a lease
// does outside of transactions.
func (w *modelWorker) inEpoch(change func(*partitionState) error) func(*partitionState) error {
	return func(s *partitionState) error {
		if s.Resets != w.resets {
			return ErrSwapped
		}
		return change(s)
	}
}

// settle is the beginning of a turn: with doubts, or after a change that was
// refused, the worker goes by the record.
func (w *modelWorker) settle() {
	w.known = w.store.state
	w.resolve(&w.known)
}

func (w *modelWorker) step(op string) {
	if w.doubts || w.known.Resets != w.resets { // another epoch
		w.settle()
	}
	n := w.next()
	switch op {
	case "handle":
		if n > modelEvents {
			return
		}
		if w.coupled {
			w.work("", n)
			return
		}
		w.handled = append(w.handled, n)
		w.advance(edgeOf(n))
	case "work lost before", "work lost after", "work late":
		if n <= modelEvents && w.coupled {
			w.work(op[len("work "):], n)
		}
	case "store", "store lost before", "store lost after":
		err := w.swap(strings.TrimSpace(op[len("store"):]), w.inEpoch(w.write), 0)
		switch {
		case err == nil:
			w.confirm()
		case errors.Is(err, ErrSwapped):
			w.settle()
		}
	case "renew": // by the goroutine that does, beside the worker
		w.store.state.Epoch++
		w.known = w.store.state
	case "park", "park lost before", "park lost after":
		if n <= modelEvents && !w.coupled {
			w.park(strings.TrimSpace(op[len("park"):]), n)
		}
	case "commits late":
		if late := w.store.late; late != nil {
			w.store.late = nil
			_ = late()
		}
	case "reset", "reset to 1":
		to := 0
		if op != "reset" {
			to = 1
		}
		w.store.state.Cursor, w.store.state.Position = at(to), uint64(to)
		w.store.state.Resets++
		w.store.state.Epoch++
	case "take over":
		w.progress = progress{coupled: w.coupled}
		w.known = w.store.state
		w.reset(&w.known)
	}
}

// work does the work of an event together with its cursor.
func (w *modelWorker) work(how string, n int) {
	e := edgeOf(n)
	err := w.swap(how, func(s *partitionState) error {
		return w.writeWith(e, s, 0)
	}, n)
	switch {
	case err == nil:
		w.advance(e)
		w.confirm()
	case errors.Is(err, ErrSwapped), errors.Is(err, errMoved):
		w.settle()
	default:
		w.doubt(e.Cursor)
	}
}

// park puts an event aside and moves the cursor behind it.
func (w *modelWorker) park(how string, n int) {
	e := edgeOf(n)
	err := w.swap(how, w.inEpoch(func(s *partitionState) error { return w.writeWith(e, s, 0) }), 0)
	switch {
	case err == nil:
		w.handled = append(w.handled, n)
		w.advance(e)
		w.confirm()
	case errors.Is(err, ErrSwapped):
		w.settle()
	default:
		if how == "lost after" {
			w.handled = append(w.handled, n)
		}
		w.doubt(e.Cursor)
	}
}

// Every order of work, lost answers, resets, take-overs and changes that come
// late leaves a worker that, left alone, ends with everything handled: in order
// since the last reset, and where work and cursor are one, each exactly once.
func TestProgressInEveryOrder(t *testing.T) {
	t.Parallel()
	for _, coupled := range []bool{false, true} {
		t.Run(fmt.Sprintf("coupled %t", coupled), func(t *testing.T) {
			t.Parallel()
			ops := []string{"handle", "store", "store lost before", "store lost after", "park", "park lost before", "park lost after", "renew", "reset to 1", "take over"}
			if coupled {
				ops = []string{"handle", "work lost before", "work lost after", "work late", "commits late", "renew", "store", "store lost after", "reset to 1", "take over"}
			}
			const depth = 5
			var path []string
			histories := 0
			var walk func(left int)
			walk = func(left int) {
				histories++
				if fault := replayModel(coupled, path); fault != "" {
					t.Fatalf("%q: %s", path, fault)
				}
				if left == 0 {
					return
				}
				for _, op := range ops {
					path = append(path, op)
					walk(left - 1)
					path = path[:len(path)-1]
				}
			}
			walk(depth)
			if histories < 15_000 {
				t.Errorf("only %d histories", histories)
			}
		})
	}
}

// replayModel makes the steps, lets the worker finish, and returns what is wrong.
func replayModel(coupled bool, path []string) string {
	s := &modelStore{}
	w := &modelWorker{progress: progress{coupled: coupled}, store: s}
	from, base := 0, 0 // the place of the last reset, and the work done before it
	for _, op := range path {
		before := s.state
		w.step(op)
		if s.state.Resets == before.Resets && s.state.Position < before.Position {
			return fmt.Sprintf("after %q the cursor went back from %q to %q", op, before.Cursor, s.state.Cursor)
		}
		if op == "reset" || op == "reset to 1" {
			from, base = int(s.state.Position), len(s.effects)
			if !coupled {
				base = len(w.handled)
			}
		}
		if coupled && s.state.Cursor != at(from+len(s.effects)-base) {
			return fmt.Sprintf("after %q the cursor is %q with effects %v", op, s.state.Cursor, s.effects)
		}
	}
	for range 3 * modelEvents {
		w.settle() // as the worker does that is told of another epoch
		w.step("handle")
		w.step("store")
	}
	if s.state.Cursor != at(modelEvents) {
		return fmt.Sprintf("in the end the cursor is %q", s.state.Cursor)
	}
	done := w.handled
	if coupled {
		done = s.effects
	}
	done = slices.Clone(done[base:])
	if !coupled {
		// At least once: in order, and none left out. What was in hand at the
		// reset may be done once more.
		done = lastRuns(done)
		done = done[max(0, len(done)-(modelEvents-from)):]
	}
	for i := range modelEvents - from {
		if i >= len(done) || done[i] != from+1+i {
			return fmt.Sprintf("since the reset to %d, %v was done", from, done)
		}
	}
	if coupled && len(done) != modelEvents-from {
		return fmt.Sprintf("since the reset to %d, %v was done, some of it twice", from, done)
	}
	return ""
}

// lastRuns removes what came again: of 1 2 1 2 3 it leaves 1 2 3. A gap stays.
func lastRuns(done []int) (once []int) {
	for _, n := range done {
		for len(once) > 0 && once[len(once)-1] >= n {
			once = once[:len(once)-1]
		}
		once = append(once, n)
	}
	return once
}
