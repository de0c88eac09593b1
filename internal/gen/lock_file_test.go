package gen

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const evolvedEvents = `package p

//evento:aggregate p/A
type (
	//evento:was Begun
	Opened struct {
		//evento:was name
		Owner  string //evento:tag owner
		Cents  int    //evento:default 5
		Place  *Place
		Places []Place
	}
	//evento:upcast closed
	Closed struct{ Why string ` + "`json:\"why\"`" + ` }
)

//evento:event Ended
type ended struct{ Why int }

func closed(ended) Closed { return Closed{} }

type Place struct{ Street string }
`

// evolved is a folder with events, the code of which is generated.
func evolved(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "p.go": evolvedEvents})
	_, err := Run(t.Context(), Options{Dir: dir})
	must(t, err)
	return dir
}

// Version control may have made the ends of lines those of Windows.
func TestOtherEndsOfLines(t *testing.T) {
	t.Parallel()
	dir := evolved(t)
	files := readFiles(t, dir)
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "\n", "\r\n")
	}
	writeFiles(t, dir, files)
	for _, check := range []bool{true, false} {
		if result, err := Run(t.Context(), Options{Dir: dir, Check: check}); err != nil || len(result.Changed) > 0 {
			t.Errorf("check %v: %+v, %v, want no change", check, result.Changed, err)
		}
	}
	if !equalFiles(readFiles(t, dir), files) {
		t.Error("files were written")
	}
	writeFiles(t, dir, map[string]string{"p.go": strings.Replace(files["p.go"], "Cents", "Euros", 1)})
	if _, err := Run(t.Context(), Options{Dir: dir, Check: true}); err == nil || !strings.Contains(err.Error(), "field Cents is gone and Euros is new") {
		t.Errorf("a renamed field: %v", err)
	}
}

// A lock that is cut off anywhere is not taken for one of fewer events.
func TestLockCutOff(t *testing.T) {
	t.Parallel()
	dir := evolved(t)
	whole := readFiles(t, dir)[LockName]
	for i := range len(whole) - len("\n") {
		if _, err := parseLock([]byte(whole[:i])); err == nil {
			t.Errorf("cut off behind %q it is read", whole[max(0, i-20):i])
		}
	}
	const want = "it is empty or cut off, as its last line is not \"end\", and what events are stored as is not known without it; " +
		"take the file from version control, or delete it if no event was ever stored"
	first, _, _ := strings.Cut(whole, "\nevent p/A Opened")
	for _, text := range []string{"", "\n\n", lockHeader, first, strings.TrimSuffix(whole, "\nend\n")} {
		writeFiles(t, dir, map[string]string{LockName: text})
		before := readFiles(t, dir)
		for _, check := range []bool{true, false} {
			if _, err := Run(t.Context(), Options{Dir: dir, Check: check}); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%q: %v, want %s", text, err, want)
			}
		}
		if !equalFiles(readFiles(t, dir), before) {
			t.Errorf("%q: files were written", text)
		}
	}
}

// A lock in conflict, as a merge leaves it.
func TestLockInConflict(t *testing.T) {
	t.Parallel()
	dir := evolved(t)
	whole := readFiles(t, dir)[LockName]
	lines := strings.Split(whole, "\n")
	for _, marks := range [][]string{{"<<<<<<< HEAD", "=======", ">>>>>>> other"}, {"<<<<<<< HEAD\r", "||||||| base\r", "=======\r", ">>>>>>> other\r"}, {"======="}, {">>>>>>> x"}} {
		for _, at := range []int{0, 4, 6, len(lines) - 3, len(lines) - 1} {
			text := strings.Join(slices.Concat(lines[:at], marks, lines[at:]), "\n")
			_, err := parseLock([]byte(text))
			if err == nil || !strings.HasSuffix(err.Error(), "is a conflict of a merge; keep the lines of both sides, each field once with the marks of both, and generate again") {
				t.Errorf("%q at line %d: %v", marks, at+1, err)
			}
		}
	}
}

// What was accepted by mistake is taken back by a change of the lock, as the messages say.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]struct{ mistake, back, want, old, new string }{
		"a field":         {"type E struct{ A, B int }", "type E struct{ A int; B string }", "delete it in evento.lock", "\tB int64 added\n", ""},
		"a renamed field": {"type E struct{ A, B int }", "type E struct{ A int; C int }", "delete it in evento.lock", "\tB int64 added\n", ""},
		"a dropped field": {"type E struct{}", "type E struct{ A string }", "delete it in evento.lock", "\t-A int64\n", ""},
		"a tag of names":  {"type E struct{ A, B int }", "type E struct{ A int; B int `json:\"b_\"` }", "delete it in evento.lock", "\tB int64 added\n", ""},
		"a new name":      {"type E struct{\n//evento:was A\nC int }", "type E struct{ A int }", "write the new one in its place in evento.lock", "\tC int64", "\tA int64"},
		"a former name":   {"type E struct{\n//evento:was B\nA int }", "type E struct{ A int }", "delete was=B in evento.lock", " was=B", ""},
		"an event":        {"type E struct{ A int }\n//evento:aggregate p/A\ntype F struct{}", "type E struct{ A int }", "delete it here", "event p/A F\n", ""},
		"a former event":  {"//evento:was D\ntype E struct{ A int }", "type E struct{ A int }", "delete its @was in evento.lock", "\t@was D\n", ""},
		"a tag":           {"type E struct{\nA int //evento:tag a\n}", "type E struct{ A int }", "delete tag=a in evento.lock", " tag=a", ""},
		"a late default":  {"type E struct{ A, B int }", "type E struct{ A int\nB int //evento:default 5\n}", "delete the field in evento.lock", "\tB int64 added\n", ""},
		"a method":        {"type E struct{ A int; X T }" + encodes("T", "struct{}", "Binary"), "type E struct{ A int; X T }" + encodes("T", "struct{}", "Binary", "Text"), "write binary(T, none) for it in evento.lock", "binary(T, T)", "binary(T, none)"},
		"an own method":   {"type E struct{ A int }\n//evento:aggregate p/A" + encodes("F", "struct{ A int }", "CBOR", "Text"), "type E struct{ A int }\n//evento:aggregate p/A" + encodes("F", "struct{ A int }", "CBOR"), "write @encoding cbor none for it in evento.lock", "@encoding cbor text", "@encoding cbor none"},
		"what is inside":  {"type E struct{ A int; X struct { B int } }", "type E struct{ A int; X struct { B string } }", "delete it in evento.lock", "\tB int64\n", ""},
		"an array":        {"type E struct{ A int }\n//evento:aggregate p/A\ntype F struct{ A, B int }", "type E struct{ A int }\n//evento:aggregate p/A\ntype F struct{ _ int `cbor:\",toarray\"`; A, B int }", "delete it in evento.lock", "event p/A F\n\tA int64\n\tB int64\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
			generate := func(types string) error {
				writeFiles(t, dir, map[string]string{"p.go": "package p\n\n//evento:aggregate p/A\n" + types + "\n"})
				_, err := Run(t.Context(), Options{Dir: dir})
				return err
			}
			must(t, generate("type E struct{ A int }"))
			must(t, generate(step.mistake))
			err := generate(step.back)
			if err == nil || !strings.Contains(err.Error(), step.want) {
				t.Errorf("%v, want %q", err, step.want)
			}
			file := filepath.Join(dir, LockName)
			text, err := os.ReadFile(file)
			must(t, err)
			if strings.Count(string(text), step.old) != 1 {
				t.Fatalf("the lock does not have %q once:\n%s", step.old, text)
			}
			must(t, os.WriteFile(file, []byte(strings.Replace(string(text), step.old, step.new, 1)), 0o644))
			if err := generate(step.back); err != nil {
				t.Errorf("refused again: %v", err)
			}
		})
	}
}
