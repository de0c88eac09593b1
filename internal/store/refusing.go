// An executor that does nothing, for constructors that cannot return an error.

package store

import (
	"context"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Refusing returns an executor, a Transactor and Importer too, whose methods return an
// error. Its Changed never wakes, and there is nothing to close.
func Refusing(err error) evento.Executor { return refusing{err, &evento.Feed{}} }

type refusing struct {
	err  error
	feed *evento.Feed
}

var (
	_ evento.Transactor = refusing{}
	_ evento.Importer   = refusing{}
)

func (r refusing) Write(context.Context, evento.Write) ([]evento.Receipt, error) { return nil, r.err }
func (r refusing) Read(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return nil, r.err
}
func (r refusing) InTx(context.Context, func(context.Context) error) error  { return r.err }
func (r refusing) Import(context.Context, []evento.RawEvent) error          { return r.err }
func (r refusing) Changed() <-chan struct{}                                 { return nil }
func (r refusing) CursorAt(uint64) (cursor.Value, error)                    { return "", r.err }
func (r refusing) Earlier(cursor.Value, cursor.Value) (cursor.Value, error) { return "", r.err }
func (r refusing) Feed() *evento.Feed                                       { return r.feed }
func (r refusing) Records(context.Context, evento.RecordQuery) (*evento.RecordPage, error) {
	return nil, r.err
}
func (r refusing) Swap(context.Context, evento.Swap) error { return r.err }
func (r refusing) Snapshot(context.Context, evento.SnapshotKey) (s evento.Snapshot, err error) {
	return s, r.err
}
func (r refusing) SaveSnapshot(context.Context, evento.SnapshotKey, evento.Snapshot) error {
	return r.err
}
func (r refusing) Snapshots(context.Context, evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	return nil, r.err
}
func (r refusing) RemoveSnapshots(context.Context, []evento.SnapshotKey) error { return r.err }
func (r refusing) Close() error                                                { return nil }
