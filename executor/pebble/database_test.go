package pebble_test

import (
	"bytes"
	"errors"
	"testing"

	lsm "github.com/cockroachdb/pebble/v2"
)

// No table has keys of two kinds: so those of positions, which only grow, are not written
// anew when the keys of aggregates are merged.
func TestTablesHaveOneKindOfKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ex := openDir(t, dir)
	commit(t, ex, 3)
	closeAll(t, ex) // writes what is in the log into tables
	db, err := lsm.Open(dir, &lsm.Options{Logger: quiet{}, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	levels, err := db.SSTables()
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	kinds := map[byte]bool{}
	n := len("evento/") + 1
	for _, level := range levels {
		for _, table := range level {
			first, last := table.Smallest.UserKey, table.Largest.UserKey
			if !bytes.Equal(first[:n], last[:n]) {
				t.Errorf("a table has the keys from %q to %q, want those of one kind", first, last)
			}
			kinds[first[n-1]] = true
		}
	}
	for _, kind := range []byte("aekm") {
		if !kinds[kind] {
			t.Errorf("no table has keys of the kind %q: %v", kind, kinds)
		}
	}
}
