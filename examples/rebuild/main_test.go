package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRebuild(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), filepath.Join(t.TempDir(), "bank.db"), &out); err != nil {
		t.Fatal(err)
	}
	const want = "Ada has 1500 cents of 2 deposits\nGrace has 1100 cents of 2 deposits\n"
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}
