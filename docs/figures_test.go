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

// of returns a line of benchmarks.md.
func of(t *testing.T, all map[string]bench, name string) bench {
	t.Helper()
	b, ok := all[name]
	if !ok {
		t.Fatalf("benchmarks.md has no line %s", name)
	}
	return b
}

// measured returns the first figure of a line of benchmarks.md that has no ratio.
func measured(t *testing.T, name string) float64 {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, "benchmarks.md"), "| "+name+" | ")
	if !ok {
		t.Fatalf("benchmarks.md has no line %s", name)
	}
	figure, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return figure
}

// says wants texts in a page, however its lines are broken.
func says(t *testing.T, page string, wants ...string) {
	t.Helper()
	text := oneLine(read(t, page))
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say\n%s", page, want)
		}
	}
}

func storages() []string { return []string{"SQLite", "Pebble", "Postgres", "MySQL"} }

// row returns a line of a table with a figure of each storage.
func row(label string, figure func(storage string) string) string {
	line := "| " + label + " |"
	for _, storage := range storages() {
		line += " " + figure(storage) + " |"
	}
	return line
}

// The README's table of figures is that of benchmarks.md.
func TestFiguresOfBenchmarks(t *testing.T) {
	t.Parallel()
	all := benches(t)
	for label, names := range map[string]map[string]string{
		"append, 64 writers":              {"": "Append/writers=64", "Pebble": "Append/writers=64/events=1"},
		"append, 1 writer":                {"": "Append/writers=1", "Pebble": "Append/writers=1/events=1"},
		"load an aggregate of 100 events": {"": "Load/events=100"},
		"read everything":                 {"": "ReadAll/scan", "MySQL": "ReadAll"},
	} {
		says(t, "../README.md", row(label, func(storage string) string {
			name, ok := names[storage]
			if !ok {
				name = names[""]
			}
			return of(t, all, storage+name).rateAndRatio()
		}))
	}
	says(t, "../README.md",
		row("subscription catching up, to reading everything", func(storage string) string { return times(of(t, all, "CatchUp/"+storage).ratio) }),
		row("8 partitions, handler of 1 ms, to one", func(storage string) string { return times(of(t, all, "Partitions/"+storage).ratio) }),
		row("the same with two tags and a condition, to without, 64 and 1", func(storage string) string {
			name := "Conditional/" + storage
			return times(of(t, all, name+"#01/writers=64").ratio) + ", " + times(of(t, all, name+"/writers=1").ratio)
		}),
		fmt.Sprintf("takes %.2f ms in one process, and %.1f ms in another one on PostgreSQL",
			measured(t, "SQLiteCommitToHandler")/1000, 1000/float64(of(t, all, "PostgresOtherProcess").rate)))
}

// So are those of the guide about decisions.
func TestFiguresOfDeciding(t *testing.T) {
	t.Parallel()
	all := benches(t)
	figures := func(format, prefix, suffix string) func(string) string {
		return func(storage string) string { return fmt.Sprintf(format, measured(t, prefix+storage+suffix)) }
	}
	ratios := func(suffix string) func(string) string {
		return func(storage string) string {
			return fmt.Sprintf("%.2f", of(t, all, "Conditional/"+storage+suffix).ratio)
		}
	}
	says(t, "deciding.md",
		row("writes of an event with two tags and a condition on them, to plain ones, 1 writer", ratios("/writers=1")),
		row("the same, 64 writers", ratios("#01/writers=64")),
		row("reading the 10 events that have two tags, out of a million", figures("%.2f ms", "Tags/", "/events=1000000")),
		row("bytes on the disk for a tag", figures("%.0f", "TagBytes/", "")),
		row("how late a deadline is, half of them", figures("%.1f ms", "Deadline/", "")))
}

// And those of the page that says why.
func TestFiguresOfDecisions(t *testing.T) {
	t.Parallel()
	all := benches(t)
	ratio := func(name string) float64 { return of(t, all, name).ratio }
	conditional := func(format, suffix string) string {
		var ratios []any
		for _, storage := range storages() {
			ratios = append(ratios, ratio("Conditional/"+storage+suffix))
		}
		return fmt.Sprintf(format, ratios...)
	}
	says(t, "decisions.md",
		fmt.Sprintf("without, it is at %.2f, and at %.2f on Pebble", ratio("SQLiteAppend/writers=1"), ratio("PebbleAppend/writers=1/events=1")),
		conditional("have %.2f of the rate without on SQLite, %.2f on Pebble, %.2f on PostgreSQL and %.2f on MariaDB", "#01/writers=64"),
		conditional("and one writer %.2f, %.2f, %.2f and %.2f", "/writers=1"),
		fmt.Sprintf("The latest run has %.2f and %.2f.", ratio("PostgresAppend/writers=1"), ratio("PostgresAppendOf100")),
		fmt.Sprintf("The latest run has %.2f.", ratio("MySQLAppend/writers=1")))
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
