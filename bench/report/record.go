package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// record is a run: what go test -bench has written, with lines "key: value" before.
type record struct {
	about   map[string]string
	results []result
}

// result is one line: a benchmark's name without its Benchmark and the number of processors,
// and what it has measured by unit.
type result struct {
	name    string
	figures []figure
}

type figure struct {
	value float64
	unit  string
}

// of returns the figure with a unit.
func (r *result) of(unit string) (float64, bool) {
	for _, f := range r.figures {
		if f.unit == unit {
			return f.value, true
		}
	}
	return 0, false
}

// result returns that of a name, and nil if the run has none.
func (r *record) result(name string) *result {
	for i := range r.results {
		if r.results[i].name == name {
			return &r.results[i]
		}
	}
	return nil
}

// figure returns one of a result's figures.
func (r *record) figure(name, unit string) (float64, bool) {
	if found := r.result(name); found != nil {
		return found.of(unit)
	}
	return 0, false
}

var (
	aboutLine  = regexp.MustCompile(`^([a-z][a-z0-9-]*): +(.+)$`)
	resultLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.+)$`)
)

// readRecord reads a run. Lines that are neither are left out; a benchmark that failed is an
// error, as a page without its row would not say so.
func readRecord(from io.Reader) (*record, error) {
	r := &record{about: map[string]string{}}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " ")
		if strings.HasPrefix(strings.TrimSpace(line), "--- FAIL") {
			return nil, fmt.Errorf("the run has failed: %s", line)
		}
		if m := aboutLine.FindStringSubmatch(line); m != nil {
			r.about[m[1]] = m[2]
			continue
		}
		m := resultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		figures, err := parseFigures(strings.Fields(m[2]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m[1], err)
		}
		r.results = append(r.results, result{m[1], figures})
	}
	return r, lines.Err()
}

// parseFigures parses values and units in turn.
func parseFigures(words []string) (figures []figure, err error) {
	for i := 0; i+1 < len(words); i += 2 {
		value, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return nil, err
		}
		if unit := words[i+1]; unit != "ns/op" {
			figures = append(figures, figure{value, unit})
		}
	}
	return figures, nil
}
