package gen

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated over the golden files")

// golden are the folders whose generated files are compared completely.
var golden = []string{"testdata/bank", "testdata/names", "kinds", "evolution", "tags"}

// The folders by their import paths, here and in the copy. The latter is
// sorted like the former among the imports.
const (
	modulePath = "github.com/evento-go/evento/internal/gen/"
	elsewhere  = "github.com/evento-go/eventocopy/"
)

// repository copies this module's go.mod to another folder, in which the packages
// below this one can be generated again; it uses this evento.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	text := regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(string(mod), "module "+strings.TrimSuffix(elsewhere, "/"))
	text += "\nrequire github.com/evento-go/evento v0.0.0\nreplace github.com/evento-go/evento => " + root + "\n"
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	must(t, err)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": text, "go.sum": string(sums)})
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// readFiles returns all files below a folder.
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, relErr := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(data)
		return errors.Join(err, relErr)
	}))
	return files
}

// From the sources alone, the generator writes the files that are in the folders,
// whatever was there before, and the same each time. They compile.
func TestGolden(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	sources := map[string]string{}
	for _, folder := range append(golden, "kinds/other") {
		entries, err := os.ReadDir(folder)
		must(t, err)
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || strings.HasSuffix(e.Name(), "_evento.go") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(folder, e.Name()))
			must(t, err)
			sources[folder+"/"+e.Name()] = strings.ReplaceAll(string(data), modulePath, elsewhere)
		}
	}
	writeFiles(t, dir, sources)
	run := func(want int) {
		t.Helper()
		patterns := []string{"./..."}
		for _, folder := range golden {
			if strings.HasPrefix(folder, "testdata") {
				patterns = append(patterns, "./"+folder)
			}
		}
		result, err := Run(t.Context(), Options{Dir: dir, Patterns: patterns})
		if err != nil || len(result.Changed) != want {
			t.Fatalf("%d files written, want %d: %+v, %v", len(result.Changed), want, result, err)
		}
	}
	run(2 * len(golden))
	first := readFiles(t, dir)
	for _, folder := range golden {
		out := folder + "/" + outputName(filepath.Base(folder))
		for _, name := range []string{out, folder + "/" + LockName} {
			got := strings.ReplaceAll(first[name], elsewhere, modulePath)
			if *update {
				must(t, os.WriteFile(name, []byte(got), 0o644))
			}
			want, err := os.ReadFile(name)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s is not as generated; look at what changed and run go test -run Golden -update\n%s", name, firstDifference(got, string(want)))
			}
		}
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "./...", "./testdata/...")
	vet.Dir = dir
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}

	// Stale and broken files of earlier runs are replaced.
	for _, folder := range golden {
		must(t, os.WriteFile(filepath.Join(dir, folder, outputName(filepath.Base(folder))), []byte("<<<<<<< package\n"+header+"\n"), 0o644))
	}
	run(len(golden))
	if again := readFiles(t, dir); !equalFiles(again, first) {
		t.Error("a second run over broken output wrote something else")
	}
	run(0)
}

// A package may have very many events.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("package app\n\n//evento:aggregate\ntype (\n")
	const many = 1000
	for i := range many {
		fmt.Fprintf(&b, "\tHappened%d struct {\n\t\tA string //evento:tag a\n\t\tB Part%[1]d\n\t\tC []map[string]struct{ D%[1]d Part%[1]d }\n\t}\n", i)
	}
	b.WriteString(")\n")
	for i := range many {
		fmt.Fprintf(&b, "\ntype Part%d struct{ A, B int }\n", i)
	}
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "app.go": b.String()})
	for _, written := range []int{2, 0} {
		result, err := Run(t.Context(), Options{Dir: dir})
		if err != nil || result.Events != many || len(result.Changed) != written {
			t.Errorf("%d events, %d files written, %v; want %d, %d", result.Events, len(result.Changed), err, many, written)
		}
	}
}

func equalFiles(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, text := range a {
		if b[name] != text {
			return false
		}
	}
	return true
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "line " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

// Packages without events, and files that cannot be read.
func TestNothingToGenerate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n",
		"app.go": "package app\n\n// A comment on evento:aggregate is no directive.\ntype T struct{}\n",
	})
	if _, err := Run(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrNoEvents) {
		t.Errorf("%v, want ErrNoEvents", err)
	}
	if _, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./none"}}); err == nil || errors.Is(err, ErrNoEvents) {
		t.Errorf("a folder that is not there: %v, want an error that says so", err)
	}
	if len(readFiles(t, dir)) != 2 {
		t.Error("something was written")
	}
}

func TestCheckWritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const events = "package app\n\n//evento:aggregate\ntype Begun struct{ N int }\n"
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "app.go": events})
	check := func(want ...File) {
		t.Helper()
		before := readFiles(t, dir)
		result, err := Run(t.Context(), Options{Dir: dir, Check: true})
		if err != nil || !slices.Equal(result.Changed, want) {
			t.Errorf("%+v, %v; want %+v", result.Changed, err, want)
		}
		if !equalFiles(before, readFiles(t, dir)) {
			t.Error("the check wrote something")
		}
	}
	generate := func() {
		t.Helper()
		_, err := Run(t.Context(), Options{Dir: dir})
		must(t, err)
	}
	check(File{"app_evento.go", true}, File{"evento.lock", true})
	generate()
	check()
	writeFiles(t, dir, map[string]string{"app.go": strings.Replace(events, "N int", "N, M int", 1)})
	check(File{"app_evento.go", false}, File{"evento.lock", false})
	generate()
	lock, err := os.ReadFile(filepath.Join(dir, LockName))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, LockName), append(lock, "\n"...), 0o644))
	check(File{"evento.lock", false})
	must(t, os.Remove(filepath.Join(dir, LockName)))
	check(File{"evento.lock", true})
	if !bytes.HasPrefix(lock, []byte("# ")) {
		t.Errorf("the lock is %q", lock)
	}
}

// A file that is there keeps its permissions, and what a link points to is written.
func TestWrittenInPlace(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	const events = "package app\n\n//evento:aggregate\ntype Begun struct{ N int }\n"
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "app.go": events})
	_, err := Run(t.Context(), Options{Dir: dir})
	must(t, err)
	code, moved := filepath.Join(dir, "app_evento.go"), filepath.Join(elsewhere, "app_evento.go")
	must(t, os.Chmod(code, 0o640))
	must(t, os.Rename(code, moved))
	if err := os.Symlink(moved, code); err != nil {
		t.Skip(err)
	}
	writeFiles(t, dir, map[string]string{"app.go": strings.Replace(events, "N int", "N, M int", 1)})
	_, err = Run(t.Context(), Options{Dir: dir})
	must(t, err)
	info, err := os.Lstat(code)
	must(t, err)
	if info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link became %v", info.Mode())
	}
	info, err = os.Stat(moved)
	must(t, err)
	if text := readFiles(t, elsewhere)["app_evento.go"]; !strings.Contains(text, "M") || info.Mode().Perm() != 0o640 || len(readFiles(t, dir)) != 4 {
		t.Errorf("the file behind the link is %v, and has\n%s", info.Mode(), text)
	}
}
