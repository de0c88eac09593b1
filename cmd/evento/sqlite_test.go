package main

import (
	"os"
	"path/filepath"
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
		for _, args := range [][]string{{"events", "list"}, {"events", "show", "3"}, {"events", "tail", "--count", "1"}, {"aggregate", "o1"}, {"subscriptions", "list"}, {"subscriptions", "show", "mailer"}, {"deadlines"}, {"migrate", "status"}} {
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

// What is not of the storage's kind is no store, also for commands that would make one.
func TestMigrateOfAnotherKind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for store, want := range map[string]string{
		"sqlite:" + dir:  "it is a directory: a SQLite store is a file; for one of Pebble write pebble:" + dir,
		"pebble:" + file: "it is not a directory: for a SQLite store write sqlite:" + file,
	} {
		for _, what := range []string{"up", "status"} {
			code, stdout, stderr := call(t, "", "migrate", what, "--store", store)
			if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("migrate %s of %s: exit code %d, want %d and %q\n%s%s", what, store, code, exitFailed, want, stdout, stderr)
			}
		}
	}
}

// SQLite's INSERT OR REPLACE deletes what is in its way and tells no trigger of it. The
// doctor finds what it has done.
func TestDoctorFindsReplacedEvents(t *testing.T) {
	t.Parallel()
	const columns = "agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, checksum, "
	for name, test := range map[string]struct {
		replace string
		want    string
	}{
		"at its place":                  {"SELECT position, " + columns + "x'a0', metadata FROM SCHEMA.event WHERE position = 2", "error checksum"},
		"at the end of the store":       {"SELECT (SELECT max(position) FROM SCHEMA.event) + 1, " + columns + "data, metadata FROM SCHEMA.event WHERE position = 2", "error position"},
		"without a checksum":            {"SELECT position, " + strings.Replace(columns, "checksum", "NULL", 1) + "data, metadata FROM SCHEMA.event WHERE position = 2", "error checksum"},
		"by the event of another place": {"SELECT 3, " + columns + "data, metadata FROM SCHEMA.event WHERE position = 2", "error checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := stores[sqliteStore](t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			before, _ := findings(t, "--store", store)
			statements(t, store, "INSERT OR REPLACE INTO SCHEMA.event (position, "+columns+"data, metadata) "+test.replace)
			if after, text := findings(t, "--store", store); before[test.want] != 0 || after[test.want] == 0 {
				t.Errorf("doctor found %v, before %v, and no %s\n%s", after, before, test.want, text)
			}
		})
	}
}
