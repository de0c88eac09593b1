package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evento-go/evento/executor/jetstream"
)

// The promises are proved on a store beside the one that is named, which is not opened; and
// nothing is left.
func TestTorture(t *testing.T) {
	t.Parallel()
	for _, kind := range []storeKind{sqliteStore, pebbleStore, postgresStore, mysqlStore, natsStore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := stores[kind](t)
			cmd := program(t, t.TempDir(), "torture", "--store", store, "--for", "1s", "--kills", "3")
			code, stdout, stderr := ended(t, cmd)
			if code != exitOK || !strings.Contains(stdout, ": kill -9 x 3, ") || !strings.Contains(stdout, " lost 0 ") || !strings.HasSuffix(stdout, "\nNo promise was broken.\n") {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			name := regexp.MustCompile(`evento_torture_\w+`).FindString(stdout)
			if left := leftOf(t, store, name); len(left) > 0 {
				t.Errorf("it has left %q", left)
			}
		})
	}
}

// leftOf is what there is of a store of this name beside another one.
func leftOf(t *testing.T, store, name string) (left []string) {
	t.Helper()
	a, err := parseStore(store)
	if err != nil {
		t.Fatal(err)
	}
	switch a.kind {
	case sqliteStore, pebbleStore:
		return names(t, filepath.Dir(a.path))
	case natsStore:
		f, err := jetstream.FormatOf(t.Context(), a.place, &jetstream.Options{Name: name, Replicas: 1, AllowUnsafe: true})
		if err != nil {
			t.Fatal(err)
		}
		if f.At > 0 {
			left = append(left, name)
		}
		return left
	}
	in, err := a.inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	rows, err := in.DB.QueryContext(t.Context(), "SELECT schema_name FROM information_schema.schemata WHERE schema_name = '"+name+"'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		left = append(left, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return left
}

func TestTortureRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--store", "x.db", "--kills", "-1"},
		{"--store", "x.db", "--workers", "0"},
		{"--store", "sqlite:file:x.db?mode=ro"},
		{"--store", ":memory:"},
		{"--store", "x.db", "y"},
		{},
	} {
		dir := t.TempDir()
		if code, stdout, stderr := ended(t, program(t, dir, append([]string{"torture"}, args...)...)); code != exitUsage {
			t.Errorf("%q: exit code %d, %s%s", args, code, stdout, stderr)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%q: it has made %q", args, left)
		}
	}
}
