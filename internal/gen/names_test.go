package gen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Packages in which every name is the name of something else, too. They are generated
// and built together, as building takes the time.
func TestNames(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	files := map[string]string{"all/all.go": everyType, "check/main.go": checkHidden}
	used := usedNames(t)
	for _, name := range used {
		files["imports/"+folder(name)+"/ref.go"] = "package " + name + "\n\ntype Ref struct{ A int }\n\ntype Text string\n"
	}
	for names := range slices.Chunk(used, 5) {
		files["imported/"+names[0]+"/events.go"] = importing(names...)
	}
	files["imported/events.go"] = importing(used...)
	kinds := []string{"func %s() {}\n", "type %s struct{ A, B all.Int }\n", "const %s = -5\n", "var %s []all.Int\n"}
	for _, kind := range kinds {
		what, _, _ := strings.Cut(kind, " ")
		files["hidden/"+what+"s/events.go"] = hiding(kind, used...)
	}
	for i, name := range types.Universe.Names() {
		files["hidden/"+name+"/events.go"] = hiding(kinds[i%len(kinds)], name)
	}
	maps.Copy(files, oddPackages)
	writeFiles(t, dir, files)
	if result, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./..."}}); err != nil {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, args := range [][]string{{"vet", "./..."}, {"vet", "-tags", "elsewhere", "./elsewhere"}, {"run", "./check"}} {
		c := exec.CommandContext(t.Context(), "go", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%.20000s", strings.Join(args, " "), err, out)
		}
	}
}

// Nothing that events are not made of changes what is generated: so code beside them,
// and tests, can be written without generating again.
func TestNamesThatAreNotUsed(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	writeFiles(t, dir, map[string]string{
		"all/all.go": everyType, "p/events.go": hiding("func %s() {}\n", "other"),
	})
	if _, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./p"}}); err != nil {
		t.Fatal(err)
	}
	const names = "e, v, d, b, s, i, k, n, m, id, err, ctx, name, data, list, value, seen, tags, view, event, raw, codec, codecs, ptr, pairs, few, former, old, filters"
	writeFiles(t, dir, map[string]string{
		"p/more.go": "package hidden\n\nvar " + names + " int\n\ntype J struct{}\n", "p/more_test.go": "package hidden\n\nvar n2, i2, K int\n",
	})
	if result, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./p"}}); err != nil || len(result.Changed) > 0 {
		t.Errorf("%+v, %v; want no change", result, err)
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "./p")
	vet.Dir = dir
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// usedNames returns every name in the golden files that is not exported, of variables
// and packages too, and what Go predeclares.
func usedNames(t *testing.T) []string {
	t.Helper()
	used := map[string]bool{"v1": true, "predeclared": true, "V": true, "P": true}
	for _, folder := range golden {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, outputName(filepath.Base(folder))), nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && !id.IsExported() {
				used[id.Name] = true
			}
			return true
		})
	}
	for _, name := range types.Universe.Names() {
		used[name] = true
	}
	delete(used, "_")
	return slices.Sorted(maps.Keys(used))
}

// folder returns a name for a folder: Go has none that differ in case alone.
func folder(name string) string {
	if ast.IsExported(name) {
		return name + "_"
	}
	return name
}

// importing is a package whose events have types of packages of these names.
func importing(names ...string) string {
	var b strings.Builder
	b.WriteString("package p\n\nimport (\n")
	for i, name := range names {
		fmt.Fprintf(&b, "\tp%d %q\n", i, elsewhere+"imports/"+folder(name))
	}
	fmt.Fprintf(&b, ")\n\n//evento:aggregate %s%d\ntype Happened struct {\n", names[0], len(names))
	for i := range names {
		fmt.Fprintf(&b, "\tA%d p%[1]d.Ref\n\tB%[1]d []p%[1]d.Text //evento:was X%[1]d\n\tC%[1]d map[string]struct{ D p%[1]d.Ref }\n", i)
	}
	b.WriteString("}\n")
	return b.String()
}

// hiding is a package that declares names itself, and has events of all kinds.
func hiding(kind string, names ...string) string {
	var b strings.Builder
	what := strings.Fields(kind)[0]
	fmt.Fprintf(&b, "package hidden\n\nimport all %q\n\n//evento:aggregate %s%s%d\n%s", elsewhere+"all", what, names[0], len(names), everyKind)
	for _, name := range names {
		if name != "V" && name != "P" { // which are events
			fmt.Fprintf(&b, kind, name)
		}
	}
	return b.String()
}

// everyType has types that others use without the names of what Go predeclares.
const everyType = `package all

import "time"

type (
	String  = string
	Int     = int
	Uint32  = uint32
	Bool    = bool
	Float32 = float32
	Float64 = float64
	Bytes   = []byte
	Any     = any
	Time    = time.Time
	Error   = error

	Address struct {
		Street string
		Lines  []string
		Rest   any
	}
	Text  struct{ s string }
	Named [4]byte
)

func (t Text) MarshalText() ([]byte, error)   { return []byte(t.s), nil }
func (t *Text) UnmarshalText(b []byte) error  { t.s = string(b); return nil }
func (n Named) String() string                { return string(n[:]) }
`

// everyKind are events for which the generator writes everything that it can write.
const everyKind = `type (
	Everything struct {
		A all.String               //evento:tag a
		B []all.String             //evento:tag b
		C map[all.String][]all.Int
		D *all.Bool
		E [2]all.Float64
		F all.Address
		G []all.Any
		H all.Time
		I all.Bytes
		J all.Text  //evento:tag j
		K all.Named //evento:tag k
		L all.Int   //evento:default 5
		M *all.Int  //evento:default 5
		N all.Bytes ` + "`json:\",omitempty\"`" + `
		O map[all.Int]all.Float32 ` + "`json:\",omitzero\"`" + `
		Q all.Any  ` + "`json:\",omitempty\"`" + `
		R *all.Int //evento:tag r
		S all.Bool //evento:was WasS
		T **all.Text
		U []*all.Address
		W [3]struct{ X, Y all.Uint32; Z *all.String }
	}
	//evento:was Formerly
	//evento:upcast p
	V struct{ A all.Int }
	//evento:upcast q
	P struct{}
	//evento:retired
	Old struct{ B all.Int }
)

//evento:event Older
type older struct{ C all.String }

func p(o Old) V { return V{A: o.B} }
func q(older) (P, all.Error) { return P{}, all.Error(none) }

var none all.Error
`

// checkHidden compares what is generated where everything is hidden with what the
// reflective codec does.
const checkHidden = `package main

import (
	"bytes"
	"log"
	"reflect"
	"time"

	"github.com/evento-go/evento"

	"` + elsewhere + `all"
	consts "` + elsewhere + `hidden/consts"
	funcs "` + elsewhere + `hidden/funcs"
	types "` + elsewhere + `hidden/types"
	vars "` + elsewhere + `hidden/vars"
)

type plain types.Everything

func main() {
	n, s, yes := 7, "text", true
	text := new(all.Text)
	for _, p := range []plain{{}, {
		A: "a", B: []string{"b", ""}, C: map[string][]int{"c": {1}, "": nil}, D: &yes, F: all.Address{Lines: []string{"x"}, Rest: uint64(5)},
		G: []any{"g", nil}, H: time.Unix(5, 5).UTC(), I: []byte("i"), K: all.Named{1}, L: 3, M: &n, N: []byte("n"), O: map[int]float32{1: 2},
		Q: true, R: &n, S: true, T: &text, U: []*all.Address{nil, {Street: "x"}},
		W: [3]struct{ X, Y uint32; Z *string }{{1, 2, &s}},
	}} {
		check(p, types.Everything(p), new(types.Everything))
		check(p, consts.Everything(p), new(consts.Everything))
		check(p, funcs.Everything(p), new(funcs.Everything))
		check(p, vars.Everything(p), new(vars.Everything))
	}
}

func check(p plain, event, into any) {
	want, err := evento.CBOR().Marshal(p)
	if err != nil {
		log.Fatal(err)
	}
	got, err := event.(evento.CBORAppender).AppendCBOR(nil)
	if err != nil || !bytes.Equal(got, want) {
		log.Fatalf("%T: %x, %v, want %x", event, got, err, want)
	}
	if ok, err := into.(evento.CBORDecoder).DecodeCBOR(got); !ok || err != nil || !reflect.DeepEqual(reflect.ValueOf(into).Elem().Interface(), event) {
		log.Fatalf("%x decodes to %+v, %t, %v; want %+v", got, into, ok, err, event)
	}
	if err := into.(evento.Evolved).DecodeEvent("Everything", evento.CBOR(), []byte("\xa1\x64WasS\xf5")); err != nil {
		log.Fatal(err)
	}
	if v := reflect.ValueOf(into).Elem(); v.FieldByName("L").Int() != 5 || v.FieldByName("M").Elem().Int() != 5 || !v.FieldByName("S").Bool() {
		log.Fatalf("%+v, want the defaults and the former name", into)
	}
}
`

// oddPackages are packages with names of other sorts.
var oddPackages = map[string]string{
	// Other scripts, and names that begin with no letter of ASCII.
	"scripts/events.go": `package счёт

//evento:aggregate
type (
	Ärger    struct{ Größe Ähnlich }
	Открыт   struct{ Имя string; А größer }
	Ǆ        struct{ A ärger }
	größer   struct{ X int }
	ärger    struct{ X string }
	開設       struct{ 名前 string }
)

//evento:aggregate bank/Überweisung
type Überwiesen struct{ Ähnlich }

//evento:aggregate bank/ანგარიში
type Opened struct{ A int }

//evento:aggregate bank/口座 Account
type Closed struct{ A ა }

type Ähnlich struct{ É, Ω int }

type ა struct{ A int }
`,
	// A package whose name begins with an underscore, so that a file of that name would
	// be ignored.
	"underscore/events.go": "package _odd\n\n//evento:aggregate _odd/Odd\ntype Seen struct{ A_, Type_, Func_, B__ int }\n",
	// Names that differ from paths, two packages of one name, and a path that is what
	// another package would be called if it had a number.
	"paths/go-money/money.go": "package money\n\ntype Amount struct{ Cents int }\n",
	"paths/money2/money.go":   "package money\n\ntype Amount struct{ Euros int }\n",
	"paths/v2/money.go":       "package money\n\ntype Amount struct{ Yen int }\n",
	"paths/evento/evento.go":  "package evento\n\ntype Amount struct{ Yen int }\n",
	"paths/events.go": `package paths

import (
	money1 "` + elsewhere + `paths/go-money"
	"` + elsewhere + `paths/money2"
	three "` + elsewhere + `paths/v2"
	. "` + elsewhere + `paths/evento"
)

var _ = money1.Amount{}.Cents == 0

//evento:aggregate
type Paid struct {
	A money1.Amount
	B money.Amount
	C []three.Amount //evento:was D
	E Amount
}
`,
	// Aliases: those of others that are not exported, and names for what is not.
	"aliases/other/other.go": `package other

import "` + elsewhere + `aliases/other/internal/deep"

type (
	hidden  = Open
	secret  struct{ A string }
	Open    struct{ A int }
	Known   = secret
	Deep    = deep.Deep
	texts   = []hidden
	Texts   = texts
	pair[T any] = Pair[T]
	Pair[T any] struct{ X T; Y []hidden }
	Numbers = []pair[hidden]
	Code    [4]byte
	code    = Code
	Codes   = []code
	Struct  struct {
		A []hidden
		B map[string]hidden
		C *hidden
		D texts
		E Known
		F []Known
		G pair[hidden]
		H Numbers
		I [2]struct{ J hidden; K *texts }
	}
)

func (Code) String() string { return "" }

const Five = 5
`,
	"aliases/other/internal/deep/deep.go": "package deep\n\ntype Deep struct{ A int }\n",
	"aliases/events.go": `package aliases

import . "` + elsewhere + `aliases/other"

type list = Pair[Known]

//evento:aggregate
type Seen struct {
	A Struct
	B Known //evento:was X
	C []Known
	D Deep
	E map[string]Deep
	F Texts
	G list
	H struct{ list; Y int }
	I Codes //evento:tag code
	J int //evento:default Five
}
`,
	// An import that has the name of a generated function's variable in a package that
	// has these names in files which are not built here, and in tests.
	"elsewhere/events.go":      "package elsewhere\n\n//evento:aggregate\ntype Seen struct{ A []Part; B string }\n\ntype Part struct{ A string }\n",
	"elsewhere/tagged.go":      "//go:build elsewhere\n\npackage elsewhere\n\nfunc appendPartCBOR(data, err int) int { return data }\n\nfunc len() {}\n\ntype bool struct{}\n",
	"elsewhere/events_test.go": "package elsewhere\n\nfunc decodePart2CBOR(b, e int) int { return b }\n\nvar evento, nil, append int\n",
	"elsewhere/other_test.go":  "package elsewhere_test\n\nimport appendPart3CBOR \"fmt\"\n\nvar _ = appendPart3CBOR.Sprint\n",
}
