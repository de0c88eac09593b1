package gen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// change is how the events of a package change: it is refused with want or, if that is
// empty, accepted. Several versions before are divided by lines of dashes. An asterisk
// at the end of want stands for more.
type change struct{ before, after, want string }

var changes = map[string]change{
	"same":    {"type E struct{ A int }", "type E struct{ A int }", ""},
	"added":   {"type E struct{ A int }", "type E struct{ A int; B string }", ""},
	"dropped": {"type E struct{ A int; B string }", "type E struct{ A int }", ""},
	"renamed": {"type E struct{ A int; B string }", "type E struct{ A int; C string }",
		`p.go:4:23: event E: field B is gone and C is new; if it is the same, put //evento:was B above C, and if it is not, //evento:dropped B above the event` + never},
	"renamed and said so":      {"type E struct{ A int; B string }", "type E struct{ A int\n//evento:was B\nC string }", ""},
	"another and said so":      {"type E struct{ A int; B string }", "//evento:dropped B\ntype E struct{ A int; C string }", ""},
	"replaced by another kind": {"type E struct{ A int; B string }", "type E struct{ A int; C []bool }", ""},
	"renamed by case":          {"type E struct{ Id string }", "type E struct{ ID string }", ""},
	"renamed with its tag":     {"type E struct{ A int }", "type E struct{ B int `json:\"A\"` }", ""},
	"string to int": {"type E struct{ A string }", "type E struct{ A int }",
		`p.go:4:16: event E: field A: it is stored as string, which cannot be read as int64; keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one` + never},
	"renamed and changed": {"type E struct{ A string }", "type E struct{\n//evento:was A\nB int }",
		`p.go:6:1: event E: field B: it is stored as string, which cannot be read as int64; keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one` + never},
	"wider":           {"type E struct{ A int8; B uint8; C float32; D uint32; F int32 }", "type E struct{ A int; B int16; C float64; D int64; F float64 }", ""},
	"narrower":        {"type E struct{ A int64 }", "type E struct{ A int32 }", "p.go:4:16: event E: field A: it is stored as int64, which cannot be read as int32; *"},
	"unsigned":        {"type E struct{ A int64 }", "type E struct{ A uint64 }", "p.go:4:16: event E: field A: it is stored as int64, which cannot be read as uint64; *"},
	"inexact":         {"type E struct{ A int64 }", "type E struct{ A float64 }", "p.go:4:16: event E: field A: it is stored as int64, which cannot be read as float64; *"},
	"pointer":         {"type E struct{ A int; B *string }", "type E struct{ A *int; B string }", ""},
	"named":           {"type E struct{ A int }", "type E struct{ A N }\ntype N int", ""},
	"any":             {"type E struct{ A []string }", "type E struct{ A any }", ""},
	"from any":        {"type E struct{ A any }", "type E struct{ A []string }", "p.go:4:16: event E: field A: it is stored as any, which cannot be read as []string; *"},
	"list of wider":   {"type E struct{ A []int8 }", "type E struct{ A []int }", ""},
	"list to one":     {"type E struct{ A []int8 }", "type E struct{ A int8 }", "p.go:4:16: event E: field A: it is stored as []int8, which cannot be read as int8; *"},
	"array to list":   {"type E struct{ A [3]int }", "type E struct{ A []int }", ""},
	"shorter array":   {"type E struct{ A [3]int }", "type E struct{ A [2]int }", "p.go:4:16: event E: field A: it is stored as [3]int64, which cannot be read as [2]int64; *"},
	"shorter bytes":   {"type E struct{ A [3]byte }", "type E struct{ A [2]byte }", "p.go:4:16: event E: field A: it is stored as [3]byte, which cannot be read as [2]byte; *"},
	"map's keys":      {"type E struct{ A map[string]int }", "type E struct{ A map[int]int }", "p.go:4:16: event E: field A: it is stored as string, which cannot be read as int64; *"},
	"time to string":  {"import \"time\"\n//evento:aggregate p/A\ntype E struct{ A time.Time }", "type E struct{ A string }", ""},
	"string to time":  {"type E struct{ A string }", "import \"time\"\n//evento:aggregate p/A\ntype E struct{ A time.Time }", "p.go:5:16: event E: field A: it is stored as string, which cannot be read as time; *"},
	"inside":          {"type E struct{ A struct{ B []struct{ C int } } }", "type E struct{ A struct{ B []struct{ C string } } }", "p.go:4:16: event E: field A: A.B.C: it is stored as int64, which cannot be read as string; *"},
	"renamed inside":  {"type E struct{ A struct{ B int } }", "type E struct{ A struct{ C int } }", "p.go:4:16: event E: field A: A.B is gone and A.C is new; if it is the same, keep its stored name with `json:\"B\"`, and if it is not, put //evento:dropped A.B above the event" + never},
	"inside, said so": {"type E struct{ A struct{ B int } }", "//evento:dropped A.B\ntype E struct{ A struct{ C int } }", ""},
	"itself":          {"type E struct{ X T }\ntype T struct{ N int; Of []T }", "type E struct{ X T }\ntype T struct{ N int; Of []T; More string }", ""},
	"event gone": {"type E struct{}\n//evento:aggregate p/A\ntype F struct{}", "type F struct{}",
		`evento.lock:5:1: event "E" of "p/A" is gone, and those stored would not be read any more; keep its type with //evento:retired, or put //evento:was E above the event that it is called now. If none was ever stored, delete it here`},
	"event retired":         {"type E struct{}", "//evento:retired\ntype E struct{}", ""},
	"event back":            {"//evento:retired\ntype E struct{}", "type E struct{}", ""},
	"event renamed":         {"type E struct{ A int }", "//evento:was E\ntype F struct{ A int }", ""},
	"event's type":          {"type E struct{ A int }", "//evento:event E\ntype F struct{ A int }", ""},
	"renamed, not fit":      {"type E struct{ A int }", "//evento:was E\ntype F struct{ A bool }", "p.go:5:16: event F: field A: it is stored as int64, which cannot be read as bool; *"},
	"two slashes in a name": {"//evento:event \"a // b\"\ntype E struct{ A int }", "//evento:event \"a // b\" // and a comment\ntype F struct{ A int }", ""},
	"was forgotten":         {"//evento:was D\ntype E struct{ A int }", "type E struct{ A int }", `p.go:4:6: event E: events stored as "D" would not be read any more; put back //evento:was D, or delete its @was in evento.lock if none was ever stored`},
	"field's was gone":      {"type E struct{\n//evento:was B\nA int }", "type E struct{ A int }", `p.go:4:16: event E: field A: it would not be read any more where it is stored as B; put back //evento:was B, or delete was=B in evento.lock if no event was stored so`},
	"event moved":           {"type E struct{}", "type F struct{}\n//evento:aggregate p/B\ntype E struct{}", `p.go:6:6: event "E" moved from "p/A" to "p/B", and those stored would not be read any more; move it back, or leave one behind with //evento:retired`},
	"upcast":                {"type E struct{ A int }", "//evento:upcast f\ntype F struct{ A string }\n//evento:event E\ntype old struct { A int }\nfunc f(old) F { return F{} }", ""},
	"upcast, not fit":       {"type E struct{ A int }", "//evento:upcast f\ntype F struct{ A string }\n//evento:event E\ntype old struct { A bool }\nfunc f(old) F { return F{} }", "p.go:7:19: event old: field A: it is stored as int64, which cannot be read as bool; *"},
	"no events any more":    {"type E struct{}", "", `evento.lock:5:1: event "E" of "p/A" is gone, *`},
	"own encoding":          {"type E struct{ A int }", "type E struct{ A int }\nfunc (E) MarshalText() ([]byte, error) { return nil, nil }\nfunc (*E) UnmarshalText([]byte) error { return nil }", "p.go:4:6: event E: its encoding changed, and those stored would not be read any more; *"},
}

func TestLock(t *testing.T) {
	t.Parallel()
	checkChanges(t, changes)
}

// checkChanges makes a package of each change, and generates all of them at once.
func checkChanges(t *testing.T, changes map[string]change) {
	t.Helper()
	c := changing{t, t.TempDir(), map[string]string{}}
	writeFiles(t, c.dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
	for i, name := range slices.Sorted(maps.Keys(changes)) {
		c.folders[name] = fmt.Sprintf("c%02d", i)
	}
	for i, more := 0, true; more; i++ {
		more = false
		for name, of := range changes {
			if versions := strings.Split(of.before, "\n----\n"); i < len(versions) {
				c.write(name, versions[i])
				more = true
			}
		}
		_, err := Run(t.Context(), Options{Dir: c.dir, Patterns: []string{"./..."}})
		must(t, err)
	}
	for name, of := range changes {
		c.write(name, of.after)
	}
	problems := c.problems()
	var accepted []string
	for name, of := range changes {
		got := problems[name]
		if got == "" {
			accepted = append(accepted, "./"+c.folders[name])
		}
		if prefix, some := strings.CutSuffix(of.want, "*"); got != of.want && (!some || !strings.HasPrefix(got, prefix)) {
			t.Errorf("%s: said\n%s\nwant\n%s", name, got, of.want)
		}
	}
	_, err := Run(t.Context(), Options{Dir: c.dir, Patterns: accepted})
	must(t, err)
	if again, err := Run(t.Context(), Options{Dir: c.dir, Patterns: accepted}); err != nil || len(again.Changed) > 0 {
		t.Errorf("generating again: %+v, %v", again.Changed, err)
	}
}

// changing are packages that change, each in a folder of its own.
type changing struct {
	*testing.T
	dir     string
	folders map[string]string // by the names of the changes
}

// write writes a package, with aggregates of its own.
func (c *changing) write(name, types string) {
	if types != "" && !strings.HasPrefix(types, "import") {
		types = "//evento:aggregate p/A\n" + types
	}
	folder := c.folders[name]
	types = strings.NewReplacer("p/A", folder+"/A", "p/B", folder+"/B").Replace(types)
	writeFiles(c.T, c.dir, map[string]string{folder + "/p.go": "package p\n\n" + types + "\n"})
}

// problems generates all packages, and returns what is refused of each.
func (c *changing) problems() map[string]string {
	before := readFiles(c.T, c.dir)
	_, err := Run(c.Context(), Options{Dir: c.dir, Patterns: []string{"./..."}})
	var all RefusedError
	if err != nil && !errors.As(err, &all) {
		c.Fatal(err)
	}
	if len(all) > 0 && !equalFiles(readFiles(c.T, c.dir), before) {
		c.Error("refused, and yet files were written")
	}
	found := map[string]string{}
	for name, folder := range c.folders {
		var lines []string
		for _, p := range all {
			if text, ok := strings.CutPrefix(p.String(), folder+"/"); ok {
				lines = append(lines, strings.NewReplacer(folder+"/A", "p/A", folder+"/B", "p/B").Replace(text))
			}
		}
		found[name] = strings.Join(lines, "\n")
	}
	return found
}

// A dropped field is recorded: its name cannot be reused for another kind.
func TestLockRemembersDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
	for _, step := range []struct{ fields, want string }{
		{"A int; B string", ""},
		{"A int", ""},
		{"A int; C []bool", ""},
		{"A int; C []bool; B int", "p.go:4:34: event E: field B: it is stored as string, which cannot be read as int64; " + remedy},
		{"A int; C []bool; B any", ""},
		{"A int; C []bool; B string", "p.go:4:34: event E: field B: it is stored as any, which cannot be read as string; " + remedy},
	} {
		writeFiles(t, dir, map[string]string{"p.go": "package p\n\n//evento:aggregate\ntype E struct { " + step.fields + " }\n"})
		_, err := Run(t.Context(), Options{Dir: dir})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("%s: said %q, want %q", step.fields, got, step.want)
		}
	}
}

func TestLockFormat(t *testing.T) {
	t.Parallel()
	locks := []string{"kinds", "evolution", "testdata/names"}
	for _, folder := range locks {
		data, err := os.ReadFile(filepath.Join(folder, LockName))
		must(t, err)
		l, err := parseLock(data)
		must(t, err)
		if got := string(l.format()); got != string(data) {
			t.Errorf("%s: read and written again it is\n%s", folder, got)
		}
	}
	part := &shape{kind: kindStruct, label: "a b", array: true}
	part.fields = []*field{
		{name: "1", json: "x", number: true, quoted: true, shape: &shape{kind: kindPointer, elem: part}},
		{name: "a", shape: &shape{kind: kindMap, key: &shape{kind: kindText, by: "p.G[int]"}, elem: &shape{kind: kindList, elem: part, json: "T"}}},
	}
	list := &shape{kind: kindList, label: "List"}
	list.elem = &shape{kind: kindPointer, elem: list}
	odd := &lock{events: []*lockedEvent{
		{aggregate: "a b", name: "@c", was: []string{"\"", "\n"}, upcast: []string{"ü"}, retired: true, shape: &shape{
			kind: kindStruct, json: "@c", fields: []*field{
				{name: "-", json: "-", shape: &shape{kind: kindArray, size: 2, elem: &shape{kind: kindBytes, size: -1}}, was: []string{"x y"}},
				{name: "s", json: "s", shape: &shape{kind: kindString}, added: true, null: true, omits: true, value: "\"a \\\" b\"", tags: []string{"t", "u:v.W"}},
				{name: "p", json: "p", shape: &shape{kind: kindStruct, label: "time"}},
				{name: "", json: "-", shape: &shape{kind: kindBytes, size: 4}, dropped: true},
				{name: "q", json: "q", shape: part, dropped: true},
				{name: "l", json: "l", shape: list},
				{name: "b", json: "b", shape: &shape{kind: kindBinary, by: "G[a, b]", inJSON: &shape{kind: kindText}}},
				{name: "c", json: "c", shape: &shape{kind: kindCBOR, by: "C", inJSON: &shape{kind: kindStruct, label: "text"}}},
				{name: "d", json: "d", shape: &shape{kind: kindCBOR, by: "D", json: "D"}},
			},
		}},
		{aggregate: "a b", name: "d", shape: &shape{kind: kindText}},
		{aggregate: "a b", name: "e", shape: &shape{kind: kindBinary, inJSON: list}},
		{aggregate: "a b", name: "f", shape: &shape{kind: kindCBOR, json: "f"}},
	}}
	l, err := parseLock(odd.format())
	must(t, err)
	if got, want := string(l.format()), string(odd.format()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestBrokenLock(t *testing.T) {
	t.Parallel()
	const advice = " is not as evento gen writes it: "
	for text, want := range map[string]string{
		"event p/A\n":                                            "line 1" + advice + "a name is missing",
		"event p/A E\nevent p/A E\n":                             "line 2" + advice + "the event E is there twice",
		"shape E\nshape E\n":                                     "line 2" + advice + "the shape E is there twice",
		"event p/A E\n\tA any\n\tA any":                          "line 3" + advice + "the field A is there twice",
		"\tA int64\n":                                            "line 1" + advice + "it belongs to no event and no shape",
		"events p/A\n":                                           "line 1" + advice + "it begins with none of #, event, shape and end; a newer evento gen may have written it",
		"end\nevent p/A E\n":                                     "line 2" + advice + "it is behind the line end",
		"event p/A E\n\tA int\nend":                              `line 2` + advice + `there is no kind of field "int", and no shape of that name`,
		"event p/A E\n\tA []\n":                                  "line 2" + advice + "a name is missing",
		"event p/A E\n\tA text\n":                                "line 2" + advice + "a ( is missing",
		"event p/A E\n\tA text(x\n":                              "line 2" + advice + "a ) is missing",
		"event p/A E\n\tA binary(x)\n":                           "line 2" + advice + "it does not say how the JSON codec stores a x, and there is no json(…) in front",
		"event p/A E\n\tA cbor(x, text\n":                        "line 2" + advice + "a ) is missing",
		"event p/A E\n\tA cbor(x, )\n":                           "line 2" + advice + "a name is missing",
		"event p/A E\n\t@encoding cbor\n":                        "line 2" + advice + "a name is missing",
		"event p/A E\n\tA [x]bool\n":                             "line 2" + advice + "a number is missing",
		"event p/A E\n\tA bool int8\n":                           `line 2` + advice + `there is no mark int8; a newer evento gen may have written it`,
		"event p/A E\n\tA bool a=b\n":                            `line 2` + advice + `there is no mark a=b; a newer evento gen may have written it`,
		"event p/A E\n\tA bool default=true default=false\n":     "line 2" + advice + "A has two defaults",
		"event p/A E\n\tA bool json=a json=A\n":                  "line 2" + advice + "A has two names for the JSON codec",
		"event p/A E\n\t@sealed\n":                               "line 2" + advice + "there is no @sealed; a newer evento gen may have written it",
		"event p/A E\n\t@retired x\n":                            `line 2` + advice + `"x" is too much`,
		"event p/A E\n\t@encoding x\n":                           `line 2` + advice + `there is no encoding x; a newer evento gen may have written it`,
		"shape E\n\t@was x\n":                                    "line 2" + advice + "there is no @was x of a shape; a newer evento gen may have written it",
		"shape E\n\t@is E\n":                                     "line 2" + advice + "the shape E is not made of others",
		"shape E\n\t@is bool\n":                                  "line 2" + advice + "the shape E is not made of others",
		"shape E\n\tA bool\n\t@is []E\n":                         "line 3" + advice + "the shape E is not made of others",
		"shape E\n\t@is []E\n\tA bool\n":                         "line 3" + advice + "the shape E is no struct",
		"shape E\n\t@is *F\nshape F\n\t@is **E\n":                "line 4" + advice + "the shape F is a pointer to itself, and nothing else",
		"shape \"\"\n":                                           "line 1" + advice + "a name is missing",
		"event p/A \"E\n":                                        `line 1` + advice + `"\"E" has no closing quote`,
		"event p/A E\n\tA " + strings.Repeat("[]", 300) + "bool": "line 2" + advice + "it is nested deeper than 200",
	} {
		_, err := parseLock([]byte(text))
		if err == nil || err.Error() != want+"; take the file from version control" {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n", "evento.lock": "events\n",
		"p.go": "package p\n\n//evento:aggregate\ntype E struct{}\n",
	}
	writeFiles(t, dir, files)
	_, err := Run(t.Context(), Options{Dir: dir})
	if want := "evento.lock:1:1: line 1" + advice; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if !equalFiles(readFiles(t, dir), files) {
		t.Error("files were written")
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte("event p/A E\n\t@was \"x y\"\n\tA map[string][]S was=D default=\"x y\" tag=t json=-\n\t-F time omits\nshape S\n\t@array\n\t1 S keyasint quoted\nend\n"))
	f.Add([]byte("event p/A E\n\tA json(T)T\n\tB *M\nshape T\n\t@is []*M\nshape M\n\t@is map[string]T\nend\n"))
	f.Add([]byte("event p/A E\n\t@encoding binary T\nevent p/A F\n\t@json\n\t@encoding cbor\nevent p/A G\n\tA binary(T, []json(T)any)\n\tB cbor(T, text)\nshape T\n\tN none\nend\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLock(data)
		if err != nil {
			return
		}
		again, err := parseLock(l.format())
		if err != nil || string(again.format()) != string(l.format()) {
			t.Errorf("%q was read and is written as %q: %v", data, l.format(), err)
		}
	})
}

// An interrupted run writes nothing.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "p.go": "package p\n\n//evento:aggregate\ntype E struct{}\n"}
	writeFiles(t, dir, files)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Run(ctx, Options{Dir: dir}); err == nil {
		t.Error("no error")
	}
	if !equalFiles(readFiles(t, dir), files) {
		t.Error("files were written")
	}
}

func TestProblemsInOrder(t *testing.T) {
	t.Parallel()
	ps := &problems{dir: "/x"}
	for _, p := range []string{"/x/b.go:1:1", "/x/a.go:10:1", "/x/a.go:9:2", "/y/c.go:3", "-"} {
		ps.add(position(p), "wrong")
	}
	var all RefusedError
	if !errors.As(ps.err(), &all) {
		t.Fatal("no problems")
	}
	got := strings.Split(all.Error(), "\n")
	if want := []string{"wrong", "/y/c.go:3:1: wrong", "a.go:9:2: wrong", "a.go:10:1: wrong", "b.go:1:1: wrong"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
