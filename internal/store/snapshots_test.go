package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

func TestSnapshots(t *testing.T) {
	t.Parallel()
	const half = evento.PageBytes / 2
	for _, tt := range []struct {
		name  string
		q     evento.SnapshotQuery
		sizes []int
		want  int
		more  bool
	}{
		{"none", evento.SnapshotQuery{}, nil, 0, false},
		{"all", evento.SnapshotQuery{Limit: 3}, []int{1, 1, 1}, 3, false},
		{"one too many", evento.SnapshotQuery{Limit: 3}, []int{1, 1, 1, 1}, 3, true},
		{"the most", evento.SnapshotQuery{}, make([]int, evento.MaxRecords+1), evento.MaxRecords, true},
		{"states that just fit", evento.SnapshotQuery{States: true}, []int{half, half, 0}, 3, false},
		{"states that do not fit", evento.SnapshotQuery{States: true}, []int{half, half, 1, 0}, 2, true},
		{"a large state alone", evento.SnapshotQuery{States: true}, []int{3 * half}, 1, false},
		{"a large state and an empty one", evento.SnapshotQuery{States: true}, []int{3 * half, 0}, 1, true},
		{"a large state and another", evento.SnapshotQuery{States: true}, []int{3 * half, 1}, 1, true},
		{"sizes only", evento.SnapshotQuery{}, []int{3 * half, 3 * half}, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := store.SnapshotsOf(tt.q)
			for i, size := range tt.sizes {
				s := evento.StoredSnapshot{Size: size, Snapshot: evento.Snapshot{Cursor: "c", Data: []byte("d")}}
				s.AggregateID = fmt.Sprint(i)
				if took := p.Take(s); took != (i < tt.want) {
					t.Fatalf("Take() of snapshot %d = %t", i, took)
				}
				if i == tt.want {
					break
				}
			}
			page := p.Page()
			if len(page.Snapshots) != tt.want || page.More != tt.more {
				t.Errorf("got %d snapshots, more %t, want %d, %t", len(page.Snapshots), page.More, tt.want, tt.more)
			}
			for i, s := range page.Snapshots {
				if with := s.Cursor != "" && s.Data != nil; s.AggregateID != fmt.Sprint(i) || with != tt.q.States {
					t.Errorf("snapshot %d: got %+v", i, s)
				}
			}
		})
	}
}

func TestCheckKeys(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{0: nil, evento.MaxRecords: nil, evento.MaxRecords + 1: evento.ErrInvalid} {
		if err := store.CheckKeys(make([]evento.SnapshotKey, n)); !errors.Is(err, want) {
			t.Errorf("CheckKeys() of %d = %v, want %v", n, err, want)
		}
	}
}
