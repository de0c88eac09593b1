// Package story holds example programs to their comments, which say what they print.
package story

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

// Test runs a program, and compares what it prints with the comment of main.go: with what
// follows the line that ends with "prints:".
func Test(t *testing.T, run func(ctx context.Context, out io.Writer) error) {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v, after\n%s", err, out.String())
	}
	code, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, story, _ := strings.Cut(string(code), "prints:\n//\n")
	story, _, _ = strings.Cut(story, "package main")
	story = strings.ReplaceAll(strings.ReplaceAll(story, "//\t", ""), "//\n", "\n")
	if out.String() != story {
		t.Errorf("it prints\n%s\nthe comment says\n%s", out.String(), story)
	}
}
