package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// page is docs/benchmarks.md while it is written.
type page struct {
	run      *record
	text     strings.Builder
	pictures map[string]string // by file name
	written  map[string]bool   // the results that have their place
}

func newPage(r *record) *page {
	return &page{run: r, pictures: map[string]string{}, written: map[string]bool{}}
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

// prose writes a paragraph.
func (p *page) prose(format string, args ...any) {
	const most = 92
	length := 0
	for i, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		switch {
		case i == 0:
		case length+1+len(word) > most:
			p.text.WriteString("\n")
			length = 0
		default:
			p.text.WriteString(" ")
			length++
		}
		p.text.WriteString(word)
		length += len(word)
	}
	p.text.WriteString("\n\n")
}

// figure returns a figure of the run, and notes that the page has it.
func (p *page) figure(name, unit string) (float64, bool) {
	p.written[name] = true
	return p.run.figure(name, unit)
}

// cell is a figure in a table, with what comes after it.
func (p *page) cell(name, unit, after string) string {
	v, ok := p.figure(name, unit)
	if !ok {
		return "–"
	}
	return number(v) + after
}

func (p *page) picture(name, title, svg string) {
	p.pictures[name] = svg
	p.printf("![%s](images/%s)\n\n", title, name)
}

// pictured writes a picture and the table of its figures, if there are any. Text is in the
// first columns of the table.
func (p *page) pictured(name, title string, svg func() string, text int, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.picture(name, title, svg())
	table(&p.text, text, head, rows)
	p.printf("\n")
}

// block writes what another document has too, between markers.
func (p *page) block(name string, write func()) {
	begin, end := marked(name)
	p.text.WriteString(begin)
	write()
	p.text.WriteString(end + "\n")
}

func (p *page) write() string {
	p.printf("# Benchmarks\n\n")
	p.intro()
	p.block("figures", p.summary)
	p.printf("## Against the raw drivers\n\n")
	p.prose("Each line compares evento with the driver alone, or with what its second half says: same schema, payload and durability, in turns, medians of %s rounds. The ratio is evento's rate to the other's; 1 costs nothing.", p.run.about["rounds"])
	p.goals()
	for _, s := range storages() {
		p.ratios(s)
	}
	p.writers()
	p.latency()
	p.growth()
	p.bytes()
	p.memory()
	p.tags()
	p.console()
	p.peers()
	p.rest()
	return strings.TrimRight(p.text.String(), "\n") + "\n"
}

func (p *page) intro() {
	about := p.run.about
	p.prose("`make bench` makes this page: it runs the module `bench/`, whose output is in [bench/latest.txt](../bench/latest.txt), and draws it. Payloads are about 300 bytes; everything is durable when a commit returns.")
	p.printf("%s · %s · %s cores · load %s when it began · %s rounds in %s · %s", about["date"], about["cpu"], about["cores"], about["load"], about["rounds"], about["took"], about["go"])
	for _, key := range slices.Sorted(maps.Keys(about)) {
		if name, ok := strings.CutPrefix(key, "with-"); ok {
			p.printf(" · %s %s", name, about[key])
		}
	}
	p.printf("\n\n")
	if p.busy() {
		p.prose("**The machine was busy with other things during this run**: a figure can be off by half and more, on either side of a ratio. Run it on a quiet one.")
	}
}

// busy reports whether others used the machine when the run began.
func (p *page) busy() bool {
	load, err := strconv.ParseFloat(p.run.about["load"], 64)
	cores, err2 := strconv.ParseFloat(p.run.about["cores"], 64)
	return err == nil && err2 == nil && load > cores/2
}

// rowOf is a row of a table with a cell for each database.
type rowOf struct {
	label string
	cell  func(storage) string
}

// summary is the table of the README.
func (p *page) summary() {
	p.each("durable", []rowOf{
		{"append, 64 writers", p.rate("Append/writers=64")},
		{"append, 1 writer", p.rate("Append/writers=1")},
		{"the same with two tags and a condition, to without, 64 and 1", func(s storage) string {
			return p.ratio("Conditional/"+s.key+"/writers=64") + ", " + p.ratio("Conditional/"+s.key+"/writers=1")
		}},
		{"load an aggregate of 100 events", p.rate("Load/events=100")},
		{"read everything", p.rate("ReadAll/scan")},
		{"subscription catching up, to reading everything", func(s storage) string { return p.ratio("CatchUp/" + s.key) }},
		{"8 partitions, handler of 1 ms, to one", func(s storage) string { return p.ratio("Partitions/" + s.key) }},
		{"from a commit to its handler, half of them and 99 of 100", func(s storage) string {
			return p.cell("Latency/"+s.key+"/handler", "ms-p50", "") + ", " + p.cell("Latency/"+s.key+"/handler", "ms-p99", " ms")
		}},
	})
	p.printf("\nThe × is the ratio to the raw driver.")
	if rate, ok := p.figure("PostgresOtherProcess", "evento/s"); ok {
		p.printf(" On PostgreSQL it is %s ms from a commit to a handler\nin another process.", number(1000/rate))
	}
	if p.busy() {
		p.printf(" The machine was busy with other\nthings during this run.")
	}
	p.printf("\n")
}

func (p *page) ratio(name string) string {
	v, ok := p.figure(name, "ratio")
	if !ok {
		return "–"
	}
	return times(v) + " ×"
}

// rate returns cells with the rate and the ratio of a benchmark that has its storage in front.
func (p *page) rate(name string) func(storage) string {
	return func(s storage) string {
		full := s.key + name
		if p.run.result(full) == nil {
			full = strings.TrimSuffix(full, "/scan") // the only one there is
		}
		ratio := p.ratio(full)
		if ratio == "–" {
			return ratio
		}
		return p.cell(full, "evento/s", "/s") + ", " + ratio
	}
}

// each writes a table with a column for each database.
func (p *page) each(first string, rows []rowOf) {
	header, texts := []string{first}, make([][]string, len(rows))
	for i, r := range rows {
		texts[i] = []string{r.label}
	}
	for _, s := range databases() {
		header = append(header, s.name)
		for i, r := range rows {
			texts[i] = append(texts[i], r.cell(s))
		}
	}
	table(&p.text, 1, header, texts)
}

// rest are results that no section knows: a new benchmark is on the page at once.
func (p *page) rest() {
	var rows [][]string
	for _, r := range p.run.results {
		if p.written[r.name] {
			continue
		}
		var figures []string
		for _, f := range r.figures {
			figures = append(figures, number(f.value)+" "+f.unit)
		}
		rows = append(rows, []string{r.name, strings.Join(figures, ", ")})
	}
	if len(rows) > 0 {
		p.printf("## The rest\n\nWhat is measured alone, by the name of its benchmark.\n\n")
		table(&p.text, 1, []string{"benchmark", "measured"}, rows)
	}
}
