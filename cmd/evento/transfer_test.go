package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// call runs the program.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// must runs the program and checks that it succeeds.
func must(t *testing.T, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := call(t, stdin, args...)
	if code != exitOK {
		t.Fatalf("evento %q: exit code %d, %s", args, code, stderr)
	}
	return stdout, stderr
}

// filled makes a SQLite store with 30 events of two types, and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filled.db")
	ex, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		var appends []evento.Append
		for _, a := range []evento.Append{
			{AggregateType: "bank/Account", AggregateID: fmt.Sprint(i % 3), AnyVersion: true, RoutingKey: "branch"},
			{AggregateType: "shop/Order", AggregateID: fmt.Sprint(i % 2), AnyVersion: true},
		} {
			for range 1 + len(appends) {
				a.Events = append(a.Events, evento.NewEvent{ID: evento.NewID(), Name: "Made", Codec: "raw", Data: []byte{byte(i)}})
			}
			appends = append(appends, a)
		}
		if _, err := ex.Write(context.Background(), evento.Write{Appends: appends}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	from, dir := filled(t), t.TempDir()
	want, said := must(t, "", "export", "--store", from)
	if strings.Count(want, "\n") != 32 || !strings.HasPrefix(said, "exported 30 events, ") || !strings.HasSuffix(said, " events/s\n") {
		t.Errorf("export: got %d lines, and said %q, want 32 and a summary", strings.Count(want, "\n"), said)
	}

	// Through a pipe, through a file, and to Pebble.
	piped := filepath.Join(dir, "piped.db")
	if _, said := must(t, want, "import", "--store", piped); !strings.HasPrefix(said, "imported 30 events, ") {
		t.Errorf("import: said %q", said)
	}
	file := filepath.Join(dir, "export.jsonl")
	if out, _ := must(t, "", "export", "--store", piped, "-f", file); out != "" || readFile(t, file) != want {
		t.Errorf("export to a file: wrote %q to standard output; the file is the same: %t", out, readFile(t, file) == want)
	}
	pebble := "pebble:" + filepath.Join(dir, "pebble")
	must(t, "", "import", "--store", pebble, file)
	if got, _ := must(t, "", "export", "--store", pebble, "--output", "-"); got != want {
		t.Error("the export of the Pebble store differs")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 5 { // two stores, SQLite's log, a file
		t.Errorf("got the files %v, %v, want none left over", entries, err)
	}

	// Again, and with new numbers.
	code, _, said := call(t, "", "import", "--store", piped, file)
	if code != exitFailed || !strings.Contains(said, "resume") {
		t.Errorf("import again: exit code %d, %q, want %d and the remedy", code, said, exitFailed)
	}
	if _, said := must(t, "", "import", "--store", piped, "--resume", file); !strings.Contains(said, "30 events (30 were there)") {
		t.Errorf("import --resume: said %q", said)
	}
	part, _ := must(t, "", "export", "--store", from, "--type", "shop/Order", "--id", "1")
	if strings.Count(part, "\n") != 12 {
		t.Errorf("export of one aggregate: %q, want 10 events", part)
	}
	if _, said := must(t, part, "import", "--store", filepath.Join(dir, "part.db"), "--renumber"); !strings.Contains(said, "imported 10 events") {
		t.Errorf("import --renumber: said %q", said)
	}
	if rest, _ := must(t, "", "export", "--store", from, "--after", "27"); strings.Count(rest, "\n") != 5 {
		t.Errorf("export --after 27: %q, want 3 events", rest)
	}
	if _, said := must(t, want, "import", "--store", filepath.Join(dir, "shown.db"), "--progress", "-"); !strings.Contains(said, "\r\x1b[K30 events") {
		t.Errorf("import --progress: said %q", said)
	}
}

// An error in a file is reported before anything is imported, and an interrupted
// export leaves the file unchanged.
func TestExportAndImportErrors(t *testing.T) {
	t.Parallel()
	from, dir := filled(t), t.TempDir()
	want, _ := must(t, "", "export", "--store", from)
	cut := filepath.Join(dir, "cut.jsonl")
	if err := os.WriteFile(cut, []byte(want[:len(want)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "new.db")
	code, _, said := call(t, "", "import", "--store", store, cut)
	if code != exitFailed || !strings.Contains(said, cut) || !strings.Contains(said, "line ") || !strings.Contains(said, "cut off") {
		t.Errorf("import of a file that was cut off: exit code %d, %q", code, said)
	}
	if _, err := os.Stat(store); err == nil {
		t.Error("the store was made")
	}
	for _, none := range []string{"", "\n", "\ufeff" + want, "{}\n" + want} {
		if code, _, said := call(t, none, "import", "--store", store); code != exitFailed || !strings.Contains(said, "line 1: ") {
			t.Errorf("import of an input that is no export: exit code %d, %q", code, said)
		}
		if _, err := os.Stat(store); err == nil {
			t.Error("the store was made for what is no export")
		}
	}
	if code, _, said := call(t, want[:len(want)/2], "import", "--store", store); code != exitFailed || !strings.Contains(said, "cut off") {
		t.Errorf("import of an input that was cut off: exit code %d, %q", code, said)
	}
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitUsage, []string{"import", "--store", store, "a", "b"}},
		{exitUsage, []string{"export", "--store", from, "a"}},
		{exitUsage, []string{"export", "--store", from, "--id", "1"}},
		{exitUsage, []string{"export", "--store", from, "--type", "a\nb"}},
		{exitUsage, []string{"export", "--store", from, "--nonsense"}},
		{exitUsage, []string{"export", "--store", from, "--output", dir}},
		{exitUsage, []string{"import", "--store", store, dir}},
		{exitUsage, []string{"export"}},
		{exitFailed, []string{"import", "--store", store, filepath.Join(dir, "missing.jsonl")}},
		{exitFailed, []string{"export", "--store", from, "--output", filepath.Join(dir, "missing", "file")}},
		{exitFailed, []string{"export", "--store", from, "--after", "1000", "--output", cut}},
	} {
		if code, _, said := call(t, "", tt.args...); code != tt.code || said == "" {
			t.Errorf("evento %q: exit code %d, %q, want %d", tt.args, code, said, tt.code)
		}
	}
	if readFile(t, cut) != want[:len(want)/2] {
		t.Error("an export that failed has changed the file")
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err != nil || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left over, %v", e.Name(), err)
		}
	}
}

// Of a file with one line that no store takes nothing is imported, wherever the line is.
func TestImportOfARefusedFile(t *testing.T) {
	t.Parallel()
	text, _ := must(t, "", "export", "--store", filled(t))
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	lines[30] = strings.Replace(lines[30], `"codec":"raw"`, `"codec":"\u0007"`, 1)
	body := strings.Join(lines[:31], "")
	dir := t.TempDir()
	file, store := filepath.Join(dir, "refused.jsonl"), filepath.Join(dir, "new.db")
	if err := os.WriteFile(file, fmt.Appendf([]byte(body), "{\"evento\":\"end\",\"events\":30,\"sha256\":\"%x\"}\n", sha256.Sum256([]byte(body))), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--resume"}, {"--renumber"}} {
		want := "evento: " + file + `: line 31: invalid event at position 30: invalid codec name`
		if code, _, said := call(t, "", append([]string{"import", "--store", store, file}, args...)...); code != exitFailed || !strings.HasPrefix(said, want) {
			t.Errorf("import %q: exit code %d, %s, want %d and %s", args, code, said, exitFailed, want)
		}
		if _, err := os.Stat(store); err == nil {
			t.Error("a store was made for a file that is refused")
		}
	}
}
