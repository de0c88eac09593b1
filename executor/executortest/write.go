// Making the writes that the tests make.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
)

// The types of aggregates that most tests use.
const (
	thing evento.AggregateType = "executortest/Thing"
	other evento.AggregateType = "executortest/Other"
)

// event is a new event whose payload is its id.
func event(name string) evento.NewEvent {
	id := evento.NewID()
	return evento.NewEvent{ID: id, Name: name, Codec: "raw", Data: id[:]}
}

// to appends new events to the thing with this id, which is at a version.
func to(id string, expected uint64, names ...string) evento.Append {
	a := evento.Append{AggregateType: thing, AggregateID: id, Expected: expected}
	for _, name := range names {
		a.Events = append(a.Events, event(name))
	}
	return a
}

// toAny is to at whatever version.
func toAny(id string, names ...string) evento.Append {
	a := to(id, 0, names...)
	a.AnyVersion = true
	return a
}

// many is n times the same name.
func many(n int, name string) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = name
	}
	return names
}

// write is the write of some appends.
func write(appends ...evento.Append) evento.Write { return evento.Write{Appends: appends} }

// conflictAt is the conflict of a write that expected a thing at another version.
func conflictAt(id string, expected, actual uint64) evento.ConflictError {
	return evento.ConflictError{AggregateType: thing, AggregateID: id, Expected: expected, Actual: actual}
}

// commit writes the appends as one, which must succeed.
func commit(ctx context.Context, t testing.TB, ex evento.Executor, appends ...evento.Append) []evento.Receipt {
	t.Helper()
	receipts, err := tryCommit(ctx, ex, evento.Write{Appends: appends})
	must(t, err)
	return receipts
}

// tryCommit is Write with an error that shows what was written, and a look at
// the form of the receipts.
func tryCommit(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
	receipts, err := ex.Write(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("Write(%s): %w", show(w), err)
	}
	if len(receipts) != len(w.Appends) {
		return nil, fmt.Errorf("Write(%s): got %d receipts %v, want one for each append", show(w), len(receipts), receipts)
	}
	for i, r := range receipts {
		if r.AggregateID != w.Appends[i].AggregateID {
			return nil, fmt.Errorf("Write(%s): receipt %d is for %q, want it in the order of the appends", show(w), i, r.AggregateID)
		}
	}
	return receipts, nil
}

// refuse makes a write that must fail with an error that matches want, and
// leave the store as it was.
func refuse(ctx context.Context, t testing.TB, ex evento.Executor, w evento.Write, want error) {
	t.Helper()
	before := readAll(ctx, t, ex, evento.Query{})
	wantError(t, discard(ex.Write(ctx, w)), want, "Write(%s)", show(w))
	wantLog(ctx, t, ex, before)
}

// conflict makes a write that must fail with exactly this conflict, and leave
// the store as it was.
func conflict(ctx context.Context, t testing.TB, ex evento.Executor, w evento.Write, want evento.ConflictError) {
	t.Helper()
	before := readAll(ctx, t, ex, evento.Query{})
	wantConflict(t, discard(ex.Write(ctx, w)), want, "Write(%s)", show(w))
	wantLog(ctx, t, ex, before)
}

// wantConflict checks that an error is exactly this conflict.
func wantConflict(t testing.TB, err error, want evento.ConflictError, what string, args ...any) {
	t.Helper()
	var got *evento.ConflictError
	wantError(t, err, evento.ErrConflict, what, args...)
	if !errors.As(err, &got) || *got != want {
		t.Errorf("%s: got %v, want the conflict %+v", fmt.Sprintf(what, args...), err, want)
	}
}

// show is a write in few words.
func show(w evento.Write) string {
	s := ""
	for i, a := range w.Appends {
		if i == 4 {
			return s + fmt.Sprintf(" and %d appends more", len(w.Appends)-i)
		}
		at := fmt.Sprintf("at %d", a.Expected)
		if a.AnyVersion {
			at = "at any version"
		}
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%d events to %.40s %.40q %s", len(a.Events), a.AggregateType, a.AggregateID, at)
		if a.RoutingKey != "" {
			s += fmt.Sprintf(" routed %.40q", a.RoutingKey)
		}
	}
	if w.Retry {
		s += ", a retry"
	}
	return s
}

// raws is what the events of an append come back as, the first of them at a
// version, with the routing key given; the place and the time are the store's
// to say.
func raws(a evento.Append, first uint64, routingKey string) []evento.RawEvent {
	es := make([]evento.RawEvent, len(a.Events))
	for i, e := range a.Events {
		es[i] = evento.RawEvent{
			ID: e.ID, AggregateType: a.AggregateType, AggregateID: a.AggregateID, Version: first + uint64(i),
			Name: e.Name, RoutingKey: routingKey, Tags: e.Tags, Codec: e.Codec, Data: e.Data, Metadata: a.Metadata,
		}
	}
	return es
}

// idsOf is the ids of a write's events.
func idsOf(w evento.Write) []evento.ID {
	var ids []evento.ID
	for _, a := range w.Appends {
		for _, e := range a.Events {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
