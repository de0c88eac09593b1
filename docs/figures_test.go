package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The tables that documents have of benchmarks.md are the same there. make bench writes them,
// and the page itself is held against the run in bench/report.
func TestFiguresOfBenchmarks(t *testing.T) {
	t.Parallel()
	page := read(t, "benchmarks.md")
	for path, name := range map[string]string{"../README.md": "figures", "deciding.md": "tags"} {
		block := between(t, page, name)
		if got := between(t, read(t, path), name); got != block {
			t.Errorf("%s has\n%s\nand benchmarks.md\n%s", path, got, block)
		}
		if lines := strings.Count(block, "\n| "); lines < 5 {
			t.Errorf("the block %q has %d lines of a table:\n%s", name, lines, block)
		}
	}
}

// between returns what is between the markers of a block.
func between(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "<!-- "+name+": written by make bench -->\n")
	block, _, ended := strings.Cut(rest, "<!-- end of "+name+" -->\n")
	if !found || !ended {
		t.Fatalf("no block %q", name)
	}
	return block
}

// What the README says of the tests is what they do.
func TestFiguresOfTests(t *testing.T) {
	t.Parallel()
	number := func(path, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		if m == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		return m[1]
	}
	readme := read(t, "../README.md")
	for _, want := range []string{
		fmt.Sprintf("killed with `kill -9`, %s times a run on SQLite and %s times on Pebble",
			number("../executor/sqlite/crash_test.go", `const kills, writers = (\d+),`), number("../executor/pebble/kill_test.go", `const kills = (\d+)`)),
		fmt.Sprintf("%s servers and %s clients of a cluster of NATS",
			number("../executor/jetstream/kill_test.go", `"EVENTO_JETSTREAM_KILLS", (\d+)`), number("../executor/jetstream/client_kill_test.go", `"EVENTO_JETSTREAM_CLIENT_KILLS", (\d+)`)),
		fmt.Sprintf("in the middle of handlers, %s times on each SQL storage and %s times on Pebble",
			number("../torture/torture_test.go", `const kills = (\d+)`), number("../executor/pebble/handler_kill_test.go", `if s == "" \{\s+return (\d+)`)),
		fmt.Sprintf("%s processes × %s goroutines write one file while %s subscriptions tail it",
			number("../executor/sqlite/crash_test.go", `const processes, writers, commits, subscriptions = (\d+), \d+`),
			number("../executor/sqlite/crash_test.go", `const processes, writers, commits, subscriptions = \d+, (\d+)`),
			number("../executor/sqlite/crash_test.go", `const processes, writers, commits, subscriptions = \d+, \d+, \d+, (\d+)`)),
		fmt.Sprintf("%s processes × %s buyers want %s seats",
			number("../torture/seats_test.go", `offices +=\s+(\d+)`), number("../torture/seats_test.go", `customers += (\d+)`), number("../torture/seats_test.go", `seats += (\d+)`)),
		fmt.Sprintf("%s processes run them, and the one that works is killed again and again", number("../torture/deadlines_test.go", `deadlineRunners += (\d+)`)),
	} {
		if !strings.Contains(readme, want) {
			t.Errorf("the README does not say %q", want)
		}
	}
}
