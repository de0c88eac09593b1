package pebble_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
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
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%s has the tables %q, %v", dir, tables, err)
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := len(b) / 10; at < len(b)*9/10; at += 512 {
			b[at] ^= 0x55
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
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
