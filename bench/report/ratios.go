package main

import (
	"fmt"
	"math"
	"strings"
)

// compared is a result with a ratio.
type compared struct {
	storage             storage
	text                string
	evento, raw         float64
	ratio, reach        float64
	hasReach, isReached bool
}

// said is the ratio; one that is not reached is not rounded up to the goal.
func (c *compared) said() string {
	if !c.isReached && times(c.ratio) == times(c.reach) {
		return times(math.Floor(c.ratio*100) / 100)
	}
	return times(c.ratio)
}

// compared returns what the run has compared with something, in the order of the page.
func (p *page) compared() (all []compared) {
	texts := map[string]int{}
	known := comparisons()
	for i, c := range known {
		texts[c.what] = i
	}
	byText := make([][]compared, len(known)+1)
	for _, r := range p.run.results {
		ratio, ok := r.of("ratio")
		if !ok || strings.HasPrefix(r.name, "Growth/") {
			continue
		}
		p.written[r.name] = true
		s, what := split(r.name)
		if s.key == "" {
			s = storages()[0] // what is on one storage is on SQLite
		}
		c := compared{storage: s, text: what, ratio: ratio}
		at, ok := texts[r.name] // what is different on this storage
		if !ok {
			at, ok = texts[what]
		}
		if !ok {
			at = len(known)
		} else {
			c.text = known[at].text
		}
		c.evento, _ = r.of("evento/s")
		c.raw, _ = r.of("raw/s")
		c.reach, c.hasReach = r.of("reach")
		c.isReached = !c.hasReach || ratio >= c.reach
		byText[at] = append(byText[at], c)
	}
	for _, cs := range byText {
		all = append(all, cs...)
	}
	return all
}

// goals says which ratios are not what they are to be.
func (p *page) goals() {
	reached, of := 0, 0
	var below []string
	for _, c := range p.compared() {
		if !c.hasReach {
			continue
		}
		of++
		if c.isReached {
			reached++
			continue
		}
		below = append(below, fmt.Sprintf("- %s: %s: %s of %s", c.storage.name, c.text, c.said(), times(c.reach)))
	}
	p.printf("%d of %d goals are reached in this run.", reached, of)
	if len(below) > 0 {
		p.printf(" Not reached:\n\n%s", strings.Join(below, "\n"))
	}
	p.printf("\n\n")
}

func (p *page) ratios(s storage) {
	var rows [][]string
	plot := &rowsPlot{title: s.name + ": evento's rate to the other's", axis: "ratio; the bar is the goal", series: []string{""}, most: 10, reference: 1}
	for _, c := range p.compared() {
		if c.storage != s {
			continue
		}
		goal, met := "–", ""
		if c.hasReach {
			goal, met = times(c.reach), "yes"
		}
		if !c.isReached {
			met = "**no**"
		}
		rows = append(rows, []string{c.text, number(c.evento) + "/s", number(c.raw) + "/s", c.said(), goal, met})
		what, _, _ := strings.Cut(c.text, ";")
		note := c.said()
		if c.hasReach {
			note += " of " + times(c.reach)
		}
		plot.rows = append(plot.rows, row{what, []float64{c.ratio}, c.reach, note})
	}
	if len(rows) == 0 {
		return
	}
	p.printf("### %s\n\n", s.name)
	p.picture("bench-ratios-"+strings.ToLower(s.key)+".svg", "Ratios on "+s.name, plot.svg())
	table(&p.text, 1, []string{"evento; the other", "evento", "the other", "ratio", "goal", "reached"}, rows)
	p.printf("\n")
}
