package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/evento-go/evento/internal/store"
)

type leg []uint64

func (l *leg) At() (uint64, bool) {
	if len(*l) == 0 {
		return 0, true
	}
	return (*l)[0], false
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := store.Merge[leg, *leg]{Legs: make([]leg, 1+r.IntN(9)), Backward: seed%2 == 1}
		var want []uint64
		for i := range m.Legs {
			for range r.IntN(6) {
				m.Legs[i] = append(m.Legs[i], uint64(r.IntN(30)))
			}
			want = append(want, m.Legs[i]...)
			slices.Sort(m.Legs[i])
			if m.Backward {
				slices.Reverse(m.Legs[i])
			}
		}
		slices.Sort(want)
		if m.Backward {
			slices.Reverse(want)
		}
		var got []uint64
		for m.Init(); ; m.Moved() {
			at, ended := m.Legs[0].At()
			if ended {
				break
			}
			got = append(got, at)
			m.Legs[0] = m.Legs[0][1:]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
	}
}
