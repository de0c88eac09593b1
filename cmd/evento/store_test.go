package main

import (
	"strings"
	"testing"
)

// A store's URL is parsed, and never shown with its password.
func TestParseStore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, kind, place, shown string }{
		{"app.db", "sqlite", "app.db", "sqlite:app.db"},
		{"./a:b.db", "sqlite", "./a:b.db", "sqlite:./a:b.db"},
		{"sqlite:/a/b.db", "sqlite", "/a/b.db", "sqlite:/a/b.db"},
		{"sqlite:///a/b.db", "sqlite", "/a/b.db", "sqlite:/a/b.db"},
		{"sqlite:a\x1b.db", "sqlite", "a\x1b.db", `"sqlite:a\x1b.db"`},
		{"pebble:events", "pebble", "events", "pebble:events"},
		{"postgres://u:secret@h:1/d?schema=s&sslmode=disable", "postgres", "postgres://u:secret@h:1/d?sslmode=disable", "postgres://u@h:1/d?schema=s"},
		{"postgresql://h/d", "postgres", "postgresql://h/d", "postgres://@h/d"},
		{"mysql:u:secret@tcp(h:3306)/d", "mysql", "u:secret@tcp(h:3306)/d", "mysql://u@h:3306/d"},
		{"mysql://u:secret%2F@h:3306/d?tls=true", "mysql", "u:secret/@tcp(h:3306)/d?tls=true", "mysql://u@h:3306/d"},
		{"mysql://u@h/d", "mysql", "u@tcp(h)/d", "mysql://u@h:3306/d"},
	} {
		a, err := parseStore(test.text)
		if err != nil || string(a.kind) != test.kind || a.place != test.place || a.String() != test.shown {
			t.Errorf("parseStore(%q) = %s %q shown as %s, %v, want %s %q shown as %s", test.text, a.kind, a.place, a, err, test.kind, test.place, test.shown)
		}
	}
}

// When a server refuses the connection, the error does not show the password.
func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"postgres://u:sec%22ret@127.0.0.1:1/d?connect_timeout=2", "mysql://u:sec%22ret@127.0.0.1:1/d", "mysql:u:sec\"ret@tcp(127.0.0.1:1)/d"} {
		for _, args := range [][]string{{"events", "list"}, {"migrate", "up"}, {"migrate", "status"}, {"doctor"}} {
			var out, errs strings.Builder
			code := run(t.Context(), append(args, "--store", store), nil, &out, &errs)
			if text := out.String() + errs.String(); code != exitFailed || errs.Len() == 0 || strings.Contains(text, "sec") {
				t.Errorf("evento %q --store %q: exit code %d, %s", args, store, code, text)
			}
		}
	}
}

// The output of migrate sql creates a store.
func TestMigrateSQL(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		if kind == pebbleStore {
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			a, err := parseStore(store)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"migrate", "sql", string(kind)}
			if kind == postgresStore {
				args = append(args, "--schema", a.schema)
			}
			var out, errs strings.Builder
			if code := run(t.Context(), args, nil, &out, &errs); code != exitOK {
				t.Fatalf("exit code %d: %s", code, errs.String())
			}
			target := store
			if kind == mysqlStore {
				target += "?multiStatements=true"
			}
			statements(t, target, out.String())
			var status strings.Builder
			if code := run(t.Context(), []string{"migrate", "status", "--check", "--store", store}, nil, &status, &status); code != exitOK {
				t.Errorf("migrate status --check: exit code %d\n%s", code, status.String())
			}
			if err := fill(t.Context(), store); err != nil {
				t.Errorf("the store does not work: %v", err)
			}
		})
	}
}
