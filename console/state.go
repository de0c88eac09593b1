// The state of an aggregate at a version, and one of its numbers over the versions around.

package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

const (
	mostReplays  = 2       // pages at once for which so many may be read
	mostReplayed = 100_000 // events that are read for a state when somebody asks for it
	mostStates   = 8 << 20 // bytes of JSON that a plot is made of
	mostPlots    = 12      // numbers that may be chosen
	mostNames    = 8       // members that are said to have changed
)

// stateBody is the state at a version.
type stateBody struct {
	Projection string
	Diff       *difference // nil: there is none
	Changed    string      // what the event has changed, after its name
	Error      string      // why there is no state, or no difference
	Replay     uint64      // how many events there are to read, which is more than are; 0: it is no more
	Far        bool        // more than may be read
	Plot       *versionPlot
	Plots      []option
}

// states collects what a page shows of the states of an aggregate.
type states struct {
	of            *aggregateBody
	before, after []byte // JSON of the version before, and of the version that is shown; nil: not there yet
	err           error  // of encoding one of them
	bytes         int
	numbers       map[uint64][]numberIn // by version
}

// state computes the state at the version that is shown.
func (c *console) state(ctx context.Context, b *aggregateBody, p Projection, values url.Values) *stateBody {
	s := &stateBody{Projection: p.name()}
	read := &bounded{Executor: c.ex, left: mostLooked - 2*pageRows} // the timeline has the rest
	if values.Get("replay") != "" {
		select {
		case c.replaying <- struct{}{}:
			defer func() { <-c.replaying }()
		case <-ctx.Done():
			s.Error = "Others have states read from as many events, and it takes long. Try again later."
			return s
		}
		read.left = mostReplayed
	}
	found := &states{of: b, numbers: map[uint64][]numberIn{}}
	err := p.states(ctx, read.within(b.To), b.ID, b.From-1, b.To, found.add)
	if errors.Is(err, errFar) { // a snapshot may be among the versions of the page
		err = p.states(ctx, read.within(b.V), b.ID, b.V-1, b.V, found.add)
	}
	switch {
	case found.err != nil:
		s.Error = found.err.Error()
	case found.after != nil: // an error is that of a later version
	case errors.Is(err, errFar):
		s.Replay, s.Far = b.To, b.To > mostReplayed
	case errors.Is(err, evento.ErrDeleted):
		s.Error = "The aggregate is deleted: there is no state any more.\n" + err.Error()
	case err != nil:
		s.Error = err.Error()
	}
	if found.after != nil {
		s.show(found)
	}
	if s.Plot = plotOf(b, found.numbers, numbersOf(found.after), values); s.Plot != nil {
		for _, name := range s.Plot.names[:min(len(s.Plot.names), mostPlots)] {
			s.Plots = append(s.Plots, option{Name: name, Current: name == s.Plot.name})
		}
	}
	return s
}

// add takes the state at a version.
func (f *states) add(version uint64, encode encoder) bool {
	shown := version == f.of.V || version+1 == f.of.V
	if !shown && f.bytes > mostStates {
		return version < f.of.V
	}
	text, err := encode()
	if err != nil {
		if shown && f.err == nil {
			f.err = fmt.Errorf("the state at version %d cannot be shown as JSON: %w", version, err)
		}
		return true
	}
	f.bytes += len(text)
	switch version {
	case f.of.V:
		f.after = text
	case f.of.V - 1:
		f.before = text
	}
	if version >= f.of.From && len(text) <= mostState {
		f.numbers[version] = numbersOf(text)
	}
	return true
}

// show compares the state with the one before.
func (s *stateBody) show(f *states) {
	switch {
	case len(f.after) > mostState:
		s.Error = fmt.Sprintf("The state is too large to be shown: it has %s of JSON, and up to %s are.", plural(len(f.after), "byte"), number(mostState))
		return
	case f.before == nil || len(f.before) > mostState: // why is said
		s.Diff = differenceOf(f.after, f.after)
		if s.Error == "" {
			s.Error = "The state before is too large to be compared."
		}
		return
	}
	s.Diff = differenceOf(f.before, f.after)
	switch n := len(s.Diff.Changed); {
	case n > 0:
		var names []string
		for _, key := range s.Diff.Changed[:min(n, mostNames)] {
			names = append(names, printable.JSON(unquoted(key)))
		}
		s.Changed = " changed " + strings.Join(names, ", ")
		if n > mostNames {
			s.Changed += fmt.Sprintf(" and %d more", n-mostNames)
		}
	case string(f.before) != string(f.after):
		s.Changed = " changed the state"
	default:
		s.Changed = " changed nothing that this projection keeps"
	}
}

// link makes the links to other plots.
func (s *stateBody) link(l linker, v uint64) {
	for i := range s.Plots {
		s.Plots[i].Link = l.with("plot", s.Plots[i].Name, v)
	}
}

// versionPlot is a number of the state at each version of a page, in a box of 1000 by 68.
type versionPlot struct {
	name      string
	names     []string // those that could be chosen
	from      uint64
	values    []float64
	low, high float64
	shown     int // the index of the version that is shown
	text      string
}

const (
	stepsWidth  = 1000.0
	stepsBottom = 66.0
	stepsHeight = 60.0
	mostAbove   = 3 // how many times as far as values are apart they may be from 0
)

// plotOf is the plot of a number that is asked for, or of the first that changes; nil: there is
// none.
func plotOf(b *aggregateBody, numbers map[uint64][]numberIn, at []numberIn, values url.Values) *versionPlot {
	if b.From == b.To || len(numbers) < 2 {
		return nil
	}
	p := &versionPlot{from: b.From, shown: int(b.V - b.From)}
	changes := map[string]bool{}
	first := map[string]string{}
	for v := b.From; v <= b.To; v++ {
		for _, n := range numbers[v] {
			if text, ok := first[n.name]; !ok {
				first[n.name] = n.text
				p.names = append(p.names, n.name)
			} else if text != n.text {
				changes[n.name] = true
			}
		}
	}
	if len(p.names) == 0 {
		return nil
	}
	p.name = p.names[0]
	if i := slices.IndexFunc(p.names, func(name string) bool { return changes[name] }); i >= 0 {
		p.name = p.names[i]
	}
	if asked := values.Get("plot"); values.Has("plot") && slices.Contains(p.names, asked) {
		p.name = asked
	}
	for _, n := range at {
		if n.name == p.name {
			p.text = n.text
		}
	}
	p.collect(b, numbers)
	if math.IsInf(p.high-p.low, 0) {
		return nil
	}
	return p
}

// collect takes the values; where there is none, it is as before.
func (p *versionPlot) collect(b *aggregateBody, numbers map[uint64][]numberIn) {
	value := 0.0
	for v := b.From; v <= b.To; v++ {
		for _, n := range numbers[v] {
			if f, err := strconv.ParseFloat(n.text, 64); err == nil && n.name == p.name {
				value = f
			}
		}
		p.values = append(p.values, value)
	}
	p.low, p.high = slices.Min(p.values), slices.Max(p.values)
	// 0 is in it, unless the changes could not be seen then.
	if span := p.high - p.low; span == 0 || p.low <= span*mostAbove && -p.high <= span*mostAbove {
		p.low, p.high = min(p.low, 0), max(p.high, 0)
	}
}

// y is where a value is.
func (p *versionPlot) y(value float64) float64 {
	if p.high == p.low {
		return stepsBottom
	}
	return stepsBottom - (value-p.low)/(p.high-p.low)*stepsHeight
}

func (p *versionPlot) x(i int) float64 { return float64(i) * stepsWidth / float64(len(p.values)-1) }

// Zero is the line of 0; "": it is not in the plot.
func (p *versionPlot) Zero() string {
	if p.low > 0 || p.high < 0 {
		return ""
	}
	return fmt.Sprintf("M0,%.1f H%g", p.y(0), stepsWidth)
}

// Line is the path of steps.
func (p *versionPlot) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "M0,%.1f", p.y(p.values[0]))
	for i := 1; i < len(p.values); i++ {
		fmt.Fprintf(&b, " H%.1f V%.1f", p.x(i), p.y(p.values[i]))
	}
	return b.String()
}

// Now marks the version that is shown.
func (p *versionPlot) Now() string {
	return fmt.Sprintf("M%.1f,0 V68", min(max(p.x(p.shown), 1), stepsWidth-1))
}

// Name is what the number is called.
func (p *versionPlot) Name() string { return memberName(p.name) }

// memberName is the name of a number; the state itself has none.
func memberName(name string) string {
	if name == "" {
		return "the state"
	}
	return printable.JSON(name)
}

// Range says between what the values are.
func (p *versionPlot) Range() string { return figureOf(p.low) + " to " + figureOf(p.high) }

// Label says the same in words.
func (p *versionPlot) Label() string {
	at := ""
	if p.text != "" {
		at = fmt.Sprintf(", %s at version %s", figureOf(p.values[p.shown]), number(p.from+uint64(p.shown)))
	}
	return fmt.Sprintf("%s at versions %s to %s%s, %s in all", p.Name(), number(p.from), number(p.from+uint64(len(p.values)-1)), at, p.Range())
}

// figureOf is a number with its thousands apart.
func figureOf(f float64) string {
	const exact = 1 << 53
	if f != math.Trunc(f) || math.Abs(f) > exact {
		return strconv.FormatFloat(f, 'g', 6, 64)
	}
	if f < 0 {
		return "-" + printable.Thousands(uint64(-f))
	}
	return printable.Thousands(uint64(f))
}
