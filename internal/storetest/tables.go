package storetest

import (
	"os"
	"path/filepath"
	"testing"
)

// DamageTables flips bits all over the tables of a directory of Pebble.
func DamageTables(t *testing.T, dir string) {
	t.Helper()
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
		if err := os.WriteFile(path, b, 0o600); err != nil { //nolint:gosec // a folder of the test's
			t.Fatal(err)
		}
	}
}
