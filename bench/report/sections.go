package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// writers compares throughput for numbers of writers.
func (p *page) writers() {
	p.printf("## Writers\n\n")
	p.prose("Commits of one event a second by 1 to 64 writers, each to an aggregate of its own, beside as many with the driver alone. On servers the driver's rows have no order; evento's have one. Those that wait are stored together.")
	plot := &panelsPlot{title: "Durable commits a second, by writers", across: "writers", up: "Commits a second", series: []string{"evento", "raw driver"}, columns: 3}
	var rows [][]string
	for _, s := range storages() {
		lines := make([][]point, 2)
		cells := []string{s.name}
		for _, n := range []int{1, 4, 16, 64} {
			name := fmt.Sprintf("%sAppend/writers=%d", s.key, n)
			for i, unit := range []string{"evento/s", "raw/s"} {
				if v, ok := p.figure(name, unit); ok {
					lines[i] = append(lines[i], point{float64(n), v})
				}
			}
			cells = append(cells, p.cell(name, "evento/s", "")+" · "+p.cell(name, "raw/s", ""))
		}
		if len(lines[0]) > 0 {
			plot.panels = append(plot.panels, panel{s.name, lines})
			rows = append(rows, cells)
		}
	}
	p.pictured("bench-writers.svg", "Commits a second by writers, evento and the raw driver", plot.svg, 1, []string{"evento · driver, a second", "1 writer", "4", "16", "64"}, rows)
}

func (p *page) latency() {
	p.printf("## Latency\n\n")
	p.prose("One writer at a time: how long a commit takes, and how long after it a subscription's handler in the same process has the event; 0 is before Commit has returned. Half, 99 of 100 and 999 of 1,000 are as fast or faster.")
	plot := &rowsPlot{title: "Latency", axis: "ms", series: []string{"p50", "p99", "p99.9"}}
	var rows [][]string
	for _, what := range []struct{ key, name string }{{"append", "commit"}, {"handler", "from the commit to the handler"}} {
		for _, s := range storages() {
			name := "Latency/" + s.key + "/" + what.key
			values, cells := []float64{}, []string{what.name, s.name}
			for _, unit := range []string{"ms-p50", "ms-p99", "ms-p99.9"} {
				v, ok := p.figure(name, unit)
				if !ok {
					break
				}
				values, cells = append(values, v), append(cells, number(v)+" ms")
			}
			if len(values) == 3 {
				rows = append(rows, cells)
				plot.rows = append(plot.rows, row{label: s.name + ": " + what.name, values: values})
			}
		}
	}
	p.pictured("bench-latency.svg", "Latency of commits, and from the commit to the handler", plot.svg, 2, []string{"what", "storage", "p50", "p99", "p99.9"}, rows)
}

func (p *page) growth() {
	p.printf("## Growth\n\n")
	p.prose("The rate on a store of that many events to the rate on one of 10,000, in turns: appends by 64 writers, loads of 100 events, pages of 1,000 from anywhere. At least 0.80 is to be reached. Ten million events are on the embedded storages alone.")
	plot := &panelsPlot{title: "Rate on a store that has grown, to one of 10,000 events", across: "events", up: "Ratio", reference: 0.8, columns: 3}
	for _, s := range databases() {
		plot.series = append(plot.series, s.name)
	}
	var rows [][]string
	for _, what := range []struct{ key, name string }{{"append", "append"}, {"load", "load"}, {"page", "page"}} {
		lines := make([][]point, len(databases()))
		for i, s := range databases() {
			cells := []string{what.name, s.name}
			lines[i] = []point{{10_000, 1}}
			for _, events := range []int{100_000, 1_000_000, 10_000_000} {
				name := fmt.Sprintf("Growth/%s/events=%d/%s", s.key, events, what.key)
				ratio, ok := p.figure(name, "ratio")
				if !ok {
					cells = append(cells, "–")
					continue
				}
				lines[i] = append(lines[i], point{float64(events), ratio})
				cells = append(cells, fmt.Sprintf("%s/s, %.2f", p.cell(name, "evento/s", ""), ratio))
			}
			rows = append(rows, cells)
		}
		plot.panels = append(plot.panels, panel{what.name, lines})
	}
	p.pictured("bench-growth.svg", "Rates on stores that have grown", plot.svg, 2, []string{"what", "storage", "100,000 events", "1,000,000", "10,000,000"}, rows)
}

func (p *page) bytes() {
	p.printf("## Bytes on the disk\n\n")
	p.prose("What an event takes on the disk, with its indexes, in a store of 100,000: the payload is 300 random bytes, which nothing can compress. Pebble stores each event under two keys; the servers have indexes, and room in their pages.")
	plot := &rowsPlot{title: "Bytes on the disk for an event with 300 bytes of payload", axis: "bytes", series: []string{"payload", "all"}, bars: true}
	var rows [][]string
	for _, s := range databases() {
		all, ok := p.figure("Bytes/"+s.key, "bytes-an-event")
		payload, _ := p.figure("Bytes/"+s.key, "bytes-of-payload")
		if !ok {
			continue
		}
		rows = append(rows, []string{s.name, number(payload), number(all), fmt.Sprintf("%.2f", all/payload)})
		plot.rows = append(plot.rows, row{label: s.name, values: []float64{payload, all}})
	}
	p.pictured("bench-bytes.svg", "Bytes on the disk for an event", plot.svg, 1, []string{"storage", "payload", "on the disk", "to the payload"}, rows)
}

func (p *page) memory() {
	p.printf("## Memory\n\n")
	p.prose("The peak of resident memory of a process that does one thing with a million events of one aggregate: nothing but open the store, load the aggregate, catch up with a subscription, export all. The program itself, with all drivers, is in it.")
	plot := &rowsPlot{title: "Peak of resident memory with a million events", axis: "MiB", series: []string{""}, bars: true}
	var rows [][]string
	for _, s := range databases() {
		cells := []string{s.name}
		for _, what := range []struct{ key, name string }{{"open", "open"}, {"load", "load"}, {"catchup", "catch up"}, {"export", "export"}} {
			name := "Memory/" + s.key + "/" + what.key
			peak, ok := p.figure(name, "MiB-peak")
			if !ok {
				continue
			}
			text := number(peak) + " MiB"
			if rate, ok := p.figure(name, "events/s"); ok {
				text += ", " + number(rate) + "/s"
			}
			cells = append(cells, text)
			plot.rows = append(plot.rows, row{label: s.name + ": " + what.name, values: []float64{peak}})
		}
		if len(cells) == 5 {
			rows = append(rows, cells)
		}
	}
	p.pictured("bench-memory.svg", "Peak of memory of four things", plot.svg, 1, []string{"storage", "open", "load", "catch up", "export"}, rows)
}

// tags is the table of docs/deciding.md.
func (p *page) tags() {
	p.printf("## Conditions, tags, deadlines\n\n")
	p.prose("What [deciding.md](deciding.md) is about: conditional writes to plain ones, reads by tags from a million events, and what both take.")
	ratio := func(writers int) func(storage) string {
		return func(s storage) string {
			v, ok := p.figure(fmt.Sprintf("Conditional/%s/writers=%d", s.key, writers), "ratio")
			if !ok {
				return "–"
			}
			return fmt.Sprintf("%.2f", v)
		}
	}
	p.block("tags", func() {
		p.each("", []rowOf{
			{"writes of an event with two tags and a condition on them, to plain ones, 1 writer", ratio(1)},
			{"the same, 64 writers", ratio(64)},
			{"reading the 10 events that have two tags, out of a million", func(s storage) string { return p.cell("Tags/"+s.key+"/events=1000000", "ms-for-10-hits", " ms") }},
			{"bytes on the disk for a tag", func(s storage) string { return p.cell("TagBytes/"+s.key, "bytes-a-tag", "") }},
			{"how late a deadline is, half of them", func(s storage) string { return p.cell("Deadline/"+s.key, "ms-late-p50", " ms") }},
			{"99 of 100 of them", func(s storage) string { return p.cell("Deadline/"+s.key, "ms-late-p99", " ms") }},
		})
	})
}

// console is how fast its pages are.
func (p *page) console() {
	found := map[string]bool{}
	var rows [][]string
	for _, r := range p.run.results {
		rest, ok := strings.CutPrefix(r.name, "ConsolePages/")
		if !ok {
			continue
		}
		p.written[r.name] = true
		_, name, _ := strings.Cut(rest, "/")
		if found[name] {
			continue
		}
		found[name] = true
		rows = append(rows, []string{name, p.cell("ConsolePages/SQLite/"+name, "p95-ms", " ms"), p.cell("ConsolePages/Postgres/"+name, "p95-ms", " ms")})
	}
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	p.printf("## The console\n\n")
	p.prose("Pages of the console on a store of a million events: 95 of 100 requests have their first byte by then. 50 ms are to be reached.")
	table(&p.text, 1, []string{"page", "SQLite", "PostgreSQL"}, rows)
	p.printf("\n")
}

// orNone makes what is not there a value that plots leave out.
func orNone(v float64, ok bool) float64 {
	if !ok {
		return math.NaN()
	}
	return v
}
