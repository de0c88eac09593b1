// Records: reading and changing them, whichever stream is their home.

package jetstream

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// The value of a record in the index begins with the message of the log in which it was born,
// if the stream of records is its home; else with 0.

func bornValue(born uint64, value []byte) []byte {
	return append(binary.AppendUvarint(make([]byte, 0, 10+len(value)), born), value...)
}

func splitBorn(value []byte) (born uint64, rest []byte, err error) {
	born, n := binary.Uvarint(value)
	if n <= 0 {
		return 0, nil, fmt.Errorf("%w: a record of the index is cut short", evento.ErrDamaged)
	}
	return born, value[n:], nil
}

// state is a record as it is now, and where.
type state struct {
	evento.Record        // revision 0: there is none
	born          uint64 // 0: its home is the log
	posted        posted // in the stream of records
}

// moved reports whether the record has left the stream of records, and has not arrived in the
// log here.
func (s *state) moved() bool { return s.born > 0 && s.posted.born == s.born && s.posted.moved }

// stateOf returns a record. Of the index, r is what it has; nil: nothing.
func stateOf(r *evento.Record, p posted) (s state, err error) {
	if s.posted = p; r == nil {
		return s, nil
	}
	s.Record = *r
	if s.born, s.Value, err = splitBorn(r.Value); err != nil {
		return s, err
	}
	if p := &s.posted; s.born > 0 && p.born == s.born {
		s.Revision, s.Value, s.ChangedAt = p.revision, p.value, time.UnixMicro(p.at).UTC()
	}
	return s, nil
}

func (ex *Executor) recordState(key evento.RecordKey) (state, error) {
	r, err := ex.index.Record(key)
	if err != nil {
		return state{}, err
	}
	p, _ := ex.board.get(key)
	return stateOf(r, p)
}

// freshRecords waits until all is applied that was in both streams when the call began.
func (ex *Executor) freshRecords(ctx context.Context) (head, error) {
	type answer struct {
		head
		err error
	}
	posted := make(chan answer, 1)
	go func() {
		h, err := ex.postedHead(ctx)
		posted <- answer{h, err}
	}()
	log, err := ex.fresh(ctx)
	p := <-posted
	if err = cmp.Or(err, p.err); err != nil {
		return head{}, err
	}
	if p.now.After(log.now) {
		log.now = p.now
	}
	return log, ex.board.await(ctx, p.sequence)
}

// Records implements [evento.Executor]. They are always fresh: the engine decides by them who
// works.
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	h, err := ex.freshRecords(ctx)
	if err != nil {
		return nil, failure(err)
	}
	page, err := ex.index.Records(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	for i, p := range ex.board.of(page.Records) {
		r := &page.Records[i]
		s, err := stateOf(r, p)
		if err != nil {
			return nil, failure(err)
		}
		*r = s.Record
	}
	page.Now = h.now.Truncate(time.Microsecond)
	return page, nil
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	for {
		states, err := ex.unswapped(ctx, &s)
		if err != nil {
			return failure(err)
		}
		if posts(&s, states) {
			err = ex.post(ctx, &s, states)
		} else {
			err = ex.swapInLog(ctx, &s, states)
		}
		if !errors.Is(err, errAgain) {
			return failure(err)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// errAgain: the records are not where they were, or not as they were; look again.
var errAgain = errors.New("jetstream: the records have changed")

// posts reports whether a swap goes to the stream of records.
func posts(s *evento.Swap, states []state) bool {
	for i := range s.Changes {
		if c := &s.Changes[i]; c.Revision == 0 || c.Remove || states[i].born == 0 || states[i].moved() {
			return false
		}
	}
	return true
}

// unswapped returns the records of a swap, or the error of one that is at another revision.
// That may be the result of an earlier attempt, or not have arrived here yet.
func (ex *Executor) unswapped(ctx context.Context, s *evento.Swap) ([]state, error) {
	for asked := false; ; asked = true {
		states := make([]state, len(s.Changes))
		var err error
		for i := range s.Changes {
			c := &s.Changes[i]
			if states[i], err = ex.recordState(c.RecordKey); err != nil {
				return nil, err
			}
			if states[i].Revision != c.Revision {
				err = swapped(c, states[i].Revision)
				break
			}
		}
		if err == nil || asked {
			return states, err
		}
		if _, err := ex.freshRecords(ctx); err != nil {
			return nil, err
		}
	}
}

// post makes a swap in the stream of records.
func (ex *Executor) post(ctx context.Context, s *evento.Swap, states []state) error {
	id, changes, after := randomID(), make([]change, len(s.Changes)), make([]uint64, len(s.Changes))
	for i := range s.Changes {
		c, at := &s.Changes[i], &states[i]
		changes[i] = change{id: id, before: at.posted.id, wake: s.Wake, born: at.born, log: ex.follower.applied.Load(), key: c.RecordKey, revision: c.Revision + 1, value: c.Value}
		after[i] = at.posted.sequence
	}
	return ex.settlePost(ctx, changes, after)
}

// settlePost publishes changes until it is known whether they are stored: a copy of what is
// stored does not follow on what it followed on. errAgain: they are not, and one of the records is
// not as it was.
func (ex *Executor) settlePost(ctx context.Context, changes []change, after []uint64) error {
	for unsure := false; ; { // a copy is not answered
		sequence, err := ex.board.post(ctx, changes, after)
		if err == nil {
			return ex.board.await(ctx, sequence)
		}
		if unsure && errors.Is(err, evento.ErrFull) {
			return unknown(err)
		}
		unsure = unsure || unanswered(err)
		refused := isCode(err, wrongLast, wrongLastConstant, tooManyBatches)
		if ctx.Err() != nil || !refused && !unanswered(err) {
			return err
		}
		if over := ex.over(err); over != nil {
			return store.Errorf("%w: %w", evento.ErrOutcomeUnknown, over)
		}
		if err := ex.freshBoard(ctx); err != nil {
			return err
		}
		if ex.board.has(changes[0].key, changes[0].id) {
			return nil
		}
		if isCode(err, wrongLast) || !ex.board.unchanged(changes, after) {
			return cmp.Or(ex.forgetRemoved(ctx, changes, after), errAgain)
		}
		if err := pause(ctx, again/4); err != nil {
			return err
		}
	}
}

// unknown is the error of a change of which a copy was not answered, and another refused: the first may
// come to be stored.
func unknown(refusal error) error {
	return store.Errorf("%w: the servers have not answered, and then refused it: %v", evento.ErrOutcomeUnknown, refusal) // not %w: something may be stored
}

// freshBoard waits until the board has all that was in the stream when the call began.
func (ex *Executor) freshBoard(ctx context.Context) error {
	h, err := ex.postedHead(ctx)
	if err != nil {
		return err
	}
	return ex.board.await(ctx, h.sequence)
}

// postedHead returns where the stream of records is, or was at some moment of the call.
func (ex *Executor) postedHead(ctx context.Context) (head, error) {
	return ex.recordHead.surely(ctx, func(ctx context.Context) (uint64, error) {
		if ex.board.mute.Load() {
			return 0, nil
		}
		return ex.board.pass(ctx)
	})
}

// forgetRemoved is for records whose last messages the server has no more.
func (ex *Executor) forgetRemoved(ctx context.Context, changes []change, after []uint64) error {
	for i := range changes {
		key := changes[i].key
		if p, _ := ex.board.get(key); p.sequence != after[i] || after[i] == 0 {
			continue
		}
		// While a record is in this stream, its message is there, whatever an old leader says.
		at, err := ex.recordState(key)
		if err != nil {
			return err
		}
		if at.born > 0 && at.posted.born == at.born {
			continue
		}
		m, err := ex.message(ctx, ex.names.records, bySubject{ex.names.recordSubject(key)})
		if err != nil {
			return err
		}
		if m == nil {
			ex.board.forget(key, after[i])
		}
	}
	return nil
}

// swapInLog makes a swap in the log, to which the records move that are there already.
func (ex *Executor) swapInLog(ctx context.Context, s *evento.Swap, states []state) error {
	if err := ex.moveToLog(ctx, states); err != nil {
		return err
	}
	if _, err := ex.sender.propose(ctx, &proposal{swap: s}); err != nil {
		return err
	}
	for i := range s.Changes {
		if c := &s.Changes[i]; c.Remove && states[i].posted.sequence > 0 {
			ex.clean(ctx, c.RecordKey, states[i].posted.born)
		}
	}
	return nil
}

// clean removes the last message of a record that is removed. If it stays, it means nothing. One of
// a record that was made again meanwhile has another birth.
func (ex *Executor) clean(ctx context.Context, key evento.RecordKey, born uint64) {
	p, ok := ex.board.get(key)
	if ok && p.born == born && ex.purge(ctx, ex.names.records, ex.names.recordSubject(key), p.sequence) == nil {
		ex.board.forget(key, p.sequence)
	}
}

// moveToLog moves records to the log, if they are not there.
func (ex *Executor) moveToLog(ctx context.Context, states []state) error {
	var moves []move
	for i := range states {
		s := &states[i]
		if s.Revision == 0 || s.born == 0 {
			continue
		}
		if !s.moved() {
			c := change{
				id: randomID(), before: s.posted.id, moved: true, born: s.born, log: ex.follower.applied.Load(), key: s.RecordKey,
				revision: s.Revision, at: s.ChangedAt.UnixMicro(), value: s.Value,
			}
			if err := ex.settlePost(ctx, []change{c}, []uint64{s.posted.sequence}); err != nil {
				return err
			}
		}
		moves = append(moves, move{s.Record, s.born})
	}
	if len(moves) == 0 {
		return nil
	}
	_, err := ex.sender.propose(ctx, &proposal{moves: moves})
	return err
}

// settled returns the records of a write's swap when they are at their revisions, and in the
// log.
func (ex *Executor) settled(ctx context.Context, s *evento.Swap) error {
	states, err := ex.unswapped(ctx, s)
	if err != nil {
		return err
	}
	return ex.moveToLog(ctx, states)
}
