// Small plots of the last hour.

package console

import (
	"fmt"
	"strings"
	"time"
)

// plot is values at equal distances, as the points of a path in a box of 240 by 36.
type plot struct {
	values []float64
	unit   string
	least  float64 // what the highest place stands for at least
	Since  time.Time
	Hot    bool
}

const plotWidth, plotHeight = 240.0, 36.0

func (p *plot) since(history []sample) *plot {
	if len(history) > 0 {
		p.Since = history[0].at
	}
	return p
}

// Empty reports whether there is nothing to draw yet.
func (p *plot) Empty() bool { return len(p.values) < 2 }

// Last is the last value.
func (p *plot) Last() float64 {
	if len(p.values) == 0 {
		return 0
	}
	return p.values[len(p.values)-1]
}

// Most is the highest value.
func (p *plot) Most() float64 {
	most := 0.0
	for _, v := range p.values {
		most = max(most, v)
	}
	return most
}

// Line is the path through the values.
func (p *plot) Line() string {
	var b strings.Builder
	scale := max(p.Most(), p.least, 1)
	for i, v := range p.values {
		op := 'L'
		if i == 0 {
			op = 'M'
		}
		x := float64(i) * plotWidth / float64(max(len(p.values)-1, 1))
		fmt.Fprintf(&b, "%c%.1f,%.1f ", op, x, plotHeight-1-v/scale*(plotHeight-2))
	}
	return strings.TrimSpace(b.String())
}

// Area is the path around what is below the line.
func (p *plot) Area() string {
	return fmt.Sprintf("%s L%g,%g L0,%g Z", p.Line(), plotWidth, plotHeight, plotHeight)
}

// Label says the same in words.
func (p *plot) Label() string {
	return fmt.Sprintf("%.0f %s at most, now %.0f, since %s UTC", p.Most(), p.unit, p.Last(), p.Since.UTC().Format("15:04"))
}
