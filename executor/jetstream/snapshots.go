// Snapshots, each the last message of its subject.

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// storedSnapshot is the body of the first message of a snapshot. What does not fit into it is
// in further messages, on subjects of their own.
type storedSnapshot struct {
	Key      evento.SnapshotKey `json:"key"`
	Version  uint64             `json:"version"`
	Position uint64             `json:"position"`
	Cursor   cursor.Value       `json:"cursor"`
	Size     int                `json:"size"`
	Parts    int                `json:"parts"` // further messages
	ID       string             `json:"id"`    // which they have
	Data     []byte             `json:"data"`
}

const snapshotPart = 600 << 10 // in base64 it is 800 KiB

// subjectOf is the subject of a snapshot, or of a part of it.
func (n *names) subjectOf(key evento.SnapshotKey, part int) string {
	var e encoder
	for _, s := range []string{key.Projection, key.Variant, string(key.AggregateType), key.AggregateID} {
		e.text(s)
	}
	e.uint(key.Revision)
	subject := n.snapshot + e.hash()
	if part > 0 {
		subject += "-" + strconv.Itoa(part)
	}
	return subject
}

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return s, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return s, err
	}
	defer ex.gate.Leave()
	s, err = ex.snapshot(ctx, key)
	return s, failure(err)
}

func (ex *Executor) snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	for before := uint64(0); ; {
		m, err := ex.message(ctx, ex.names.snapshots, bySubject{ex.names.subjectOf(key, 0)})
		if err != nil {
			return s, err
		}
		if m == nil || m.Sequence == before { // it is still the same, and parts of it are gone
			return s, fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
		}
		stored, whole, err := ex.whole(ctx, m)
		if err != nil || whole {
			return evento.Snapshot{Version: stored.Version, Position: stored.Position, Cursor: stored.Cursor, Data: stored.Data}, err
		}
		before = m.Sequence
	}
}

// whole returns a snapshot with its parts, unless others have taken their place.
func (ex *Executor) whole(ctx context.Context, m *storedMessage) (s storedSnapshot, whole bool, err error) {
	if err := json.Unmarshal(m.Data, &s); err != nil {
		return s, false, fmt.Errorf("%w: the snapshot at %d: %w", evento.ErrDamaged, m.Sequence, err)
	}
	for i := range s.Parts {
		m, err := ex.message(ctx, ex.names.snapshots, bySubject{ex.names.subjectOf(s.Key, i+1)})
		if err != nil || m == nil {
			return s, false, err
		}
		var part storedSnapshot
		if err := json.Unmarshal(m.Data, &part); err != nil {
			return s, false, fmt.Errorf("%w: the snapshot at %d: %w", evento.ErrDamaged, m.Sequence, err)
		}
		if part.ID != s.ID {
			return s, false, nil
		}
		s.Data = append(s.Data, part.Data...)
	}
	return s, true, nil
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(key, s); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	messages, err := ex.messagesOf(key, s)
	if err != nil {
		return err
	}
	for unsure := false; ; { // a copy is not answered
		m, err := ex.message(ctx, ex.names.snapshots, bySubject{ex.names.subjectOf(key, 0)})
		if err != nil {
			return failure(err)
		}
		var before uint64
		if m != nil {
			before = m.Sequence
			var was storedSnapshot
			if json.Unmarshal(m.Data, &was) == nil && (was.Version > s.Version || was.Version == s.Version && was.Position > s.Position) {
				return nil
			}
		}
		after := slices.Repeat([]uint64{anywhere}, len(messages))
		after[len(messages)-1] = before
		_, err = ex.publishAll(ctx, messages, after)
		if unsure && errors.Is(err, evento.ErrFull) {
			return unknown(err)
		}
		unsure = unsure || unanswered(err)
		if !isCode(err, wrongLast, wrongLastConstant, tooManyBatches) && !unanswered(err) {
			return failure(err)
		}
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

// messagesOf makes the messages of a snapshot. That which counts is the last.
func (ex *Executor) messagesOf(key evento.SnapshotKey, s evento.Snapshot) ([]*nats.Msg, error) {
	pieces := slices.Collect(slices.Chunk(s.Data, snapshotPart))
	first := storedSnapshot{Key: key, Version: s.Version, Position: s.Position, Cursor: s.Cursor, Size: len(s.Data), ID: evento.NewID().String()}
	if len(pieces) > 0 {
		first.Data, pieces = pieces[0], pieces[1:]
	}
	first.Parts = len(pieces)
	var messages []*nats.Msg
	add := func(part int, body storedSnapshot) error {
		data, err := json.Marshal(body)
		m := nats.NewMsg(ex.names.subjectOf(key, part))
		m.Data = data
		messages = append(messages, m)
		return err
	}
	for i, piece := range pieces {
		if err := add(i+1, storedSnapshot{ID: first.ID, Data: piece}); err != nil {
			return nil, err
		}
	}
	return messages, add(0, first)
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	for _, key := range keys {
		m, err := ex.message(ctx, ex.names.snapshots, bySubject{ex.names.subjectOf(key, 0)})
		if err == nil && m != nil {
			err = ex.removeSnapshot(ctx, key, m)
		}
		if err != nil {
			return failure(err)
		}
	}
	return nil
}

// removeSnapshot removes a snapshot whose first message is known, and not one that was saved since.
func (ex *Executor) removeSnapshot(ctx context.Context, key evento.SnapshotKey, m *storedMessage) error {
	var s storedSnapshot
	_ = json.Unmarshal(m.Data, &s) // one that is damaged is removed too
	for part := 0; part <= s.Parts; part++ {
		subject := ex.names.subjectOf(key, part)
		if err := ex.persist(ctx, func() error { return ex.purge(ctx, ex.names.snapshots, subject, m.Sequence) }); err != nil {
			return err
		}
		ex.list.forget(subject)
	}
	return nil
}
