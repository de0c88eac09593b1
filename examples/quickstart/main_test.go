package main

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func Example() {
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		log.Fatal(err)
	}
	if err := run(context.Background(), filepath.Join(dir, "quickstart.db")); err != nil {
		log.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Ada has 7500 cents at version 3
	// Welcome, Ada
}

// The README shows this program to the letter.
func TestREADME(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(code), "package main")
	if !strings.Contains(string(readme), "```go\npackage main"+shown+"```\n") {
		t.Error("the README's quickstart is not examples/quickstart/main.go")
	}
}
