package main

import (
	"os"
	"path/filepath"
	"slices"
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
		{"postgres:///d?host=/run/postgresql", "postgres", "postgres:///d?host=%2Frun%2Fpostgresql", "postgres://@/d"},
		{"postgres://u:secret@h1:1,h2:2/d", "postgres", "postgres://u:secret@h1:1,h2:2/d", "postgres://u@h1:1,h2:2/d"},
		{"postgres://u:secret@[::1]:5432/d", "postgres", "postgres://u:secret@[::1]:5432/d", "postgres://u@[::1]:5432/d"},
		{"postgres://u:s%2Fec@ret:x@h/d", "postgres", "postgres://u:s%2Fec%40ret%3Ax@h/d", "postgres://u@h/d"},
		{"postgres://h/d?user=a@b&password=secret", "postgres", "postgres://h/d?password=secret&user=a%40b", "postgres://@h/d"},
		{"MySQL:u:se/c@ret@tcp(h:3306)/d", "mysql", "u:se/c@ret@tcp(h:3306)/d", "mysql://u@h:3306/d"},
		{"mysql:u:secret@unix(/run/mysqld.sock)/d?loc=UTC", "mysql", "u:secret@unix(/run/mysqld.sock)/d?loc=UTC", "mysql://u@/run/mysqld.sock/d"},
		{"mysql:u@/d", "mysql", "u@/d", "mysql://u@127.0.0.1:3306/d"},
		{"nats://h/shop", "nats", "nats://h", "nats://h/shop"},
		{"NATS://u:secret@h1:1,h2,[::1]:3/shop?dir=a/b%20c", "nats", "nats://u:secret@h1:1,nats://u:secret@h2,nats://u:secret@[::1]:3", "nats://h1:1,h2,[::1]:3/shop?dir=a/b+c"},
		{"tls://secret@h/A_b-1?replicas=5", "nats", "tls://secret@h", "tls://h/A_b-1"},
		{"tls://h/A_b-1?creds=f.creds", "nats", "tls://h", "tls://h/A_b-1"},
		{"tls://h/A_b-1?inbox=_INBOX_a&ca=ca.pem&cert=c.pem&key=k.pem", "nats", "tls://h", "tls://h/A_b-1"},
		{"mariadb://u:secret@[::1]:3306/d?loc=Europe/Berlin", "mysql", "u:secret@tcp([::1]:3306)/d?loc=Europe%2FBerlin", "mysql://u@[::1]:3306/d"},
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
	for _, store := range []string{"postgres://u:sec%22ret@127.0.0.1:1/d?connect_timeout=2", "mysql://u:sec%22ret@127.0.0.1:1/d", "mysql:u:sec\"ret@tcp(127.0.0.1:1)/d", "nats://u:sec%22ret@127.0.0.1:1/d", "nats://secret@127.0.0.1:1/d"} {
		for _, args := range [][]string{{"events", "list"}, {"migrate", "up"}, {"migrate", "status"}, {"doctor"}} {
			var out, errs strings.Builder
			code := run(t.Context(), append(args, "--store", store), nil, &out, &errs)
			if text := out.String() + errs.String(); code != exitFailed || errs.Len() == 0 || strings.Contains(text, "sec") {
				t.Errorf("evento %q --store %q: exit code %d, %s", args, store, code, text)
			}
		}
	}
}

// malformed are stores with mistakes, and what the error names. SECRET is a password.
var malformed = []struct{ store, want string }{
	// Forms of other programs, which are no files.
	{"host=localhost user=app password=SECRET", "postgres://user:password@host"},
	{"user=app password='SECRET' host=localhost", "postgres://user:password@host"},
	{"Server=localhost;Uid=app;Pwd=SECRET", "postgres://user:password@host"},
	{"PGPASSWORD=SECRET", "the settings of a database"},
	{"sslpassword=SECRET", "the settings of a database"},
	{"service=SECRET", "the settings of a database"},
	{"app.db?_auth_pass=SECRET", "the settings of a database"},
	{"sqlite:app.db?_crypto_key=SECRET", "the settings of a database"},
	{`{"user": "app", "password": "SECRET"}`, "the settings of a database"},
	{"mysql -uapp -pSECRET db", "the options of a program"},
	{"-h localhost --password SECRET", "the options of a program"},
	{"*:*:*:app:SECRET", "sqlite:FILE"},
	{"127.0.0.1:5432:db:app:SECRET", "sqlite:FILE"},
	{"app:SECRET@tcp(127.0.0.1:1)/db", "mysql:user:password@tcp(host:3306)/database"},
	{"app:SECRET@(127.0.0.1:1)/db", "mysql:user:password@tcp(host:3306)/database"},
	{"app:SECRET@localhost/db", "the user, password and host of a server"},
	{"app:SECRET@localhost:1/db", "the user, password and host of a server"},
	{"//app:SECRET@localhost/db", "postgres://user:password@host"},
	{" postgres://app:SECRET@localhost/db", "a URL of another kind"},
	{"'postgres://app:SECRET@localhost/db'", "a URL of another kind"},
	{"jdbc:postgresql://localhost/db?user=app&password=SECRET", "postgres://user:password@host"},
	{"redis://app:SECRET@localhost/", "there is no kind redis"},
	{"sqlite:postgres://app:SECRET@localhost/db", "a URL of another kind"},
	{"sqlite://app:SECRET@localhost/db", "the user, password and host of a server"},
	{"pebble:host=localhost password=SECRET", "postgres://user:password@host"},
	{"app.db?_pragma=key('SECRET')", "sqlite:file:FILE"},
	{"file:app.db?_pragma=key('SECRET')", "no encrypted files"},
	{"sqlite:file:app.db?_pragma=hexkey('SECRET')", "no encrypted files"},
	{"file:app.db?key=SECRET", "a URI may set"},
	{"file:app.db?mode=%zzSECRET", "NAME=VALUE"},
	{"file://host/app.db", "has no host"},
	{"file:app%zz.db", "hexadecimal"},
	{"sqlite:file:", "no path"},
	{":memory:", "executor/memory"},
	{"sqlite:file:app.db?mode=memory", "executor/memory"},
	// Mistakes in the scheme.
	{"postgers://app:SECRET@localhost/db", "there is no kind postgers"},
	{"postgres:/app:SECRET@localhost/db", "no // behind the kind"},
	{"postgres:app:SECRET@localhost/db", "no // behind the kind"},
	{"postgres//app:SECRET@localhost/db", "the user, password and host of a server"},
	{"postgres;//app:SECRET@localhost/db", "the user, password and host of a server"},
	{"postgres:host=localhost password=SECRET", "no // behind the kind"},
	// Characters in a password that are not written %XX.
	{"postgres://app%3ASECRET@localhost/db", "the user has a colon"},
	{"postgres://app%3aSECRET:1@localhost/db", "the user has a colon"},
	{"postgres://localhost/db?user=app:SECRET", "in the parameter user, there is a colon"},
	{"postgres://localhost/db?dbname=app%3ASECRET", "in the parameter dbname, there is a colon"},
	{"postgres://localhost/db?user=app&password=SEC&RET", "a parameter without a value"},
	{"postgres://app:SEC%zzRET@localhost/db", "in the password, a %"},
	{"postgres://ap%p:SECRET@localhost/db", "in the user, a %"},
	{"postgres://app:SEC RET@localhost/db", "in the password, there is a character"},
	{"postgres://app:SEC\nRET@localhost/db", "in the password, there is a character"},
	{"postgres://app:SEC/RET@localhost/db", "an @ or a : behind the host"},
	{"postgres://app:1234/RET@localhost/db", "an @ or a : behind the host"},
	{"postgres://localhost/app:SECRET", "an @ or a : behind the host"},
	{"postgres://app:1234?RET@localhost/db", "behind the ?"},
	{"postgres://app:1234?x=RET@localhost/db", "an @ behind the ?"},
	{"postgres://app:1234#RET@localhost/db", "a # behind the host"},
	{"postgres://app:SEC#RET@localhost/db", "a # behind the host"},
	{"postgres://app:SECRET", "no number of a port"},
	{"postgres://app@localhost:SECRET/db", "no number of a port"},
	{"postgres://localhost/db?user=app;password=SECRET", "NAME=VALUE"},
	{"postgres://localhost/db?password=SEC%RET", "NAME=VALUE"},
	{"postgres://app:SECRET@localhost/db?sslmode=perhaps", "sslmode is invalid"},
	{"postgres://localhost/db?password=SECRET&connect_timeout=soon", "invalid connect_timeout"},
	{"postgres://app:SECRET@localhost:99999999/db", "invalid port"},
	{"postgres://app:SECRET@localhost/db?schema=" + strings.Repeat("s", 64), "schema"},
	{"mysql://app:SEC%RET@localhost/db", "in the password, a %"},
	{"mysql://app:SEC/RET@localhost/db", "an @ or a : behind the host"},
	{"mysql://app:SEC RET@localhost/db", "in the password, there is a character"},
	{"mysql://app:SECRET@tcp(localhost:3306)/db", "mysql://user:password@host:3306/database"},
	{"mysql://ap%3Ap:SECRET@localhost/db", "a colon"},
	{"mysql:app:SECRET@localhost/db", "no tcp(host:3306)"},
	{"mysql:app:SECRET/db", "no tcp(host:3306)"},
	{"mysql:app:SECRET", "no / before the database"},
	{"mysql:app:SECRET@tcp(localhost:3306)", "no / before the database"},
	{"mysql:app:SECRET@tcp(localhost:3306/db", "the parenthesis"},
	{"mysql:app:SECRET@tcp(localhost:3306)x/db", "the parenthesis"},
	{"mysql:app:SECRET@udp(localhost:3306)/db", "no tcp(host:3306)"},
	{"mysql:app:SECRET@tcp(localhost:3306)/", "names no database"},
	{"mysql:app:SECRET@tcp(localhost:3306)/db?strict=true", "no parameter strict"},
	{"mysql:app@tcp(localhost:3306)/db?password=SECRET", "no parameter password"},
	{"mysql:app@tcp(localhost:3306)/db?parseTime=SECRET", "does not take the parameters"},
	{"mysql:tcp(localhost:3306)/app:SECRET@db", "in the database"},
	{"mysql:tcp(localhost:3306)/db:SECRET", "in the database"},
	{"mysql:host=localhost;password=SECRET", "no / before the database"},
	{"nats:app:SECRET@localhost/s", "no // behind the kind"},
	{"nats://app:SECRET@localhost", "names no store"},
	{"nats://app:SECRET@localhost/?dir=a", "names no store"},
	{"nats://app:SECRET@/s", "no host"},
	{"nats://app:SECRET@h1,,h2/s", "a comma without one"},
	{"nats://app:SEC/RET@localhost/s", "an @ or a : behind the host"},
	{"nats://app:SECRET@h1:4222,nats://app:SECRET@h2:4222/s", "nats:// and the user are written once, before the first host"},
	{"tls://h1,tls://h2/s", "tls:// and the user are written once, before the first host"},
	{"nats://app:SECRET@h/s?creds=app.creds", "a user before the host and credentials in creds"},
	{"nats://SECRET@h/s?creds=app.creds", "a user before the host and credentials in creds"},
	{"nats://app:SECRET", "no number of a port"},
	{"nats://localhost/a.b", "the name of the store"},
	{"nats://localhost/a/b", "the name of the store"},
	{"nats://localhost/" + strings.Repeat("s", 65), "the name of the store"},
	{"nats://localhost/s?password=SECRET", "no such parameter"},
	{"nats://localhost/s?dir=", "the parameter dir is empty"},
	{"nats://localhost/s?dir=a&dir=b", "the parameter dir is there 2 times"},
	{"nats://localhost/s?cert=c.pem", "are given together"},
	{"nats://localhost/s?key=k.pem", "are given together"},
	{"nats://localhost/s?replicas=0", "replicas is not 1 to 5"},
	{"nats://localhost/s?replicas=x", "replicas is not 1 to 5"},
	{"nats://localhost/s?replicas=1", "unsafe=true accepts that"},
	{"nats://localhost/s?replicas=2&unsafe=false", "unsafe=true accepts that"},
	{"nats://localhost/s?unsafe=perhaps", "unsafe is not true or false"},
}

// secrets are all parts of SECRET that a store above is cut into.
func secrets(t *testing.T, store string) []string {
	t.Helper()
	for _, cut := range []string{"SECRET", "SEC", "RET"} {
		if strings.Contains(store, cut) {
			return []string{"SECRET", "SEC", "RET", "1234"}
		}
	}
	return []string{"SECRET"}
}

// A store that is written wrongly is refused by every command, with the mistake named
// and without its password.
func TestMalformedStores(t *testing.T) {
	t.Parallel()
	for _, test := range malformed {
		for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status"}, {"events", "list"}, {"doctor"}, {"import", "-"}, {"export"}, {"subscriptions", "list"}} {
			code, out, errs := call(t, "", append(args, "--store", test.store)...)
			if code != exitUsage || out != "" || !strings.Contains(errs, test.want) || !strings.HasPrefix(errs, "evento: --store: ") {
				t.Errorf("evento %q --store %q: exit code %d, %q, %q, want %d and %q", args, test.store, code, out, errs, exitUsage, test.want)
			}
			for _, secret := range secrets(t, test.store) {
				if strings.Contains(errs, secret) {
					t.Errorf("evento %q --store %q has printed %s: %q", args, test.store, secret, errs)
				}
			}
		}
	}
}

// The same in the variable of the environment, and no file of that name is made.
func TestMalformedStoreInEnvironment(t *testing.T) {
	t.Parallel()
	for _, test := range malformed {
		t.Run("", func(t *testing.T) { // its name is in that of the directory
			t.Parallel()
			dir := t.TempDir()
			cmd := program(t, dir, "migrate", "up")
			cmd.Env = append(cmd.Env, storeVariable+"="+test.store)
			code, out, errs := ended(t, cmd)
			if code != exitUsage || out != "" || !strings.HasPrefix(errs, "evento: "+storeVariable+": ") || !strings.Contains(errs, test.want) {
				t.Errorf("%q: exit code %d, %q, %q, want %d and %q", test.store, code, out, errs, exitUsage, test.want)
			}
			for _, secret := range secrets(t, test.store) {
				if strings.Contains(errs, secret) {
					t.Errorf("it has printed %s: %q", secret, errs)
				}
			}
			if made := names(t, dir); len(made) > 0 {
				t.Errorf("it has made %q", made)
			}
		})
	}
}

// A store that was given as something else is not printed with its password either.
func TestStoreInAWrongPlace(t *testing.T) {
	t.Parallel()
	existing := filled(t)
	for _, store := range []string{"postgres://app:SECRET@h/db", "postgers://app:SECRET@h/db", "mysql:app:SECRET@tcp(h:1)/db", "nats://app:SECRET@h/s", "nats://SECRET@h/s", "app:SECRET@tcp(h:1)/db", "host=h user=app password=SECRET", "postgres:/app:SECRET@h"} {
		for _, args := range [][]string{
			{}, {"events"}, {"events", "list"}, {"events", "list", "-store"}, {"events", "list", "--stor"}, {"events", "list", "--limit"},
			{"events", "list", "--store", existing, "--after"}, {"events", "show", "--store", existing}, {"aggregate", "--store", existing},
			{"subscriptions", "show", "--store", existing}, {"subscriptions", "parked", "x", "--store", existing}, {"import", "--store", existing},
			{"export", "--store", existing, "-o"}, {"migrate", "sql"}, {"deadlines"}, {"gen"}, {"gen", "-check"}, {"completion", "bash"},
		} {
			for _, with := range [][]string{append(args[:len(args):len(args)], store), append(args[:max(0, len(args)-1):len(args)], strings.Join(args[max(0, len(args)-1):], "")+"="+store)} {
				code, out, errs := call(t, "", with...)
				if strings.Contains(out+errs, "SECRET") {
					t.Errorf("evento %q: exit code %d, %q, %q", with, code, out, errs)
				}
			}
		}
	}
}

// cobra quotes the command line on the real standard error when a shell asks for
// completion and there is a mistake.
func TestCompletionHidesStores(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"--store=postgres://app:SECRET@127.0.0.1:1/db", "--store=host=h password=SECRET", "-store=postgres://app:SECRET@h/db"} {
		for _, words := range [][]string{{"events", "list", store, "--limit", "x", "--type", ""}, {"events", "list", store, "--type", ""}, {"subscriptions", "show", store, ""}, {"events", "list", "--limit", "x", store}} {
			_, out, errs := ended(t, program(t, t.TempDir(), append([]string{"__complete"}, words...)...))
			if strings.Contains(out+errs, "SECRET") {
				t.Errorf("completing %q: %q, %q", words, out, errs)
			}
		}
	}
}

// Every command sees the same file, whether it was named as a path or as a URI.
func TestOneFileForAllCommands(t *testing.T) {
	t.Parallel()
	for store, file := range map[string]string{
		"sqlite:file:app.db": "app.db", "file:app.db": "app.db", "FILE:app.db": "app.db", "sqlite://file:app.db": "app.db", "file:./app.db": "app.db",
		"sqlite:file:a%20b%3F.db?mode=rwc": "a b?.db", "file:app.db?_pragma=busy_timeout(100)": "app.db", "file:app.db#x": "app.db",
		"sqlite:./file:app.db": "file:app.db", "sqlite:app.db?x": "app.db?x", "sqlite:./host=a.db": "host=a.db", "sqlite:./a:b@c": "a:b@c", "a@b.db": "a@b.db",
		"sqlite:a:b.db": "a:b.db", "./a:b.db": "a:b.db", "./day=1.db": "day=1.db", "my - notes.db": "my - notes.db", "sqlite:./-u app": "-u app",
	} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status", "--check"}, {"events", "list"}, {"export", "--output", "export.jsonl"}, {"import", "--resume", "export.jsonl"}, {"subscriptions", "list"}, {"doctor"}} {
				if code, _, errs := ended(t, program(t, dir, append(args, "--store", store)...)); code != exitOK {
					t.Errorf("evento %q: exit code %d, %s", args, code, errs)
				}
			}
			for _, name := range names(t, dir) {
				if !slices.Contains([]string{"export.jsonl", file, file + "-wal", file + "-shm"}, name) {
					t.Errorf("there is %q, want only %q", name, file)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The output of migrate sql creates a store.
func TestMigrateSQL(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		if !hasSQL(kind) {
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
