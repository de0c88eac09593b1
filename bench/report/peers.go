package main

import (
	"fmt"
	"slices"
	"strings"
)

// library is one that the run has beside evento.
type library struct{ key, name, promise string }

func libraries() []library {
	return []library{
		{"evento", "evento", "one order of all events, which is that of the commits; versions of an aggregate without gaps; a subscriber gets every event in that order, however late a commit ends"},
		{"watermill-sql", "watermill-sql", "messages in a table, without aggregates and versions; in the order in which transactions began, and none before all older transactions have ended: a long one holds all back, and none is lost. It looks for new messages every millisecond here; its default is a second"},
		{"evento-rs", "evento in Rust", "versions of an aggregate without gaps; events in the order of the server's clock at their statements. A subscriber leaves the newest second alone, and what is committed later than that is lost to it"},
	}
}

// measure is a column of the comparison.
type measure struct {
	key, unit, name string
	less            bool // is better
	why             map[string]string
}

func measures() []measure {
	plain := "its insert has no version to judge and no order of commits to keep"
	return []measure{
		{key: "append/writers=1/events=1", unit: "events/s", name: "1 writer", why: map[string]string{
			"watermill-sql": plain,
			"evento-rs":     "its insert has no place in one order to take, and on SQLite its driver is the library in C",
		}},
		{key: "append/writers=64/events=1", unit: "events/s", name: "64 writers", why: map[string]string{"watermill-sql": plain}},
		{key: "append/writers=1/events=100", unit: "events/s", name: "100 a commit", why: map[string]string{
			"watermill-sql": plain, "evento-rs": "one statement of many rows, which have no place in one order to take",
		}},
		{key: "load", unit: "loads/s", name: "loads of 100"},
		{key: "catchup", unit: "events/s", name: "catching up"},
		{key: "handler", unit: "ms-p50", name: "commit to handler, ms", less: true},
	}
}

// peers compares with other libraries.
func (p *page) peers() {
	p.printf("## Beside other libraries\n\n")
	p.prose("In one run with evento, each as its documentation says, with the same durability, up to 64 connections to a server and payloads of 300 bytes: events a second for 1 and 64 writers and for commits of 100 events, loads a second of an aggregate of 100 events, events a second of a new subscriber, and ms from a commit to its handler, half of the time. **Bold** is the best.")
	for _, s := range []storage{storages()[0], storages()[2]} {
		p.peersOn(s)
	}
	p.losses()
	p.printf("What each promises about order:\n\n")
	for _, l := range p.libraries() {
		p.printf("- **%s**: %s.\n", strings.TrimSpace(l.name+" "+p.run.about["with-"+l.key]), l.promise)
	}
	p.printf("\n")
	if p.run.about["with-evento-rs"] == "" {
		p.printf("The original in Rust is left out of this run: there was no cargo that could build it.\n\n")
	}
}

func (p *page) peersOn(s storage) {
	header := []string{s.name}
	plot := &rowsPlot{title: s.name + ": events stored a second", axis: "events a second"}
	rows := map[string][]string{}
	var better []string
	for _, m := range measures() {
		header = append(header, m.name)
		values, best := p.values(s, m)
		for _, l := range libraries() {
			text := "–"
			if v, ok := values[l.key]; ok {
				if text = number(v); v == best {
					text = "**" + text + "**"
				}
			}
			rows[l.key] = append(rows[l.key], text)
			if v, ok := values[l.key]; ok && v == best && l.key != "evento" {
				better = append(better, fmt.Sprintf("- %s is better at %s, with %s to %s: %s.", l.name, m.name, number(v), number(values["evento"]), m.reason(l.key)))
			}
		}
		if strings.HasPrefix(m.key, "append") && len(values) > 0 {
			var marks []float64
			for _, l := range p.libraries() {
				v, ok := values[l.key]
				marks = append(marks, orNone(v, ok))
			}
			plot.rows = append(plot.rows, row{label: m.name, values: marks})
		}
	}
	if len(plot.rows) == 0 {
		return
	}
	var all [][]string
	for _, l := range p.libraries() {
		plot.series = append(plot.series, l.name)
		if slices.ContainsFunc(rows[l.key], func(cell string) bool { return cell != "–" }) {
			all = append(all, append([]string{l.name}, rows[l.key]...))
		}
	}
	p.printf("### On %s\n\n", s.name)
	p.picture("bench-peers-"+strings.ToLower(s.key)+".svg", "Other libraries on "+s.name, plot.svg())
	table(&p.text, 1, header, all)
	p.printf("\n")
	if len(better) > 0 {
		p.printf("%s\n\n", strings.Join(better, "\n"))
	}
}

// libraries are those that the run has.
func (p *page) libraries() (had []library) {
	for _, l := range libraries() {
		if l.key == "evento" || p.run.about["with-"+l.key] != "" {
			had = append(had, l)
		}
	}
	return had
}

// values are those of a measure by library, and the best of them.
func (p *page) values(s storage, m measure) (values map[string]float64, best float64) {
	values = map[string]float64{}
	for _, l := range libraries() {
		v, ok := p.figure("Peers/"+s.key+"/"+m.key, l.key+":"+m.unit)
		if !ok {
			continue
		}
		if len(values) == 0 || v < best == m.less && v != best {
			best = v
		}
		values[l.key] = v
	}
	return values, best
}

func (m *measure) reason(library string) string {
	if why := m.why[library]; why != "" {
		return why
	}
	return "not explained yet"
}

// losses is how many events subscribers never got.
func (p *page) losses() {
	events, ok := p.figure("Peers/Postgres/lost/late=0s", "events")
	if !ok {
		return
	}
	var rows [][]string
	for _, l := range p.libraries() {
		cells := []string{l.name}
		for _, name := range []string{"SQLite/lost/late=0s", "Postgres/lost/late=0s", "Postgres/lost/late=20ms", "Postgres/lost/late=1.5s"} {
			lost, ok := p.figure("Peers/"+name, l.key+":lost")
			if !ok {
				cells = append(cells, "–")
				continue
			}
			cells = append(cells, fmt.Sprintf("%.0f", lost))
		}
		rows = append(rows, cells)
	}
	p.printf("### Events lost\n\n")
	p.prose("How many of %s events a subscriber never gets that runs while four writers commit them, one each. Late commits are made by a trigger of the server, which sleeps at the commit of one row in 50, or in 700, as a busy disk or a slow replica would.", number(events))
	table(&p.text, 1, []string{"lost", "SQLite", "PostgreSQL", "commits 20 ms late", "commits 1.5 s late"}, rows)
	p.printf("\n")
}
