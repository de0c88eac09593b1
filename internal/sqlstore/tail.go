// The end of the store in a transaction: what conditions are judged against.

package sqlstore

import (
	"math"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Tail has the last events before a transaction in which nobody else appends, and those
// that it adds.
type Tail struct {
	positions cursor.Positions
	head      uint64
	read      store.Reader  // on the transaction's connection
	recent    *store.Recent // nil: it is one caller's transaction
	keeps     bool
	added     []store.Header
}

// TailOf is the tail of a flush, of a store that is at head. Judging says that some of its
// writes have conditions.
func TailOf(recent *store.Recent, p cursor.Positions, head int64, judging bool, read store.Reader) Tail {
	return Tail{positions: p, head: uint64(head), read: read, recent: recent, keeps: recent.Keep(uint64(head), judging)}
}

// OwnTail is the tail of one caller's transaction. Its own events exclude nothing, and
// its conditions are held against the whole store.
func OwnTail(p cursor.Positions, head int64, read store.Reader) Tail {
	return Tail{positions: p, head: uint64(head), read: read}
}

// Keeps reports whether Note has to be called for what is added.
func (t *Tail) Keeps() bool { return t.keeps }

// Note notes an append that was added, with its last position.
func (t *Tail) Note(a *evento.Append, last int64, routingKey string) {
	t.added = append(t.added, store.Headers(a, uint64(last), routingKey)...)
}

// Publish is called when the transaction is committed.
func (t *Tail) Publish() {
	if t.keeps {
		t.recent.Add(t.added...)
	}
}

// judge returns the conflict of the first condition that excludes something.
func (t *Tail) judge(op *Op) (refusal, err error) {
	c := op.Conditions
	if t.recent == nil {
		if c, err = store.Look(&op.Write, &store.Recent{}, t.positions, t.head, t.read); err == nil {
			return c.Refused(), nil
		}
	} else if err = c.Refused(); err != nil {
		return err, nil
	} else if err = t.recent.Cover(&op.Conditions, t.head, t.positions, t.read); err == nil {
		err = t.recent.Judge(&op.Conditions, t.added)
	}
	if store.IsRefusal(err) {
		return err, nil
	}
	return nil, err
}

// Look makes the conditions of the operation ready for a flush, again after
// [store.ErrBehind].
func (op *Op) Look(recent *store.Recent, p cursor.Positions, read store.Reader) (err error) {
	op.Conditions, err = store.Look(&op.Write, recent, p, math.MaxUint64, read)
	return err
}
