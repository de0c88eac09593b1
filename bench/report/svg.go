package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// svg is a picture that is 700 wide. It has the colors of the reader's scheme, and says in
// words what it shows.
type svg struct {
	body   strings.Builder
	height float64
}

const width = 700

const style = `<style>
svg { --back: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --a: #0969da; --b: #9a6700; --c: #8250df; --d: #1a7f37; --e: #bf3989 }
@media (prefers-color-scheme: dark) {
svg { --back: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --grid: #30363d; --a: #58a6ff; --b: #d29922; --c: #bc8cff; --d: #3fb950; --e: #f778ba }
}
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: var(--ink) }
.soft { fill: var(--soft) } .strong { font-weight: 600 } .end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: var(--grid); stroke-width: 1 } .reach { stroke: var(--ink); stroke-width: 2 } .thin { stroke-width: 1 } .dashed { stroke-dasharray: 5 4 }
.line { fill: none; stroke-width: 2 }
.a { fill: var(--a); stroke: var(--a) } .b { fill: var(--b); stroke: var(--b) } .c { fill: var(--c); stroke: var(--c) }
.d { fill: var(--d); stroke: var(--d) } .e { fill: var(--e); stroke: var(--e) } .line.a, .line.b, .line.c, .line.d, .line.e { fill: none }
</style>
`

// classes are those of the series, in order.
func class(series int) string { return string(rune('a' + series%5)) }

func (s *svg) printf(format string, args ...any) { fmt.Fprintf(&s.body, format, args...) }

func (s *svg) text(x, y float64, class, text string) {
	s.printf("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, class string) {
	s.printf("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class)
}

// mark draws a series' own shape, so that colors alone do not tell them apart.
func (s *svg) mark(x, y float64, series int) {
	const r = 4.5
	switch class(series) {
	case "a":
		s.printf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"a\"/>\n", x, y, r)
	case "b":
		s.printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\" class=\"b\"/>\n", x-4, y-4)
	case "c":
		s.printf("<path d=\"M%.1f %.1fl5 9h-10z\" class=\"c\"/>\n", x, y-5)
	case "d":
		s.printf("<path d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\" class=\"d\"/>\n", x, y-5)
	default:
		s.printf("<path d=\"M%.1f %.1fl9 9m0 -9l-9 9\" class=\"line e\"/>\n", x-4.5, y-4.5)
	}
}

// legend writes the names of series beside their marks.
func (s *svg) legend(x, y float64, names []string) {
	for i, name := range names {
		s.mark(x+5, y-4, i)
		s.text(x+15, y, "", name)
		x += 32 + 7*float64(len(name))
	}
}

func (s *svg) document(title, description string) string {
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\" aria-labelledby=\"title desc\">\n"+
		"<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n%s<rect width=\"100%%\" height=\"100%%\" style=\"fill: var(--back)\"/>\n%s</svg>\n",
		width, s.height, width, s.height, html.EscapeString(title), html.EscapeString(description), style, s.body.String())
}

// scale maps values to places on the picture, by their size or by their logarithms.
type scale struct {
	low, high, from, to float64
	log                 bool
}

func (c scale) at(v float64) float64 {
	low, high := c.low, c.high
	if c.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(max(v, c.low))
	}
	return c.from + (c.to-c.from)*(v-low)/(high-low)
}

// around returns a scale that has all values in it, with round ends.
func around(values []float64, from, to float64, log bool) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if !log {
		return scale{0, high * 1.05, from, to, false}
	}
	low, high = step(low, -1), step(high, 1)
	if low == high {
		low, high = low/2, high*2
	}
	return scale{low, high, from, to, true}
}

// step goes on, up or down, to a 1, 2 or 5 of some power of ten.
func step(v float64, direction int) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	steps := []float64{1, 2, 5, 10}
	if direction > 0 {
		for _, s := range steps {
			if s*power >= v {
				return s * power
			}
		}
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i]*power <= v {
			return steps[i] * power
		}
	}
	return power
}

// ticks are at most so many round values on the scale.
func (c scale) ticks(most int) (values []float64) {
	if !c.log {
		power := math.Pow(10, math.Floor(math.Log10(c.high/float64(most))))
		width := power * 10
		for _, s := range []float64{1, 2, 5} {
			if c.high/(s*power) <= float64(most) {
				width = s * power
				break
			}
		}
		for v := 0.0; v <= c.high; v += width {
			values = append(values, v)
		}
		return values
	}
	for _, steps := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		values = values[:0]
		for power := math.Pow(10, math.Floor(math.Log10(c.low))); power <= c.high; power *= 10 {
			for _, s := range steps {
				if v := s * power; v >= c.low*0.999 && v <= c.high*1.001 {
					values = append(values, v)
				}
			}
		}
		if len(values) <= most {
			break
		}
	}
	return values
}

// short writes a tick: 100k, 2M.
func short(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if v >= unit.size {
			return fmt.Sprintf("%g%s", v/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g", v)
}
