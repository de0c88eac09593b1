package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
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

// bench is a line of benchmarks.md.
type bench struct {
	rate  int
	ratio float64
}

// thousands writes a number as the README does.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func times(ratio float64) string {
	if ratio >= 2 {
		return fmt.Sprintf("%.1f ×", ratio)
	}
	return fmt.Sprintf("%.2f ×", ratio)
}

func (b bench) rateAndRatio() string { return thousands(b.rate) + "/s, " + times(b.ratio) }

func benches(t *testing.T) map[string]bench {
	t.Helper()
	all := map[string]bench{}
	line := regexp.MustCompile(`(?m)^\| (\S+) \| (\d+)/s \| \d+/s \| (\d+\.\d+) \|`)
	for _, m := range line.FindAllStringSubmatch(read(t, "benchmarks.md"), -1) {
		rate, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		ratio, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[m[1]] = bench{rate, ratio}
	}
	return all
}

// The README's table of figures is that of benchmarks.md, and so is what decisions.md says of
// one writer.
func TestFiguresOfBenchmarks(t *testing.T) {
	t.Parallel()
	all, readme := benches(t), read(t, "../README.md")
	of := func(name string) bench {
		t.Helper()
		b, ok := all[name]
		if !ok {
			t.Fatalf("benchmarks.md has no line %s", name)
		}
		return b
	}
	for label, names := range map[string][4]string{
		"append, 64 writers":              {"SQLiteAppend/writers=64", "PebbleAppend/writers=64/events=1", "PostgresAppend/writers=64", "MySQLAppend/writers=64"},
		"append, 1 writer":                {"SQLiteAppend/writers=1", "PebbleAppend/writers=1/events=1", "PostgresAppend/writers=1", "MySQLAppend/writers=1"},
		"load an aggregate of 100 events": {"SQLiteLoad/events=100", "PebbleLoad/events=100", "PostgresLoad/events=100", "MySQLLoad/events=100"},
		"read everything":                 {"SQLiteReadAll/scan", "PebbleReadAll/scan", "PostgresReadAll/scan", "MySQLReadAll"},
	} {
		want := "| " + label + " |"
		for _, name := range names {
			want += " " + of(name).rateAndRatio() + " |"
		}
		if !strings.Contains(readme, want) {
			t.Errorf("the README has no line\n%s", want)
		}
	}
	for label, name := range map[string]string{"subscription catching up, to reading everything": "CatchUp/", "8 partitions, handler of 1 ms, to one": "Partitions/"} {
		want := "| " + label + " |"
		for _, storage := range []string{"SQLite", "Pebble", "Postgres", "MySQL"} {
			want += " " + times(of(name+storage).ratio) + " |"
		}
		if !strings.Contains(readme, want) {
			t.Errorf("the README has no line\n%s", want)
		}
	}
	want := "| the same with two tags and a condition, to without, 64 and 1 |"
	for _, storage := range []string{"SQLite", "Pebble", "Postgres", "MySQL"} {
		name := "Conditional/" + storage
		want += " " + times(of(name+"#01/writers=64").ratio) + ", " + times(of(name+"/writers=1").ratio) + " |"
	}
	if !strings.Contains(readme, want) {
		t.Errorf("the README has no line\n%s", want)
	}

	want = fmt.Sprintf("without, it is at %.2f, and at %.2f on Pebble", of("SQLiteAppend/writers=1").ratio, of("PebbleAppend/writers=1/events=1").ratio)
	if !strings.Contains(oneLine(read(t, "decisions.md")), want) {
		t.Errorf("decisions.md does not say %q", want)
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

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
