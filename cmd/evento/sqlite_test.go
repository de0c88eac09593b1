package main

import (
	"os"
	"strings"
	"testing"
)

// Commands that only look leave the file unchanged, byte for byte, whatever it
// contains.
func TestLookingChangesNothing(t *testing.T) {
	t.Parallel()
	store := stores[sqliteStore](t)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	backup, other := t.TempDir()+"/backup.db", t.TempDir()+"/other.db"
	statements(t, store, "VACUUM INTO '"+backup+"'")
	statements(t, other, "CREATE TABLE a (b)")
	for _, test := range []struct {
		store string
		code  int
	}{{store, exitOK}, {backup, exitOK}, {other, exitFailed}} {
		path := strings.TrimPrefix(test.store, "sqlite:")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"events", "list"}, {"events", "show", "3"}, {"events", "tail", "--count", "1"}, {"aggregate", "o1"}, {"subscriptions", "list"}, {"subscriptions", "show", "mailer"}, {"migrate", "status"}} {
			var out, errs strings.Builder
			code := run(t.Context(), append(args, "--store", test.store), nil, &out, &errs)
			want := test.code
			if args[0] == "migrate" {
				want = exitOK
			}
			if code != want {
				t.Errorf("evento %q of %s: exit code %d, want %d\n%s%s", args, path, code, want, out.String(), errs.String())
			}
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(before) != string(after) {
			t.Errorf("%s was changed by looking at it", path)
		}
	}
}
