package gen

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// LockName is the name of the file that records the shapes of a package's events.
const LockName = "evento.lock"

// A lock is a list of blocks, and a last line that says that none is cut off. An
// event's line has its aggregate and its name; that of a shape has the name by which
// fields refer to it. It is that of a struct or, with @is, of another type that contains
// itself. The indented lines below belong to it: a line with @ is what is said of it, a
// line with - is a dropped field, and the others are its fields. Behind the shape of a
// field are marks.
//
//	event bank/Account AccountOpened
//		@was Opened
//		Balance int64 added default=5
//		Owner Person was=Name tag=owner
//		-Branch string
//
//	shape Person
//		Name string
//		Of []Person
//
//	end
const (
	lockHeader = `# The shapes under which events are stored, kept by evento gen.
# Commit this file with the code: what would make stored events unreadable is
# refused by comparing with it.
`
	lockEnd = "end"
)

// lock is what is recorded about a package's events.
type lock struct{ events []*lockedEvent }

type lockedEvent struct {
	aggregate, name string
	was             []string // former names
	upcast          []string // names of the events that are upcast to this one
	retired         bool
	shape           *shape
	line            int
}

// copies are the shapes of code in a lock. They are not those of the code, as they
// remember more.
type copies map[*shape]*shape

// lockOf returns the lock of events.
func lockOf(events []*event) (*lock, copies) {
	l, made := &lock{}, copies{}
	for _, e := range events {
		le := &lockedEvent{aggregate: aggregateType(e), name: e.name, was: e.was, retired: e.retired, shape: made.of(e.shape)}
		for _, u := range e.upcasts {
			le.upcast = append(le.upcast, u.from.name)
		}
		l.events = append(l.events, le)
	}
	slices.SortFunc(l.events, func(a, b *lockedEvent) int {
		if a.aggregate != b.aggregate {
			return strings.Compare(a.aggregate, b.aggregate)
		}
		return strings.Compare(a.name, b.name)
	})
	return l, made
}

// of returns the copy of a shape.
func (c copies) of(sh *shape) *shape {
	if sh == nil {
		return nil
	}
	if known := c[sh]; known != nil {
		return known
	}
	made := *sh
	c[sh] = &made
	made.key, made.elem, made.inJSON, made.fields = c.of(sh.key), c.of(sh.elem), c.of(sh.inJSON), nil
	for _, f := range sh.fields {
		of := *f
		of.shape, of.was = c.of(f.shape), slices.Clone(f.was)
		made.fields = append(made.fields, &of)
	}
	return &made
}

// find returns the event that is stored under a name.
func (l *lock) find(aggregate, name string) *lockedEvent {
	for _, e := range l.events {
		if e.aggregate == aggregate && e.name == name {
			return e
		}
	}
	return nil
}

// format returns the lock as text.
func (l *lock) format() []byte {
	shapes := l.named()
	var b bytes.Buffer
	b.WriteString(lockHeader)
	for _, e := range l.events {
		fmt.Fprintf(&b, "\nevent %s %s\n", quoted(e.aggregate), quoted(e.name))
		for _, name := range e.was {
			fmt.Fprintf(&b, "\t@was %s\n", quoted(name))
		}
		for _, name := range e.upcast {
			fmt.Fprintf(&b, "\t@upcast %s\n", quoted(name))
		}
		if e.retired {
			b.WriteString("\t@retired\n")
		}
		if e.shape.json != "" {
			b.WriteString("\t@json\n")
		}
		switch {
		case e.shape.inJSON != nil:
			fmt.Fprintf(&b, "\t@encoding %s %s\n", e.shape.kind, e.shape.inJSON)
		case e.shape.kind != kindStruct:
			fmt.Fprintf(&b, "\t@encoding %s\n", e.shape.kind)
		}
		e.shape.formatFields(&b)
	}
	for _, sh := range shapes {
		fmt.Fprintf(&b, "\nshape %s\n", quoted(sh.label))
		if sh.kind != kindStruct {
			fmt.Fprintf(&b, "\t@is %s\n", sh.parts())
		}
		sh.formatFields(&b)
	}
	fmt.Fprintf(&b, "\n%s\n", lockEnd)
	return b.Bytes()
}

func (s *shape) formatFields(b *bytes.Buffer) {
	if s.array {
		b.WriteString("\t@array\n")
	}
	for _, f := range s.fields {
		b.WriteString("\t" + f.String() + "\n")
	}
}

// String returns a field as it is written in a lock.
func (f *field) String() string {
	s := quoted(f.name) + " " + f.shape.String() + f.marks()
	if f.dropped {
		return "-" + s
	}
	return s
}

// marks returns what is written behind the shape of a field.
func (f *field) marks() string {
	s := ""
	for _, mark := range []struct {
		name string
		set  bool
	}{
		{"keyasint", f.number}, {"quoted", f.quoted}, {"omits", f.omits}, {"null", f.null}, {"added", f.added},
	} {
		if mark.set {
			s += " " + mark.name
		}
	}
	if f.value != "" {
		s += " default=" + f.value
	}
	switch f.json {
	case f.name:
	case "":
		s += " json=-"
	default:
		s += " json=" + quoted(f.json)
	}
	for _, name := range f.was {
		s += " was=" + quoted(name)
	}
	for _, tag := range f.tags {
		s += " tag=" + quoted(tag)
	}
	return s
}

// String returns a shape as it is written in a lock.
func (s *shape) String() string {
	text := quoted(s.label)
	if s.label == "" {
		text = s.parts()
	}
	if s.json != "" {
		return "json(" + quoted(s.json) + ")" + text
	}
	return text
}

// parts returns what a shape is made of, as it is written in a lock. Structs have a
// block for that.
func (s *shape) parts() string {
	switch s.kind {
	case kindInt, kindUint, kindFloat:
		return string(s.kind) + strconv.Itoa(s.bits)
	case kindBytes:
		if s.size >= 0 {
			return "[" + strconv.FormatInt(s.size, 10) + "]byte"
		}
	case kindPointer:
		return "*" + s.elem.String()
	case kindList:
		return "[]" + s.elem.String()
	case kindArray:
		return "[" + strconv.FormatInt(s.size, 10) + "]" + s.elem.String()
	case kindMap:
		return "map[" + s.key.String() + "]" + s.elem.String()
	}
	switch {
	case s.inJSON != nil:
		return string(s.kind) + "(" + quoted(s.by) + ", " + s.inJSON.String() + ")"
	case s.by != "":
		return string(s.kind) + "(" + quoted(s.by) + ")"
	}
	return string(s.kind)
}

// quoted returns a name, in quotes if it has characters that need them.
func quoted(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return !isIdent(r) && !strings.ContainsRune("/.:+_-~", r)
	}) < 0
	if plain && name != "" && !strings.ContainsAny(name[:1], "-@#") {
		return name
	}
	return strconv.Quote(name)
}

// naming gives the shapes of a lock that have names unique ones.
type naming struct {
	shapes map[string]*shape // by their names
	order  []*shape
}

// named returns the shapes within events that have names, in the order of these. Those that
// dropped fields had are named anew if another one has their name now.
func (l *lock) named() []*shape {
	n := &naming{shapes: map[string]*shape{}}
	for _, e := range l.events {
		n.fields(e.shape, false)
		n.visit(e.shape.inJSON, false)
	}
	present := slices.Clone(n.order)
	for _, e := range l.events {
		n.fields(e.shape, true)
	}
	for _, sh := range present {
		n.fields(sh, true)
	}
	slices.SortFunc(n.order, func(a, b *shape) int { return strings.Compare(a.label, b.label) })
	return n.order
}

// fields names what is in the fields of a struct: those that are dropped or the others.
func (n *naming) fields(sh *shape, dropped bool) {
	for _, f := range sh.fields {
		if f.dropped == dropped {
			n.visit(f.shape, dropped)
		}
	}
}

func (n *naming) visit(sh *shape, dropped bool) {
	switch {
	case sh == nil || sh.label != "" && n.shapes[sh.label] == sh:
		return
	case sh.label == "":
		n.visit(sh.key, dropped)
		n.visit(sh.elem, dropped)
		n.visit(sh.inJSON, dropped)
		return
	}
	base, _, _ := strings.Cut(sh.label, "~")
	for i := 2; ; i++ {
		other := n.shapes[sh.label]
		if _, isKind := simpleShapes[sh.label]; other == nil && !isKind {
			break
		}
		if other != nil && dropped && (pairs{}).equal(other, sh) {
			return // it is written once
		}
		sh.label = base + "~" + strconv.Itoa(i)
	}
	n.shapes[sh.label] = sh
	n.order = append(n.order, sh)
	n.visit(sh.key, dropped)
	n.visit(sh.elem, dropped)
	n.fields(sh, false)
	if dropped {
		n.fields(sh, true)
	}
}

// pairs are shapes that were compared, or are being compared.
type pairs map[[2]*shape]bool

// equal reports whether shapes are written alike, but for their names.
func (p pairs) equal(a, b *shape) bool {
	key := [2]*shape{a, b}
	switch {
	case a == nil || b == nil || p[key]:
		return a == b || p[key]
	case a.kind != b.kind || a.bits != b.bits || a.size != b.size || a.by != b.by || a.json != b.json || a.array != b.array:
		return false
	}
	p[key] = true
	return p.equal(a.key, b.key) && p.equal(a.elem, b.elem) && p.equal(a.inJSON, b.inJSON) && slices.EqualFunc(a.fields, b.fields, func(f, g *field) bool {
		return f.name == g.name && f.dropped == g.dropped && f.marks() == g.marks() && p.equal(f.shape, g.shape)
	})
}
