// Records in tests: given ones, and those that are there at the end.

package eventotest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/evento-go/evento"
)

// isLibrarys reports whether the library keeps records of this kind itself.
func isLibrarys(kind string) bool {
	return slices.Contains([]string{"subscription", "parked", "deadline", "due"}, kind)
}

// kinds are the kinds of records that an application has changed.
type kinds struct {
	mu  sync.Mutex
	all map[string]bool
}

func (k *kinds) note(s *evento.Swap) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]bool{}
	}
	for i := range s.Changes {
		if kind := s.Changes[i].Kind; !isLibrarys(kind) {
			k.all[kind] = true
		}
	}
}

func (k *kinds) sorted() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.all))
}

// Write notes whose records are changed.
func (s *store) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if w.Swap != nil {
		s.kinds.note(w.Swap)
	}
	return s.Executor.Write(ctx, w)
}

// Swap notes whose records are changed.
func (s *store) Swap(ctx context.Context, swap evento.Swap) error {
	s.kinds.note(&swap)
	return s.Executor.Swap(ctx, swap)
}

// giveRecord stores a record that was there before.
func (s *store) giveRecord(ctx context.Context, r *evento.Record) error {
	if isLibrarys(r.Kind) {
		return errors.New("is one of the library's")
	}
	err := s.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: r.RecordKey, Value: r.Value}}})
	if err != nil {
		return fmt.Errorf("cannot be stored: %w", err)
	}
	return nil
}

// recordsIn returns the records that are the application's, in the order of their keys.
func (h *history) recordsIn(s *store) (all []evento.Record) {
	h.t.Helper()
	for _, kind := range s.kinds.sorted() {
		for q := (evento.RecordQuery{Kind: kind}); ; {
			page, err := s.Records(h.t.Context(), q)
			if err != nil {
				h.misuse("reading the records: %v", err)
				return nil
			}
			all = append(all, page.Records...)
			if !page.More {
				break
			}
			q.After = all[len(all)-1].RecordKey
		}
	}
	return all
}

// record is how differences show a record. Only a revision that the wanted one sets is
// compared.
type record struct {
	Kind, Key, Part string
	Revision        uint64
	Value           string
}

func shownRecords(all []evento.Record) []record {
	shown := make([]record, len(all))
	for i, r := range all {
		shown[i] = record{r.Kind, r.Key, r.Part, r.Revision, string(r.Value)}
	}
	return shown
}

// valuesOf is shownRecords without revisions.
func valuesOf(all []evento.Record) []record {
	shown := shownRecords(all)
	for i := range shown {
		shown[i].Revision = 0
	}
	return shown
}

// sameRecords fails unless the application's records are the wanted ones, in any order.
func (h *history) sameRecords(got, want []evento.Record) {
	h.t.Helper()
	want = slices.SortedFunc(slices.Values(want), func(a, b evento.Record) int { return a.Compare(b.RecordKey) })
	wants, gots := shownRecords(want), shownRecords(got)
	for i := range gots {
		at, found := slices.BinarySearchFunc(want, got[i].RecordKey, func(r evento.Record, key evento.RecordKey) int { return r.Compare(key) })
		if !found || want[at].Revision == 0 {
			gots[i].Revision = 0
		}
	}
	if diff := h.diff(wants, gots); diff != "" {
		h.fail("the records are not those wanted (-want +got):\n%s", diff)
	}
}
