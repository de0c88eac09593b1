// What events are read as that were stored without a field, and by which tags they are
// found.

package gen

import (
	"slices"
	"strconv"
	"strings"
)

// absent compares what a field is read as from events that have no value for it: they
// were stored before it was there, or a zero was left out, or it is null. It takes note
// of what such events there are.
func (c *comparison) absent(o, f, into *field, at location) {
	wasPointer, isPointer := o.shape.kind == kindPointer, f.shape.kind == kindPointer
	toJSON := o.json == "" && f.json != "" // what the JSON codec has stored lacks it
	// The default codec stores a zero time as null.
	null := o.null || wasPointer && !isPointer || o.shape.kind == kindTime && f.shape.kind == kindString
	before, after := o.missing(), f.missing()
	switch {
	case wasPointer && !isPointer && after != zeroValue:
		c.problem(at, "a nil is stored as null, and would be read as %s; keep the pointer or remove //evento:default", after)
	case isPointer && (wasPointer || o.null) && f.value != "" && f.readsFormer(o):
		c.problem(at, "a nil is stored as null, and under a former name it would be read as %s; remove //evento:default, or restore the name", f.value)
	case at.absent && !o.shape.nilable() && (isPointer || f.shape.kind == kindAny) && f.value == "":
		c.problem(at, "a zero was left out (omitempty, omitzero), and would be read as nil; keep its type%s", f.zeroDefault(at))
	case before != after && (o.value != "" || f.value != "" && (o.omits || o.added || null || toJSON)):
		c.problem(at, "events that were stored without it are read as %s, and would be read as %s; %s, or delete the field in %s if no event was stored since it is there",
			before, after, undo(o), LockName)
	}
	into.omits = into.omits || o.omits
	into.null = into.null || null
	into.added = into.added || o.added || o.dropped || toJSON
}

// nilable reports whether nil is a value of a shape.
func (s *shape) nilable() bool {
	switch s.kind {
	case kindPointer, kindList, kindMap, kindAny:
		return true
	}
	return s.kind == kindBytes && s.size < 0
}

// readsFormer reports whether a field now reads by a former name alone what another was
// stored under. If nothing else of it changed, it did so before by the former names of
// the other.
func (f *field) readsFormer(o *field) bool {
	return slices.ContainsFunc(slices.Concat(o.keys(byCBOR), o.keys(byJSON)), func(k key) bool {
		is := func(name string) bool { return strings.EqualFold(name, k.name) }
		before := o.value == f.value && slices.ContainsFunc(o.was, is)
		return slices.ContainsFunc(f.was, is) && !is(f.name) && !is(f.json) && !before
	})
}

// undo is the advice to leave a default as it was.
func undo(o *field) string {
	if o.value == "" {
		return "remove //evento:default"
	}
	return "put back //evento:default " + o.value
}

const (
	zeroValue = "the zero value"
	nilValue  = "nil"
)

// missing returns what a field is read as from an event that has no value for it.
func (f *field) missing() string {
	pointer := f.shape.kind == kindPointer
	switch f.value {
	case "":
		if pointer {
			return nilValue
		}
		return zeroValue
	case "0", "false", `""`:
		return zeroValue // if it is a pointer, one to it
	}
	return f.value
}

// zeroDefault is the advice to keep the zeros of what has become a pointer.
func (f *field) zeroDefault(at location) string {
	zero := ""
	of, _ := f.shape.pointedTo()
	switch of.kind {
	case kindBool:
		zero = "false"
	case kindInt, kindUint, kindFloat:
		zero = "0"
	case kindString:
		zero = `""`
	}
	if zero == "" || at.within {
		return ""
	}
	return ", or put //evento:default " + zero + " above it, without omitempty and omitzero"
}

// lockTag returns a tag as a lock has it: with the method that gives its text, unless
// the field's shape says whose it is.
func (s *shaper) lockTag(t *tag) string {
	if t.text == "" || t.id.by != "" {
		return t.name
	}
	return t.name + ":" + s.fullName(t.id.typ) + "." + t.text
}

func tagNameOf(locked string) string {
	name, _, _ := strings.Cut(locked, ":")
	return name
}

// tags refuses that events do not get a tag any more by which those stored before are
// found. now is nil if the field is gone. A retired event gets none in any case.
func (c *comparison) tags(o, now *field) {
	e := c.event
	if e.retired {
		return
	}
	const orNever = LockName + " if no event was stored with it"
	var has []string
	at := location{}
	if now != nil {
		has, at = now.tags, at.field(now, now.name)
	}
	for _, t := range o.tags {
		if slices.Contains(has, t) || e.untagged(t, o.name) {
			continue
		}
		name := tagNameOf(t)
		isSame := func(other string) bool { return tagNameOf(other) == name }
		elsewhere := slices.IndexFunc(e.fields(), func(f *field) bool { return f != now && slices.ContainsFunc(f.tags, isSame) })
		added := slices.IndexFunc(has, func(other string) bool { return !slices.Contains(o.tags, other) })
		switch {
		case slices.ContainsFunc(has, isSame):
			c.problem(at, "the text of its tag %s is no longer given by %s, so that stored events may not be found; "+
				"if both give the same, write the new one in %s, and if not, use another tag", name, strings.TrimPrefix(t, name+":"), LockName)
		case elsewhere >= 0:
			c.problem(at, "the tag %s of field %s is that of field %s now, and stored events are not found by it; put it back, "+
				"or put //evento:untag %[1]s %[2]s above the event, or delete tag=%[4]s in "+orNever, name, quoted(o.name), e.fields()[elsewhere].selector(), quoted(t))
		case added >= 0:
			c.problem(at, "its tag changed from %s to %s, and stored events are not found by the new one; keep //evento:tag %[1]s beside it, "+
				"or put //evento:untag %[1]s above the event, or delete tag=%[3]s in "+orNever, name, tagNameOf(has[added]), quoted(t))
		default:
			c.problem(at, "the tag %s of field %s is gone, and new events are not found by it as stored ones are; put it back, "+
				"or put //evento:untag %[1]s above the event, or delete tag=%[3]s in "+orNever, name, quoted(o.name), quoted(t))
		}
	}
}

// untag is a directive: events no longer get a tag, or not from one field.
type untag struct{ name, field string }

func (r *reader) untag(e *event, d *directive) {
	u := untag{name: d.args}
	if name, field, ok := strings.Cut(d.args, " "); ok {
		u = untag{name, strings.TrimSpace(field)}
		if unquoted, err := strconv.Unquote(u.field); err == nil {
			u.field = unquoted
		}
	}
	if !tagName(u.name) {
		r.problem(d.pos, "//evento:untag needs the name of a tag behind it, and may have that of the field which had it; write //evento:untag course")
		return
	}
	e.untags = append(e.untags, u)
}

// checkUntags refuses tags that are there and said to be gone.
func (r *reader) checkUntags(e *event) {
	for _, u := range e.untags {
		for _, f := range e.fields() {
			has := slices.ContainsFunc(f.tags, func(t string) bool { return tagNameOf(t) == u.name })
			switch {
			case has && u.field == f.name:
				r.problem(e.spec.Name.Pos(), "event %s: //evento:untag %s %s: the field has the tag; remove one of them", e.ident, u.name, u.field)
			case has && u.field == "":
				r.problem(e.spec.Name.Pos(), "event %s: //evento:untag %s: the field %s has the tag; remove one of them, "+
					"or write the name of the field that had it behind", e.ident, u.name, f.selector())
			}
		}
	}
}

// untagged reports whether a directive says that a field does not give a tag any more.
func (e *event) untagged(tag, field string) bool {
	return slices.ContainsFunc(e.untags, func(u untag) bool {
		return u.name == tagNameOf(tag) && (u.field == "" || u.field == field)
	})
}
