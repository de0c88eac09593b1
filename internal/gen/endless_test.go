package gen

import (
	"fmt"
	"strings"
	"testing"
)

// Types that have no end, or are very long, have an end here: they are refused, each
// with its place and a remedy, or read.
func TestEndlessTypes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ types, want string }{
		"pointer":       {"type T *T", "4:16: event E, field A: a T is a pointer to itself, and nothing else; use another type"},
		"pointers":      {"type T **U\ntype U *T", "4:16: event E, field A: a T is a pointer to itself, and nothing else; use another type"},
		"doubling":      {doubling(100), ""},
		"mutual":        {mutual(100), ""},
		"invalid":       {"type T struct{ X [2]T }", "4:16: event E, field A: its type is not known; correct the type, or generate the code that it comes from first"},
		"list":          {"type T []T", ""},
		"map":           {"type T map[string]*U\ntype U []T", ""},
		"throughstruct": {"type T []U\ntype U struct{ X T; Y *T }", ""},
		"pointerlist":   {"type T *[]T", ""},
		"deep": {"type T " + strings.Repeat("[]", 300) + "int", "4:16: event E, field A: its type is made of more than 200 others within each other; " +
			"put a struct with a field in between, or store what it stands for, with MarshalText and UnmarshalText"},
	}
	files := map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"}
	for name, c := range cases {
		files[name+"/p.go"] = "package p\n\n//evento:aggregate " + name + "/A\ntype E struct{ A T }\n\n" + c.types + "\n"
	}
	for name, got := range problemsOf(t, files) {
		if strings.Join(got, "\n") != cases[name].want {
			t.Errorf("%s: %q, want %q", name, got, cases[name].want)
		}
	}
}

// A type that is made of a larger one of itself is no Go, and nothing looks into it.
func TestGrowingTypes(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"}
	for name, types := range map[string]string{
		"struct":   "type T struct{ X *G[int] }\ntype G[X any] struct{ Y *G[[]X] }",
		"list":     "type T struct{ X G[int] }\ntype G[X any] []G[[]X]",
		"map":      "type T struct{ X G[int] }\ntype G[X comparable] map[[1]X]G[[1]X]",
		"embedded": "type T struct{ G[int] }\ntype G[X any] struct{ *G[[]X]; N int }",
	} {
		files[name+"/p.go"] = "package p\n\n//evento:aggregate " + name + "/A\ntype E struct{ A T }\n\n" + types + "\n"
	}
	for name, got := range problemsOf(t, files) {
		want := "7:8: instantiation cycle: the type is made of a larger one of itself, and has no end; correct it and generate again"
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// doubling are structs that each have two lists of the next.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("type T struct{ A, B T0 }\n")
	for i := range n {
		fmt.Fprintf(&b, "type T%d struct{ A, B []T%d }\n", i, i+1)
	}
	fmt.Fprintf(&b, "type T%d struct{ N int }\n", n)
	return b.String()
}

// mutual are structs that each have all of them.
func mutual(n int) string {
	var b strings.Builder
	b.WriteString("type T struct{ A *T0 }\n")
	for i := range n {
		fmt.Fprintf(&b, "type T%d struct{", i)
		for j := range n {
			fmt.Fprintf(&b, " A%d *T%d;", j, j)
		}
		b.WriteString(" }\n")
	}
	return b.String()
}
