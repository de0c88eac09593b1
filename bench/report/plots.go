package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// rowsPlot has a row for each thing that is measured, with a mark for each series.
type rowsPlot struct {
	title, axis string
	series      []string
	rows        []row
	bars        bool    // from zero, not marks by logarithms
	most        float64 // values above it are at the edge; 0 for none
	reference   float64 // a dashed line at this value; 0 for none
}

// row without values is a heading. A value that is NaN is not there.
type row struct {
	label  string
	values []float64
	reach  float64 // 0 for none
	note   string  // at the end of the row; the values if ""
}

const rowHeight, labels, notes = 24, 305, 165

func (p *rowsPlot) svg() string {
	var values []float64
	for _, r := range p.rows {
		for _, v := range append(r.values[:len(r.values):len(r.values)], r.reach) {
			if p.most > 0 {
				v = min(v, p.most)
			}
			if v > 0 {
				values = append(values, v)
			}
		}
	}
	x := around(values, labels, width-notes-10, !p.bars)
	top := 54.0
	if len(p.series) > 1 {
		top += 24
	}
	s := &svg{height: top + rowHeight*float64(len(p.rows)) + 34}
	s.text(10, 24, "strong", p.title)
	s.text(width-10, 24, "soft end", p.axis)
	if len(p.series) > 1 {
		s.legend(10, 50, p.series)
	}
	bottom := s.height - 30
	for _, tick := range x.ticks(6) {
		s.line(x.at(tick), top-10, x.at(tick), bottom, "grid")
		s.text(x.at(tick), bottom+14, "soft middle", short(tick))
	}
	if p.reference > 0 {
		s.line(x.at(p.reference), top-10, x.at(p.reference), bottom, "reach thin dashed")
	}
	for i, r := range p.rows {
		p.row(s, x, top+rowHeight*float64(i)+8, &r)
	}
	return s.document(p.title, p.words())
}

func (p *rowsPlot) row(s *svg, x scale, y float64, r *row) {
	if len(r.values) == 0 {
		s.text(10, y+4, "strong", r.label)
		return
	}
	s.text(10, y+4, "", r.label)
	height := 14 / float64(len(r.values))
	for i, v := range r.values {
		switch {
		case math.IsNaN(v):
		case p.bars:
			s.printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"/>\n", x.from, y-7+float64(i)*height, x.at(v)-x.from, height, class(i))
		default:
			s.mark(x.at(min(v, x.high)), y, i)
			if v > x.high {
				s.text(x.to+8, y+4, "", "›")
			}
		}
	}
	if r.reach > 0 {
		s.line(x.at(min(r.reach, x.high)), y-9, x.at(min(r.reach, x.high)), y+9, "reach")
	}
	s.text(width-10, y+4, "end", r.said())
}

func (r *row) said() string {
	if r.note != "" {
		return r.note
	}
	var texts []string
	for _, v := range r.values {
		if !math.IsNaN(v) {
			texts = append(texts, number(v))
		}
	}
	return strings.Join(texts, " · ")
}

// words are what the plot shows, for those who do not see it.
func (p *rowsPlot) words() string {
	var texts []string
	for _, r := range p.rows {
		if len(r.values) == 0 {
			continue
		}
		var values []string
		for i, v := range r.values {
			if !math.IsNaN(v) {
				values = append(values, strings.TrimSpace(p.series[i]+" "+number(v)))
			}
		}
		if r.reach > 0 {
			values = append(values, "to reach "+number(r.reach))
		}
		texts = append(texts, r.label+": "+strings.Join(values, ", "))
	}
	return fmt.Sprintf("In %s. %s.", p.axis, strings.Join(texts, "; "))
}

// panelsPlot has several small plots of lines with the same axes, which are logarithmic.
type panelsPlot struct {
	title, across, up string
	series            []string
	panels            []panel
	reference         float64 // a dashed line at this height; 0 for none
	columns           int
}

type panel struct {
	title string
	lines [][]point // of each series
}

type point struct{ x, y float64 }

func (p *panelsPlot) svg() string {
	const top, panelHeight, left, gap = 66.0, 210.0, 52.0, 22.0
	rows := (len(p.panels) + p.columns - 1) / p.columns
	s := &svg{height: top + panelHeight*float64(rows) + 8}
	s.text(10, 24, "strong", p.title)
	s.legend(10, 48, p.series)
	var xs, ys []float64
	for _, panel := range p.panels {
		for _, line := range panel.lines {
			for _, pt := range line {
				xs, ys = append(xs, pt.x), append(ys, pt.y)
			}
		}
	}
	if p.reference > 0 {
		ys = append(ys, p.reference)
	}
	inner := (width - left - 10 - gap*float64(p.columns-1)) / float64(p.columns)
	for i := range p.panels {
		x0 := left + float64(i%p.columns)*(inner+gap)
		y0 := top + panelHeight*float64(i/p.columns)
		x, y := around(xs, x0+8, x0+inner-8, true), around(ys, y0+panelHeight-50, y0+16, true)
		x.low, x.high = slices.Min(xs), slices.Max(xs)
		p.panel(s, &p.panels[i], x, y, frame{x0, inner, i%p.columns == 0})
	}
	return s.document(p.title, p.words())
}

// frame is where a panel is, and whether it is the first of its row.
type frame struct {
	left, width float64
	first       bool
}

func (p *panelsPlot) panel(s *svg, panel *panel, x, y scale, f frame) {
	s.text(f.left, y.to-2, "strong", panel.title)
	for _, tick := range y.ticks(5) {
		s.line(f.left, y.at(tick), f.left+f.width, y.at(tick), "grid")
		if f.first {
			s.text(f.left-6, y.at(tick)+4, "soft end", short(tick))
		}
	}
	seen := map[float64]bool{}
	for _, line := range panel.lines {
		for _, pt := range line {
			if !seen[pt.x] {
				seen[pt.x] = true
				s.text(x.at(pt.x), y.from+18, "soft middle", short(pt.x))
			}
		}
	}
	s.text(f.left+f.width/2, y.from+34, "soft middle", p.across)
	if p.reference > 0 {
		s.line(f.left, y.at(p.reference), f.left+f.width, y.at(p.reference), "reach dashed")
	}
	for i, line := range panel.lines {
		var path []string
		for _, pt := range line {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(pt.x), y.at(pt.y)))
		}
		s.printf("<polyline points=\"%s\" class=\"line %s\"/>\n", strings.Join(path, " "), class(i))
		for _, pt := range line {
			s.mark(x.at(pt.x), y.at(pt.y), i)
		}
	}
}

func (p *panelsPlot) words() string {
	var texts []string
	for _, panel := range p.panels {
		for i, line := range panel.lines {
			var points []string
			for _, pt := range line {
				points = append(points, number(pt.y)+" at "+short(pt.x))
			}
			if len(points) > 0 {
				texts = append(texts, fmt.Sprintf("%s, %s: %s", panel.title, p.series[i], strings.Join(points, ", ")))
			}
		}
	}
	return fmt.Sprintf("%s, by %s. %s.", p.up, p.across, strings.Join(texts, "; "))
}
