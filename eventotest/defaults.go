// The options of comparisons: those of the test, and ours where none of them applies.

package eventotest

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// defaults are the options of every comparison: empty and nil are equal, and so are NaNs;
// unexported fields are compared. An option of the test comes before them.
//
// Package cmp has no such order of options: it panics where two of them apply. So diff
// compares with all of them. When that panics at a place where a default applies, an option of
// the test applies there too: the default is left out at this place, and diff compares again.
type defaults struct {
	left map[place]bool // where a default is left out
	at   *place         // the present node, if a default applies to it
}

// place is a kind of node of the compared values. Elements of a slice or a map are of one
// kind, so that there are few.
type place struct {
	path       string
	t          reflect.Type
	nilX, nilY bool
}

// diff returns the difference of two values; "" if there is none. The error is what
// package cmp, or an option of the test, panicked with.
func (d *defaults) diff(want, got any, opts []cmp.Option) (diff string, err error) {
	for {
		if diff, err = d.try(want, got, opts); err == nil || d.at == nil {
			return diff, err
		}
		if d.left == nil {
			d.left = map[place]bool{}
		}
		d.left[*d.at] = true
	}
}

func (d *defaults) try(want, got any, opts []cmp.Option) (diff string, err error) {
	d.at = nil
	defer func() {
		if p := recover(); p != nil { // contradictory options, or an Equal method that does not expect nil
			err = fmt.Errorf("%v", p)
		}
	}()
	all := []cmp.Option{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		// Package cmp asks the filters in this order, at each node.
		cmp.FilterPath(func(cmp.Path) bool { d.at = nil; return false }, cmp.Ignore()),
		cmp.Options(opts),
		cmp.FilterPath(d.applies, cmp.Comparer(func(_, _ any) bool { return true })),
	}
	return cmp.Diff(want, got, all...), nil
}

// applies reports whether two values are equal by default.
func (d *defaults) applies(p cmp.Path) bool {
	x, y := p.Last().Values()
	if !x.IsValid() || !y.IsValid() || !bothEmpty(x, y) && !bothNaN(x, y) {
		return false
	}
	at := placeOf(p, x, y)
	if d.left[at] {
		return false
	}
	d.at = &at
	return true
}

func bothEmpty(x, y reflect.Value) bool {
	return (x.Kind() == reflect.Slice || x.Kind() == reflect.Map) && x.Len() == 0 && y.Len() == 0
}

func bothNaN(x, y reflect.Value) bool {
	return x.CanFloat() && math.IsNaN(x.Float()) && math.IsNaN(y.Float())
}

func placeOf(p cmp.Path, x, y reflect.Value) place {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case cmp.SliceIndex:
			b.WriteString("[]")
		case cmp.MapIndex:
			b.WriteString("[key]")
		default:
			b.WriteString(step.String())
		}
	}
	at := place{path: b.String(), t: x.Type()}
	if !x.CanFloat() {
		at.nilX, at.nilY = x.IsNil(), y.IsNil()
	}
	return at
}
