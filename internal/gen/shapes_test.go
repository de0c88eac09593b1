package gen

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everyOther are structs of which each contains all others.
func everyOther(n int, more string) string {
	var b strings.Builder
	b.WriteString("package p\n\n//evento:aggregate\ntype E struct{ X T0 }\n")
	for i := range n {
		fmt.Fprintf(&b, "type T%d struct {\n\tN int\n", i)
		for j := range n {
			fmt.Fprintf(&b, "\tF%d []T%[1]d\n", j)
		}
		if i == n-1 {
			b.WriteString("\t" + more + "\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// doubled are structs of which each contains the next twice.
func doubled(n int, more string) string {
	var b strings.Builder
	b.WriteString("package p\n\n//evento:aggregate\ntype E struct{ X T0 }\n")
	for i := range n {
		fmt.Fprintf(&b, "type T%d struct{ A, B *T%d }\n", i, i+1)
	}
	fmt.Fprintf(&b, "type T%d struct{ %s }\n", n, more)
	return b.String()
}

// Structs that are used in many places are written once, and compared once.
func TestLockOfSharedStructs(t *testing.T) {
	t.Parallel()
	const structs = 60
	for name, of := range map[string]func(int, string) string{"every other": everyOther, "doubled": doubled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
			for _, step := range []struct{ more, want string }{
				{"Last string", ""},
				{"Last string; New int", ""},
				{"Last int; New int", "Last: it is stored as string, which cannot be read as int64"},
				{"Other string; New int", ".Last is gone and "},
			} {
				writeFiles(t, dir, map[string]string{"p.go": of(structs, step.more)})
				_, err := Run(t.Context(), Options{Dir: dir})
				if step.want == "" && err != nil || step.want != "" && (err == nil || strings.Count(err.Error(), step.want) != 1) {
					t.Errorf("%s: %v, want %q once", step.more, err, step.want)
				}
			}
			lock, err := os.ReadFile(filepath.Join(dir, LockName))
			must(t, err)
			if n := strings.Count(string(lock), "\nshape "); n < structs || n > structs+1 || len(lock) > 100*structs*structs {
				t.Errorf("a lock of %d bytes has %d shapes of %d structs", len(lock), n, structs)
			}
		})
	}
}

// What contains itself is left to the default codec, and nothing else.
func TestStructsInThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n", "p.go": `package p

//evento:aggregate
type E struct {
	InA A
	InD D
	InG G
	InL L
}

// A contains itself by way of B and C.
type A struct{ B []B }
type B struct{ C map[string]C; InD D }
type C struct{ A *A; InD D }

// D contains E only, which contains nothing.
type D struct{ E []E1 }
type E1 struct{ N int }

// G is entered by way of F, which it contains.
type G struct{ F *F }
type F struct{ G *G; InD D; InH H }
type H struct{ InD D; F []F }

// L holds H, and is not within it.
type L struct{ InH H; InD D }
`})
	_, err := Run(t.Context(), Options{Dir: dir})
	must(t, err)
	code, err := os.ReadFile(filepath.Join(dir, "p_evento.go"))
	must(t, err)
	for name, fast := range map[string]bool{"A": false, "B": false, "C": false, "D": true, "E1": true, "F": false, "G": false, "H": false, "L": true} {
		if got := strings.Contains(string(code), "func append"+name+"CBOR("); got != fast {
			t.Errorf("%s is encoded by generated code: %v, want %v", name, got, fast)
		}
	}
}

// What contains itself without a struct has a name, too, and is kept under it.
func TestLockOfCircles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
	const types = "\ntype Maps map[string]*Lists\ntype Lists []Maps\ntype Own []Own\nfunc (Own) MarshalJSON() ([]byte, error) { return nil, nil }\nfunc (*Own) UnmarshalJSON([]byte) error { return nil }\n"
	const shapes = "\nshape Lists\n\t@is []Maps\n\nshape Maps\n\t@is map[string]*Lists\n"
	for _, step := range []struct{ fields, want string }{
		{"M Maps; L []Lists; O Own", "\tM Maps\n\tL []Lists\n\tO json(Own)Own\n" + shapes + "\nshape Own\n\t@is []json(Own)Own\n"},
		{"L []Lists", "\tL []Lists\n\t-M Maps\n\t-O json(Own)Own\n" + shapes + "\nshape Own\n\t@is []json(Own)Own\n"},
	} {
		for range 2 {
			writeFiles(t, dir, map[string]string{"p.go": "package p\n\n//evento:aggregate p/A\ntype E struct{ " + step.fields + " }\n" + types})
			_, err := Run(t.Context(), Options{Dir: dir})
			must(t, err)
			if lock, want := readFiles(t, dir)[LockName], lockHeader+"\nevent p/A E\n"+step.want+"\nend\n"; lock != want {
				t.Errorf("of %s the lock is\n%s\nwant\n%s", step.fields, lock, want)
			}
		}
	}
}

// A lock that was kept from before is read, and what is not used any more goes.
func TestLockNamesShapes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
	steps := []struct{ types, want string }{
		{"type E struct{ X, Y I; N int }\ntype I struct{ A string }",
			"\tX I\n\tY I\n\tN int64\n\nshape I\n\tA string\n"},
		{"type E struct{ Y I; N int }\ntype I struct{ A string }", // a dropped field shares the shape
			"\tY I\n\tN int64\n\t-X I\n\nshape I\n\tA string\n"},
		{"type E struct{ Y I; N int }\ntype I struct{ A, B string }", // until that changes
			"\tY I\n\tN int64\n\t-X I~2\n\nshape I\n\tA string\n\tB string added\n\nshape I~2\n\tA string\n"},
		{"type E struct{ N int }", "\tN int64\n\t-Y I\n\t-X I~2\n\nshape I\n\tA string\n\tB string added\n\nshape I~2\n\tA string\n"},
		{"type E struct{ N int; Z text; Q R }\ntype text struct{ A bool }\ntype R struct{ T text }", // the name of a kind
			"\tN int64\n\tZ text~2 added\n\tQ R added\n\t-Y I\n\t-X I~2\n\nshape I\n\tA string\n\tB string added\n\nshape I~2\n\tA string\n\nshape R\n\tT text~2\n\nshape text~2\n\tA bool\n"},
		{"type E struct{ N int; Z I }\ntype I struct{ A bool }", // two that are gone have this name
			"\tN int64\n\tZ I added\n\t-Q R added\n\t-Y I~2\n\t-X I~3\n\nshape I\n\tA bool\n\nshape I~2\n\tA string\n\tB string added\n\nshape I~3\n\tA string\n\nshape R\n\tT text~2\n\nshape text~2\n\tA bool\n"},
	}
	for _, step := range steps {
		writeFiles(t, dir, map[string]string{"p.go": "package p\n\n//evento:aggregate p/A\n" + step.types + "\n"})
		_, err := Run(t.Context(), Options{Dir: dir})
		must(t, err)
		lock, err := os.ReadFile(filepath.Join(dir, LockName))
		must(t, err)
		if want := lockHeader + "\nevent p/A E\n" + step.want + "\nend\n"; string(lock) != want {
			t.Errorf("of %s the lock is\n%s\nwant\n%s", step.types, lock, want)
		}
		if again, err := Run(t.Context(), Options{Dir: dir, Check: true}); err != nil || len(again.Changed) > 0 {
			t.Errorf("%s: generating again: %+v, %v", step.types, again.Changed, err)
		}
	}
}
