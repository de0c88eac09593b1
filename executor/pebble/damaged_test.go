package pebble_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/storetest"
)

// A table with flipped bits is found when it is read, and says so.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "events")
	ex := openDir(t, dir)
	for i := range 500 {
		commit(t, ex, i)
	}
	closeAll(t, ex)
	storetest.DamageTables(t, dir)
	again, err := pebble.Open(t.Context(), dir, nil)
	if err == nil {
		for _, err = range evento.Events(t.Context(), again, evento.Query{}) {
			if err != nil {
				break
			}
		}
		closeAll(t, again)
	}
	if !is(t, err, evento.ErrDamaged) || !strings.Contains(err.Error(), "checksum mismatch") || strings.Contains(err.Error(), "stack") {
		t.Errorf("of a damaged table: %v, want ErrDamaged without a stack", err)
	}
}
