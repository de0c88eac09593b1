package gen

import (
	"fmt"
	"go/token"
	"slices"
	"strings"
	"unicode"
)

// compare refuses changes that would make stored events unreadable, or give them
// another meaning, and returns the lock to store.
//
// Why: docs/decisions.md, "Shapes are locked in a file that people can read".
func (c *code) compare(before *lock, lockFile string, ps *problems) *lock {
	after, made := lockOf(c.all)
	for _, old := range before.events {
		e := c.reads(old.aggregate, old.name)
		if e == nil {
			c.gone(old, before, token.Position{Filename: lockFile, Line: old.line, Column: 1}, ps)
			continue
		}
		for _, name := range old.was {
			if c.reads(old.aggregate, name) == nil {
				ps.add(c.place(e.spec.Name.Pos()), "event %s: events stored as %q would not be read any more; put back //evento:was %s, "+
					"or delete its @was in %s if none was ever stored", e.ident, name, quoted(name), LockName)
			}
		}
		if !e.broken {
			cmp := comparison{code: c, ps: ps, event: e, made: made, seen: pairs{}, seenAbsent: pairs{}}
			cmp.events(old)
		}
	}
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

// comparison compares one event with its entry in the lock, and takes over what the
// entry remembers.
type comparison struct {
	*code
	ps    *problems
	event *event
	made  copies // nil: it is to be found out whether values can be read, and no more
	// What was compared, and that of which values may be absent.
	seen, seenAbsent pairs
}

// trying reports whether it is only looked whether a field may be one that is gone. It may be
// though JSON could not be read any more: who renamed it is to be asked.
func (c *comparison) trying() bool { return c.made == nil }

// location is where in an event a comparison is.
type location struct {
	path   string // the stored names
	top    *field // the event's field; nil: the event itself
	within bool   // within that field
	absent bool   // within a value of which a zero may have been left out
	// none is set where it is compared how the JSON codec alone stores a value: what a lock
	// has instead if it stored none.
	none string
}

// field returns the location of a field of a struct.
func (at location) field(f *field, name string) location {
	path := name
	if at.path != "" {
		path = at.path + "." + name
	}
	if at.top == nil && at.none == "" {
		return location{path: path, top: f}
	}
	return location{path, at.top, true, at.absent, at.none}
}

// problem reports a problem at a location.
func (c *comparison) problem(at location, format string, args ...any) {
	pos, prefix := c.event.spec.Name.Pos(), "event "+c.event.ident+": "
	if at.top != nil {
		pos, prefix = at.top.v.Pos(), prefix+"field "+at.top.selector()+": "
	}
	if at.within {
		prefix += at.path + ": "
	}
	text := prefix + fmt.Sprintf(format, args...)
	if at.none != "" {
		text = prefix + "for the JSON codec, " + fmt.Sprintf(format, args...) +
			"; if that codec never stored one, write " + at.none + " for it in " + LockName
	}
	c.ps.add(c.place(pos), "%s", text)
}

const (
	// remedy is the advice for a field that cannot be read as it is now.
	remedy = "keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one" + never
	// upcastRemedy is the advice for what has no other.
	upcastRemedy = "retire it and put //evento:upcast above a new event, or delete it in " + LockName + " if none was ever stored"
	// never is for changes that are taken back before anything was stored.
	never = "; if no event was ever stored with it, delete it in " + LockName
)

func (c *comparison) events(old *lockedEvent) {
	e := c.event
	switch {
	case old.shape.kind != e.shape.kind:
		c.problem(location{}, "its encoding changed, and those stored would not be read any more; "+upcastRemedy)
	case (old.shape.json == "") != (e.shape.json == ""):
		c.problem(location{}, "its methods MarshalJSON and UnmarshalJSON came or went, and those that the JSON codec stored would not be read any more; "+upcastRemedy)
	case e.shape.kind == kindStruct:
		c.structs(old.shape, e.shape, location{})
	case e.shape.inJSON != nil:
		c.inJSON(old.shape.inJSON, e.shape.inJSON, location{}, fmt.Sprintf("@encoding %s %s", e.shape.kind, kindNone))
	}
}

// again reports whether shapes were compared before, and takes note of it.
func (c *comparison) again(old, now *shape, at location) bool {
	pair, seen := [2]*shape{old, now}, c.seen
	if at.absent {
		seen = c.seenAbsent
	}
	before := seen[pair]
	seen[pair] = true
	return before
}

// structs compares structs: the events themselves, or those within.
func (c *comparison) structs(old, now *shape, at location) {
	if c.again(old, now, at) || !c.arrays(old, now, at) {
		return
	}
	taken := map[*field]*field{} // fields of old by those that read them
	var gone []*field
	for _, o := range old.fields {
		r := now.read(o)
		switch len(r.now) {
		case 0:
			gone = append(gone, o)
			continue
		case 1:
		default:
			c.problem(at.field(r.now[0], r.now[0].name), "what is stored as %s would be read into it and into %s; "+
				"give them back the names that they had, or others that differ in more than case", quoted(o.name), r.now[1].selector())
			continue
		}
		f := r.now[0]
		if other := taken[f]; other != nil && (other.name != o.name || other.number != o.number) {
			c.problem(at.field(f, f.name), "it would be read from %s and from %s, and events may have both; "+
				"keep a field for each"+never, quoted(other.name), quoted(o.name))
			continue
		}
		taken[f] = o
		c.field(&r, f, c.copyOf(now, f), at)
	}
	for _, o := range gone {
		c.dropped(o, now, taken, at)
	}
	for _, f := range now.fields {
		if taken[f] == nil && !c.trying() {
			c.copyOf(now, f).added = true
		}
	}
}

// copyOf returns the field of the lock to store for one of the code.
func (c *comparison) copyOf(of *shape, f *field) *field {
	if c.trying() {
		return &field{}
	}
	return c.made.of(of).fields[slices.Index(of.fields, f)]
}

// arrays compares whether structs are stored as arrays, and in which order.
func (c *comparison) arrays(old, now *shape, at location) bool {
	names := func(s *shape) string {
		var all []string
		for _, f := range s.fields {
			if !f.dropped {
				all = append(all, quoted(f.name))
			}
		}
		return strings.Join(all, ", ")
	}
	switch {
	case old.array && !now.array:
		c.problem(at, "it is stored as an array (toarray), which cannot be read by names; put toarray back, or "+upcastRemedy)
	case now.array && !old.array:
		c.problem(at, "it is stored by names, which cannot be read as an array (toarray); take toarray away, or "+upcastRemedy)
	case now.array && names(old) != names(now):
		c.problem(at, "it is stored as an array (toarray) of %s, and would be read as one of %s; with toarray nothing can be added, "+
			"dropped, moved or renamed: restore the fields and their order, or "+upcastRemedy, names(old), names(now))
	default:
		return true
	}
	return false
}

// field compares a field with the one that reads it, and takes over what is known of
// it.
func (c *comparison) field(r *reading, f, into *field, in location) {
	o, at := r.old, in.field(f, r.old.name)
	at.absent = at.absent || o.omits
	c.values(o.shape, f.shape, at)
	if o.quoted != f.quoted && o.json != "" && f.json != "" {
		c.problem(at, "the option string of its tag came or went, which the JSON codec could not read; undo it")
	}
	for _, m := range r.missed {
		c.missed(m, f, at)
	}
	c.absent(o, f, into, at)
	if !at.within {
		c.tags(o, f)
	}
	for _, by := range bothCodecs {
		for _, k := range o.keys(by) {
			if k.name != into.name && k.name != into.json && !k.number && !slices.Contains(into.was, k.name) {
				into.was = append(into.was, k.name) // it is read as it differs in case alone
			}
		}
	}
}

// missed refuses that a field is not found any more where it was stored under a key.
func (c *comparison) missed(m miss, f *field, at location) {
	const restore, instead = "restore it in its tag", "; if no event was ever stored so, write the new one in its place in " + LockName
	name := quoted(m.name)
	switch now, ok := f.key(m.codec); {
	case m.former:
		c.problem(at, "it would not be read any more where it is stored as %s; put back //evento:was %[1]s, "+
			"or delete was=%[1]s in %s if no event was stored so", name, LockName)
	case m.number:
		c.problem(at, "it is stored under the integer %s (keyasint), and would be read under %s; "+restore+", or "+upcastRemedy, name, now)
	case !ok:
		c.problem(at, "the JSON codec stores it as %s, and would leave it out now; "+restore, name)
	case at.within:
		c.problem(at, "its stored name changed from %s to %s; "+restore, name, now)
	default:
		c.problem(at, "its stored name changed from %s to %s; put //evento:was %[1]s above it, or "+restore+instead, name, now)
	}
}

// dropped takes note of a field that is gone, unless it may be one that is new under
// another name.
func (c *comparison) dropped(o *field, now *shape, taken map[*field]*field, in location) {
	if c.trying() {
		return
	}
	path := o.name
	if in.path != "" {
		path = in.path + "." + o.name
	}
	if !o.dropped && o.shape.kind != kindNone && !slices.Contains(c.event.dropped, path) {
		if f := c.renamed(o, now, taken); f != nil {
			c.perhapsRenamed(o, f, path, in)
		}
	}
	if in.top == nil && in.none == "" {
		c.tags(o, nil)
	}
	left := *o
	left.dropped, left.tags = true, nil
	into := c.made.of(now)
	if !slices.ContainsFunc(into.fields, func(f *field) bool {
		return f.dropped && f.name == left.name && f.marks() == left.marks() && pairs{}.equal(f.shape, left.shape)
	}) {
		into.fields = append(into.fields, &left)
	}
}

// renamed returns a new field that may be what o was, or nil. That of the same name in
// Go comes before others.
func (c *comparison) renamed(o *field, now *shape, taken map[*field]*field) (found *field) {
	for _, f := range now.fields {
		if taken[f] != nil || found != nil && !o.isNamed(f) {
			continue
		}
		try := comparison{code: c.code, ps: &problems{}, event: c.event, seen: pairs{}, seenAbsent: pairs{}}
		if try.values(o.shape, f.shape, location{top: f}); len(try.ps.all) > 0 {
			continue
		}
		if found = f; o.isNamed(f) {
			break
		}
	}
	return found
}

// isNamed reports whether the name that a field was stored under is like its name in
// Go.
func (f *field) isNamed(now *field) bool {
	plain := func(name string) string {
		return strings.ToLower(strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return r
			}
			return -1
		}, name))
	}
	return plain(f.name) == plain(now.v.Name())
}

// perhapsRenamed asks whether a new field is one that is gone.
func (c *comparison) perhapsRenamed(o, f *field, path string, in location) {
	at := in.field(f, f.name)
	stored, now := quoted(o.name), key{f.name, f.number}
	const different = "if it is another field, put //evento:dropped %[3]s above the event" + never
	switch {
	case o.number:
		c.problem(at, "%[2]s is new, and a field under the integer %[1]s (keyasint) is gone; if it is the same, restore the integer in its tag, and "+different, stored, now, quoted(path))
	case o.isNamed(f) && at.within:
		c.problem(at, "its stored name changed from %s to %s; restore it with `json:%[4]q`, and "+different, stored, now, quoted(path), o.name)
	case o.isNamed(f):
		c.problem(at, "its stored name changed from %s to %s; put //evento:was %[1]s above it, or restore the name in its tag; "+different, stored, now, quoted(path))
	case at.within:
		c.problem(location{top: at.top, none: at.none}, "%s is gone and %s is new; if it is the same, keep its stored name with `json:%q`, "+
			"and if it is not, put //evento:dropped %[1]s above the event"+never, path, at.path, o.name)
	default:
		c.ps.add(c.place(f.v.Pos()), "event %s: field %s is gone and %s is new; if it is the same, put //evento:was %[2]s above %[3]s, "+
			"and if it is not, //evento:dropped %[2]s above the event"+never, c.event.ident, stored, f.selector())
	}
}
