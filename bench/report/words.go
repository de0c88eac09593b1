package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// storage is one, as benchmarks name it and as the page does.
type storage struct{ key, name string }

func storages() []storage {
	return []storage{{"SQLite", "SQLite"}, {"Pebble", "Pebble"}, {"Postgres", "PostgreSQL"}, {"MySQL", "MariaDB"}, {"JetStream", "JetStream"}}
}

// databases are those that have every row.
func databases() []storage { return storages()[:4] }

// split takes the storage out of a benchmark's name, where it is a part or the beginning.
func split(name string) (of storage, what string) {
	for _, s := range storages() {
		if rest, ok := strings.CutPrefix(name, s.key); ok {
			return s, rest
		}
		first, rest, _ := strings.Cut(name, "/")
		if rest == s.key {
			return s, first
		}
		if rest, ok := strings.CutPrefix(rest, s.key+"/"); ok {
			return s, first + "/" + rest
		}
	}
	return storage{}, name
}

// comparison is a row of the ratios: what is measured, and beside what.
type comparison struct{ what, text string }

func comparisons() []comparison {
	return []comparison{
		{"Append/writers=1", "append, 1 writer; the driver alone"},
		{"Append/writers=4", "append, 4 writers; as many with the driver alone"},
		{"Append/writers=16", "append, 16 writers; as many with the driver alone"},
		{"Append/writers=64", "append, 64 writers; as many with the driver alone"},
		{"AppendOf100", "append of 100 events; 100 rows at once"},
		{"Load/events=5", "load of 5 events; query and decode"},
		{"Load/events=100", "load of 100 events; query and decode"},
		{"Load/events=10000", "load of 10,000 events; query and decode"},
		{"LoadWithSnapshot", "load of 10,000 events with a snapshot; without"},
		{"ReadAll", "read everything; pages of 1,000 by position"},
		{"ReadAll/scan", "read everything; pages of 1,000 by position"},
		{"CatchUp", "a new subscription; just reading everything"},
		{"JetStreamCatchUp", "a new subscription; one on Pebble"},
		{"ReadAll/subscription", "the same of fewer events; just reading them"},
		{"ReadAll/subscription/chunk=1000", "the same in chunks of 1,000; just reading them"},
		{"Partitions", "8 partitions, a handler of 1 ms; 1 partition"},
		{"Poison", "one aggregate in 1,000 fails; none does"},
		{"Conditional/writers=1", "append with 2 tags and a condition, 1 writer; plain"},
		{"Conditional/writers=64", "the same, 64 writers; plain"},
		{"Conflicts", "a commit beside 50 that conflict; beside 50 that do not"},
		{"HotAggregate", "50 goroutines update one aggregate; behind a mutex"},
		{"HotAggregateOfTwo", "the same through two executors; behind a mutex"},
		{"OtherProcess", "commit to handler elsewhere; LISTEN and NOTIFY"},
		{"ConsoleViewers", "commit beside 200 open console pages; beside none"},
	}
}

// number writes three digits of a number that count, with commas: 71,000, 0.0213.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	scale := math.Pow(10, float64(digits))
	rounded := math.Round(v*scale) / scale
	text := strconv.FormatFloat(rounded, 'f', max(0, digits), 64)
	for i := len(text) - 3; digits <= 0 && i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func times(ratio float64) string {
	if ratio >= 20 {
		return number(math.Round(ratio))
	}
	if ratio >= 2 {
		return fmt.Sprintf("%.1f", ratio)
	}
	return fmt.Sprintf("%.2f", ratio)
}

// table writes a table of Markdown: texts left, figures right. No empty line follows.
func table(to *strings.Builder, texts int, header []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(to, "| %s |\n", strings.Join(cells, " | ")) }
	line(header)
	to.WriteString("|" + strings.Repeat("---|", texts) + strings.Repeat("---:|", len(header)-texts) + "\n")
	for _, row := range rows {
		line(row)
	}
}
