// An executor that does nothing, for constructors that cannot return an error.

package store

import (
	"context"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Refusing is an executor whose methods return an error.
type Refusing struct {
	Err  error
	feed evento.Feed
}

var (
	_ evento.Transactor = (*Refusing)(nil)
	_ evento.Importer   = (*Refusing)(nil)
)

// Each method implements that of [evento.Executor], and returns Err. Changed never
// wakes, and there is nothing to close.

func (r *Refusing) Write(context.Context, evento.Write) ([]evento.Receipt, error) { return nil, r.Err }
func (r *Refusing) Read(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return nil, r.Err
}
func (r *Refusing) InTx(context.Context, func(context.Context) error) error  { return r.Err }
func (r *Refusing) Import(context.Context, []evento.RawEvent) error          { return r.Err }
func (r *Refusing) Changed() <-chan struct{}                                 { return nil }
func (r *Refusing) CursorAt(uint64) (cursor.Value, error)                    { return "", r.Err }
func (r *Refusing) Earlier(cursor.Value, cursor.Value) (cursor.Value, error) { return "", r.Err }
func (r *Refusing) Feed() *evento.Feed                                       { return &r.feed }
func (r *Refusing) Records(context.Context, evento.RecordQuery) (*evento.RecordPage, error) {
	return nil, r.Err
}
func (r *Refusing) Swap(context.Context, evento.Swap) error { return r.Err }
func (r *Refusing) Snapshot(context.Context, evento.SnapshotKey) (s evento.Snapshot, err error) {
	return s, r.Err
}
func (r *Refusing) SaveSnapshot(context.Context, evento.SnapshotKey, evento.Snapshot) error {
	return r.Err
}
func (r *Refusing) Snapshots(context.Context, evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	return nil, r.Err
}
func (r *Refusing) RemoveSnapshots(context.Context, []evento.SnapshotKey) error { return r.Err }
func (r *Refusing) Close() error                                                { return nil }
