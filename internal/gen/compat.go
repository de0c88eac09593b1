package gen

import (
	"go/token"
	"slices"
	"strings"
)

// compare refuses changes that would make stored events unreadable, and returns the
// lock to store.
//
// Why: docs/decisions.md, "Shapes are locked in a file that people can read".
func (c *code) compare(before *lock, lockFile string, ps *problems) *lock {
	after := lockOf(c.all)
	for _, old := range before.events {
		e := c.reads(old.aggregate, old.name)
		if e == nil {
			c.gone(old, before, token.Position{Filename: lockFile, Line: old.line, Column: 1}, ps)
			continue
		}
		for _, name := range old.was {
			if c.reads(old.aggregate, name) == nil {
				ps.add(c.place(e.spec.Name.Pos()), "event %s: events stored as %q would not be read any more; put back //evento:was %s",
					e.ident, name, quoted(name))
			}
		}
		cmp := comparison{code: c, ps: ps, event: e}
		le := after.find(aggregateType(e), e.name)
		le.fields = append(le.fields, cmp.fields(old)...)
	}
	after.tidyDropped()
	return after
}

// reads returns the event that reads what is stored under a name, or nil.
func (c *code) reads(aggregate, name string) *event {
	for _, e := range c.all {
		if aggregateType(e) == aggregate && slices.Contains(e.names(), name) {
			return e
		}
	}
	return nil
}

// gone refuses the removal of an event.
func (c *code) gone(old *lockedEvent, before *lock, at token.Position, ps *problems) {
	for _, e := range c.all {
		if aggregateType(e) != old.aggregate && slices.Contains(e.names(), old.name) && before.find(aggregateType(e), old.name) == nil {
			ps.add(c.place(e.spec.Name.Pos()), "event %q moved from %q to %q, and those stored would not be read any more; "+
				"move it back, or leave one behind with //evento:retired", old.name, old.aggregate, aggregateType(e))
			return
		}
	}
	ps.add(at, "event %q of %q is gone, and those stored would not be read any more; "+
		"keep its type with //evento:retired, or put //evento:was %s above the event that it is called now. "+
		"If none was ever stored, delete it here", old.name, old.aggregate, quoted(old.name))
}

// tidyDropped removes duplicates of dropped fields, and dropped fields that exist
// again.
func (l *lock) tidyDropped() {
	for _, e := range l.events {
		seen := map[string]bool{}
		for _, f := range e.fields {
			if !f.dropped {
				seen[f.name] = true
				for _, name := range f.was {
					seen[name] = true
				}
			}
		}
		e.fields = slices.DeleteFunc(slices.Clone(e.fields), func(f *field) bool {
			if !f.dropped {
				return false
			}
			twice := seen[f.name]
			seen[f.name] = true
			return twice
		})
	}
}

// comparison compares one event with its entry in the lock.
type comparison struct {
	*code
	ps    *problems
	event *event
}

func (c *comparison) problem(pos token.Pos, format string, args ...any) {
	c.ps.add(c.place(pos), "event "+c.event.ident+": "+format, args...)
}

// remedy is the advice for a field that cannot be read as it is now.
const remedy = "keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one"

// fields compares the fields and returns those that are dropped.
func (c *comparison) fields(old *lockedEvent) (dropped []*field) {
	e := c.event
	if old.shape != nil || e.shape.kind != kindStruct {
		if old.shape == nil || old.shape.kind != e.shape.kind {
			c.problem(e.spec.Name.Pos(), "its encoding changed, and those stored would not be read any more; "+
				"retire it and put //evento:upcast above a new event")
		}
		return nil
	}
	for _, f := range old.fields {
		now := reading(e.fields(), f.name)
		switch {
		case now == nil && !f.dropped && !slices.Contains(e.dropped, f.name):
			if added := c.renamed(f, old); added != nil {
				c.problem(added.v.Pos(), "field %s is gone and %s is new; if it is the same, put //evento:was %[1]s above %[2]s, "+
					"and if it is not, //evento:dropped %[1]s above the event", quoted(f.name), added.selector())
			}
			fallthrough
		case now == nil:
			dropped = append(dropped, &field{name: f.name, shape: f.shape, was: f.was, dropped: true})
		default:
			if why := c.readable(f.shape, now.shape, f.name, now); why != "" {
				c.problem(now.v.Pos(), "field %s: %s; "+remedy, now.selector(), why)
			}
			for _, name := range f.was {
				if reading(e.fields(), name) == nil {
					c.problem(now.v.Pos(), "field %s would not be read any more where it is stored as %s; put back //evento:was %[2]s",
						now.selector(), quoted(name))
				}
			}
		}
	}
	return dropped
}

// reading returns the field that reads what is stored under a name, or nil.
func reading(fields []*field, name string) *field {
	for _, f := range fields {
		if f.name == name || slices.Contains(f.was, name) {
			return f
		}
	}
	return nil
}

// renamed returns a new field that may be the renamed f, or nil.
func (c *comparison) renamed(f *field, old *lockedEvent) *field {
	for _, now := range c.event.fields() {
		known := slices.ContainsFunc(old.fields, func(o *field) bool {
			return o.name == now.name || slices.Contains(now.was, o.name) || slices.Contains(o.was, now.name)
		})
		// Names that differ only in case are read anyway.
		if !known && c.readable(f.shape, now.shape, f.name, nil) == "" && !strings.EqualFold(f.name, now.name) {
			return now
		}
	}
	return nil
}

// readable returns why a value stored in one shape cannot be read in another, or
// "". path is the field's path for directives. top is the event's field, at which
// problems within structs are reported; nil: they are not reported.
func (c *comparison) readable(stored, now *shape, path string, top *field) string {
	if why := widens(stored, now); why != undecided {
		return why
	}
	no := "it is stored as " + stored.String() + ", which cannot be read as " + now.String()
	switch {
	case stored.kind == kindPointer:
		return c.readable(stored.elem, now, path, top)
	case now.kind == kindPointer:
		return c.readable(stored, now.elem, path, top)
	case now.kind == kindList && (stored.kind == kindList || stored.kind == kindArray),
		now.kind == kindArray && stored.kind == kindArray && now.size >= stored.size:
		return c.readable(stored.elem, now.elem, path, top)
	case now.kind == kindMap && stored.kind == kindMap:
		if why := c.readable(stored.key, now.key, path, top); why != "" {
			return why
		}
		return c.readable(stored.elem, now.elem, path, top)
	case now.kind == kindStruct && stored.kind == kindStruct:
		return c.structs(stored, now, path, top)
	case now.kind == kindRef && stored.kind == kindRef && now.up == stored.up:
		return ""
	}
	return no
}

// structs compares structs within an event.
func (c *comparison) structs(stored, now *shape, path string, top *field) string {
	var added []*field
	for _, f := range now.fields {
		if reading(stored.fields, f.name) == nil {
			added = append(added, f)
		}
	}
	for _, f := range stored.fields {
		at := path + "." + f.name
		n := reading(now.fields, f.name)
		if n != nil {
			if why := c.readable(f.shape, n.shape, at, top); why != "" {
				if strings.HasPrefix(why, at+".") || strings.HasPrefix(why, at+":") {
					return why
				}
				return at + ": " + why
			}
			continue
		}
		for _, a := range added {
			if c.readable(f.shape, a.shape, at, nil) == "" && !strings.EqualFold(f.name, a.name) && !slices.Contains(c.event.dropped, at) && top != nil {
				c.problem(top.v.Pos(), "field %s: %s is gone and %s.%s is new; if it is the same, keep its stored name with `json:%q`, "+
					"and if it is not, put //evento:dropped %[2]s above the event", top.selector(), at, path, a.name, f.name)
			}
		}
	}
	return ""
}

// undecided is the result of widens for composite shapes.
const undecided = "?"

// widens compares shapes that are not composite: every value of the stored one must
// be a value of the other. It returns why not, or "".
func widens(stored, now *shape) string {
	if now.kind == kindAny {
		return ""
	}
	integer := stored.kind == kindInt || stored.kind == kindUint
	ok := stored.kind == now.kind
	switch now.kind {
	case kindInt:
		ok = ok && now.bits >= stored.bits || stored.kind == kindUint && now.bits > stored.bits
	case kindUint:
		ok = ok && now.bits >= stored.bits
	case kindFloat:
		// The float must represent so many bits exactly.
		ok = ok && now.bits >= stored.bits || integer && stored.bits <= now.bits/2
	case kindBigInt:
		ok = ok || integer
	case kindString:
		ok = ok || stored.kind == kindText || stored.kind == kindTime
	case kindBytes:
		ok = ok && (now.size < 0 || stored.size >= 0 && now.size >= stored.size) || now.size < 0 && stored.kind == kindBinary
	case kindPointer, kindList, kindArray, kindMap, kindStruct, kindRef:
		return undecided
	}
	switch {
	case ok:
		return ""
	case stored.kind == kindPointer:
		return undecided
	}
	return "it is stored as " + stored.String() + ", which cannot be read as " + now.String()
}
