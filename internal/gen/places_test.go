package gen

import (
	"context"
	"errors"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// Directives in files that are no part of the package are not passed over in silence.
func TestUnbuilt(t *testing.T) {
	t.Parallel()
	const event = "//evento:aggregate\ntype E struct{ A int }\n"
	const moved = "//evento:aggregate is not followed: "
	const ofTests = moved + "this file is part of tests alone, and generated code is not; move what it is about to a file whose name does not end in _test.go"
	const leftOut = moved + "the build leaves this file out here, by its name or a build constraint; move what it is about to a file that every build has, as generated code is for every build"
	other := "windows"
	if build.Default.GOOS == other {
		other = "linux"
	}
	files := map[string]string{
		"go.mod":                         "module example.com/app\n\ngo 1.26\n",
		"tests/events_test.go":           "package tests\n\n" + event,
		"beside/events.go":               "package beside\n\n" + event,
		"beside/more_test.go":            "package beside_test\n\ntype (\n\tF struct{} //evento:was G\n)\n",
		"system/events.go":               "package system\n\n" + event,
		"system/events_" + other + ".go": "package system\n\n" + strings.ReplaceAll(event, "E", "F"),
		"tagged/tagged.go":               "//go:build never\n\npackage tagged\n\n" + event,
		"needsc/c.go":                    "//go:build never\n\npackage needsc\n\nimport \"C\"\n\n" + event,
		// Files of which there is nothing to say.
		"good/events.go":        "package good\n\n" + event,
		"good/ignored.go":       "//go:build ignore\n\npackage main\n\nvar text = `\n//evento:aggregate\n`\n",
		"good/_later.go":        "package good\n\n" + event,
		"testdata/x/x_test.go":  "package x\n\n" + event,
		"good/broken_test.go":   "package good\n\nfunc {",
		"good/folder_test.go/x": event,
		"nested/go.mod":         "module example.com/nested\n",
		"nested/events_test.go": "package nested\n\n" + event,
	}
	want := map[string][]string{
		"tests":  {"tests/events_test.go:3:1: " + ofTests},
		"beside": {"beside/more_test.go:4:13: " + strings.Replace(ofTests, "aggregate", "was", 1)},
		"system": {"system/events_" + other + ".go:3:1: " + leftOut},
		"tagged": {"tagged/tagged.go:5:1: " + leftOut},
		"needsc": {"needsc/c.go:7:1: " + leftOut},
	}
	dir := t.TempDir()
	writeFiles(t, dir, files)
	var all []string
	for _, problems := range want {
		all = append(all, problems...)
	}
	slices.Sort(all)
	compareProblems(t, dir, []string{"./..."}, all)
	for folder, problems := range want {
		if folder == "tagged" || folder == "needsc" { // of which the go command has something to say itself
			problems = append([]string{"build constraints exclude all Go files in " + filepath.Join(dir, folder)}, problems...)
		}
		compareProblems(t, dir, []string{"./" + folder}, problems)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	compareProblems(t, link, []string{"./..."}, all)
	compareProblems(t, dir, []string{"./good"}, nil)
	compareProblems(t, dir, []string{"good/events.go"}, []string{"evento gen takes packages, not files: name the folder, such as ./good"})
}

// compareProblems runs the generator, and compares what it refuses.
func compareProblems(t *testing.T, dir string, patterns, want []string) {
	t.Helper()
	_, err := Run(t.Context(), Options{Dir: dir, Patterns: patterns, Check: true})
	var refused RefusedError
	if err != nil && !errors.As(err, &refused) {
		t.Fatalf("%s: %v", patterns, err)
	}
	var got []string
	for _, p := range refused {
		got = append(got, p.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", patterns, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Events in files of cgo are read, from what cgo makes of them, and their fields are
// those of C too.
func TestCgo(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no C compiler")
	}
	dir := repository(t)
	const source = "package app\n\n// #include <stdint.h>\nimport \"C\"\n\n//evento:aggregate\ntype (\n\tE struct {\n\t\tN  C.int\n\t\tMs []C.uint8_t\n" +
		"\t\tX  int //evento:default 1 + 2\n\t\tY int //evento:tag y\n\t}\n)\n\nvar one = C.int(1)\n"
	writeFiles(t, dir, map[string]string{"app/app.go": source, "app/events.go": "package app\n\n//evento:aggregate\ntype F struct{ E []string }\n"})
	result, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./..."}})
	if err != nil || result.Events != 2 {
		t.Fatalf("%+v, %v; want 2 events", result, err)
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "./...")
	vet.Dir = dir
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
	bad := strings.NewReplacer("1 + 2", "x", "C.int\n", "chan C.int\n").Replace(source)
	writeFiles(t, dir, map[string]string{"app/app.go": bad})
	compareProblems(t, dir, []string{"./..."}, []string{
		`app/app.go:9:3: event E, field N: a chan C.int cannot be stored; leave it out of the event, or tag it json:"-"`,
		`app/app.go:11:10: //evento:default means nothing here; it belongs above a field of an event`,
		`app/app.go:12:9: //evento:tag means nothing here; it belongs above a field of an event`,
	})
}

// A //line comment says what code was made of. Problems are reported there if it is
// there, as the compiler does; the code itself is read from where it is.
func TestLineComments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const head, good = "package app\n\n//evento:aggregate\ntype E struct {\n", "\tA, B int\n\tC Text //evento:default \"c\"\n\tD *Text //evento:default \"d\"\n}\n\ntype Text string\n"
	for name, line := range map[string]string{
		"missing": "//line missing.tmpl:40\n", "there": "//line there.tmpl:40\n", "column": "//line there.tmpl:40:7\n",
		"absolute": "//line " + filepath.ToSlash(dir) + "/there.tmpl:40\n", "same": "//line app.go:40\n", "folder": "//line /:40\n",
	} {
		writeFiles(t, dir, map[string]string{
			"go.mod": "module example.com/app\n\ngo 1.26\n", "there.tmpl": "short", name + "/there.tmpl": "short", name + "/app.go": head + line + good,
		})
		compareProblems(t, dir, []string{"./" + name}, nil)
		writeFiles(t, dir, map[string]string{name + "/app.go": head + line + strings.Replace(good, `"d"`, "5", 1)})
		at := map[string]string{
			"missing": "missing/app.go:8:10", "there": "there/there.tmpl:42", "column": "column/there.tmpl:42:10",
			"absolute": "there.tmpl:42", "same": "same/app.go:42", "folder": "folder/app.go:8:10",
		}[name]
		compareProblems(t, dir, []string{"./" + name}, []string{at +
			": field D: //evento:default 5: cannot use 5 (untyped int constant) as Text value; write a constant of the field's type, such as //evento:default 5"})
	}
}

// A directive in the file that the generator writes is one that somebody wrote.
func TestDirectiveInOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"go.mod":        "module example.com/app\n\ngo 1.26\n",
		"app_evento.go": "package app\n\n\t//evento:aggregate app/A\ntype E struct{}\n",
	})
	compareProblems(t, dir, []string{"."}, []string{
		"app_evento.go:3:1: evento gen writes this file, and the directive would be lost; move what it is about to another file",
	})
}

// What is no work of the generator is not written over, and is there for other packages.
func TestOutputByHand(t *testing.T) {
	t.Parallel()
	const events = "\n\n//evento:aggregate\ntype E struct{ A Cents }\n"
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"go.mod":                "module example.com/app\n\ngo 1.26\n",
		"app/app.go":            "package app" + events,
		"app/app_evento.go":     "// Copyright\r\n\r\npackage app\r\n\r\ntype Cents int\r\n",
		"shop/shop.go":          "package shop\n\nimport \"example.com/app/money\"\n\ntype Cents = money.Cents" + events,
		"shop/shop_evento.go":   "// Copyright\r\n\r\n" + header + "\r\n\r\npackage shop\r\n\r\ntype ShopView int\r\n",
		"money/money.go":        "package money\n",
		"money/money_evento.go": "package money\n\ntype Cents int\n",
		"empty/empty.go":        "package empty\n\ntype Cents int" + events,
		"empty/empty_evento.go": "\n",
		"none/none.go":          "package none\n\ntype Cents int" + events,
		"none/none_evento.go":   "package none\n",
	})
	compareProblems(t, dir, []string{"./..."}, []string{
		"app/app_evento.go: evento gen writes this file, and what is in it now would be lost, as it lacks the line \"" + header + "\"; give it another name",
	})
	must(t, os.Rename(filepath.Join(dir, "app/app_evento.go"), filepath.Join(dir, "app/cents.go")))
	result, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./..."}})
	if err != nil || len(result.Changed) != 8 {
		t.Errorf("%+v, %v, want 8 files", result, err)
	}
}

// A run that meets another one's file, which was not there at first, reads none of it.
func TestOutputOfAnotherRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listed := []*packages.Package{
		{Name: "app", Dir: dir, GoFiles: []string{filepath.Join(dir, "app.go")}},
		{Name: "tests_test", Dir: dir},
	}
	overlay, err := withoutGenerated(listed, &problems{})
	want := map[string][]byte{filepath.Join(dir, "app_evento.go"): []byte("package app\n")}
	if err != nil || !reflect.DeepEqual(overlay, want) {
		t.Errorf("%q, %v, want %q", overlay, err, want)
	}
}

// A lock without a package is that of events which are somewhere else now.
func TestLockLeftBehind(t *testing.T) {
	t.Parallel()
	const lock = lockHeader + "\nevent bank/Account E\n\tA string\n\nend\n"
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"go.mod":               "module example.com/app\n\ngo 1.26\n",
		"accounts/p.go":        "package accounts\n\n//evento:aggregate bank/Account\ntype E struct{ A int }\n",
		"old/bank/evento.lock": lock, "testdata/evento.lock": lock,
		"other/go.mod": "module example.com/other\n", "other/evento.lock": lock,
	})
	compareProblems(t, dir, []string{"./..."}, []string{
		"old/bank/evento.lock: there is no package here any more; move the file to where the events are now, or delete it if none was ever stored",
	})
	must(t, os.Rename(filepath.Join(dir, "old/bank/evento.lock"), filepath.Join(dir, "accounts/evento.lock")))
	compareProblems(t, dir, []string{"./..."}, []string{
		"accounts/p.go:4:16: event E: field A: it is stored as string, which cannot be read as int64; " + remedy,
	})
}

// A run ends with ctx, also when it is told to.
func TestCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}
