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

// A lock is a list of blocks. An event's line has its aggregate and its name. The
// indented lines below belong to it: a line with @ is a directive, a line with - is
// a dropped field, and the others are its fields.
//
//	event bank/Account AccountOpened
//		@was Opened
//		Balance int64
//		Owner string was=Name
//		-Branch string
const lockHeader = `# The shapes under which events are stored, kept by evento gen.
# Commit this file with the code: what would make stored events unreadable is
# refused by comparing with it.
`

// lock is what is recorded about a package's events.
type lock struct{ events []*lockedEvent }

type lockedEvent struct {
	aggregate, name string
	was             []string // former names
	upcast          []string // names of the events that are upcast to this one
	retired         bool
	fields          []*field
	shape           *shape // of events with their own encoding; else nil
	line            int
}

// lockOf returns the lock of events.
func lockOf(events []*event) *lock {
	l := &lock{}
	for _, e := range events {
		le := &lockedEvent{aggregate: aggregateType(e), name: e.name, was: e.was, retired: e.retired}
		for _, u := range e.upcasts {
			le.upcast = append(le.upcast, u.from.name)
		}
		if e.shape.kind == kindStruct {
			le.fields = e.fields()
		} else {
			le.shape = e.shape
		}
		l.events = append(l.events, le)
	}
	l.sort()
	return l
}

func (l *lock) sort() {
	slices.SortFunc(l.events, func(a, b *lockedEvent) int {
		if a.aggregate != b.aggregate {
			return strings.Compare(a.aggregate, b.aggregate)
		}
		return strings.Compare(a.name, b.name)
	})
}

// find returns the event that is, or was, stored under a name.
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
		if e.shape != nil {
			fmt.Fprintf(&b, "\t@encoding %s\n", e.shape)
		}
		for _, f := range e.fields {
			b.WriteString("\t" + f.String() + "\n")
		}
	}
	return b.Bytes()
}

// String returns a field as it is written in a lock.
func (f *field) String() string {
	s := quoted(f.name) + " " + f.shape.String()
	for _, name := range f.was {
		s += " was=" + quoted(name)
	}
	if f.dropped {
		return "-" + s
	}
	return s
}

// String returns a shape as it is written in a lock.
func (s *shape) String() string {
	switch s.kind {
	case kindInt, kindUint, kindFloat:
		return string(s.kind) + strconv.Itoa(s.bits)
	case kindBytes:
		if s.size >= 0 {
			return "[" + strconv.FormatInt(s.size, 10) + "]byte"
		}
		return "bytes"
	case kindPointer:
		return "*" + s.elem.String()
	case kindList:
		return "[]" + s.elem.String()
	case kindArray:
		return "[" + strconv.FormatInt(s.size, 10) + "]" + s.elem.String()
	case kindMap:
		return "map[" + s.key.String() + "]" + s.elem.String()
	case kindRef:
		return "^" + strconv.Itoa(s.up)
	case kindStruct:
		parts := make([]string, len(s.fields))
		for i, f := range s.fields {
			parts[i] = quoted(f.name) + " " + f.shape.String()
		}
		return "{" + strings.Join(parts, "; ") + "}"
	}
	return string(s.kind)
}

// quoted returns a name, in quotes if it has characters that need them.
func quoted(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return !isIdent(r) && !strings.ContainsRune("/.:+_-", r)
	}) < 0
	if plain && name != "" && !strings.ContainsAny(name[:1], "-@#") {
		return name
	}
	return strconv.Quote(name)
}

// parseLock parses a lock. Its errors name the line.
func parseLock(data []byte) (*lock, error) {
	l := &lock{}
	var current *lockedEvent
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p := &lockParser{rest: strings.TrimSpace(line)}
		switch indented := strings.HasPrefix(line, "\t") || strings.HasPrefix(line, " "); {
		case !indented && p.take("event "):
			current = &lockedEvent{aggregate: p.name(), name: p.name(), line: i + 1}
			if l.find(current.aggregate, current.name) != nil {
				p.fail("the event %s is there twice", current.name)
			}
			l.events = append(l.events, current)
		case !indented || current == nil:
			p.fail("it begins with neither # nor event")
		case p.take("@was "):
			current.was = append(current.was, p.name())
		case p.take("@upcast "):
			current.upcast = append(current.upcast, p.name())
		case p.take("@retired"):
			current.retired = true
		case p.take("@encoding "):
			current.shape = p.shape(0)
		case p.take("@"):
			p.fail("there is no @%s; a newer evento gen may have written it", p.rest)
		default:
			f := &field{dropped: p.take("-")}
			f.name, f.shape = p.name(), p.shape(0)
			for p.take("was=") {
				f.was = append(f.was, p.name())
			}
			current.fields = append(current.fields, f)
		}
		if p.space(); p.err == nil && p.rest != "" {
			p.fail("%q is too much", p.rest)
		}
		if p.err != nil {
			return nil, &lockError{i + 1, p.err}
		}
	}
	return l, nil
}

// lockError is the error for a line of a lock that cannot be parsed.
type lockError struct {
	line int
	err  error
}

func (e *lockError) Error() string {
	return fmt.Sprintf("line %d is not as evento gen writes it: %v; take the file from version control", e.line, e.err)
}

func (e *lockError) Unwrap() error { return e.err }

// lockParser parses one line. After its first error, every method returns an empty
// value.
type lockParser struct {
	rest string
	err  error
}

func (p *lockParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = ""
}

func (p *lockParser) space() { p.rest = strings.TrimLeft(p.rest, " ") }

func (p *lockParser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
		p.space()
	}
	return ok
}

// name parses a name in the format of quoted.
func (p *lockParser) name() string {
	defer p.space()
	if strings.HasPrefix(p.rest, `"`) {
		q, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			p.fail("%q has no closing quote", p.rest)
			return ""
		}
		p.rest = p.rest[len(q):]
		name, err := strconv.Unquote(q)
		if err != nil {
			p.fail("%s: %w", q, err)
		}
		return name
	}
	end := strings.IndexAny(p.rest, " ;{}[]=")
	if end < 0 {
		end = len(p.rest)
	}
	name := p.rest[:end]
	if name == "" {
		p.fail("a name is missing")
		return ""
	}
	p.rest = p.rest[end:]
	return name
}

// simpleShapes are the shapes that are one word.
var simpleShapes = map[string]shape{
	"bool": {kind: kindBool}, "string": {kind: kindString}, "bytes": {kind: kindBytes, size: -1},
	"int8": {kind: kindInt, bits: 8}, "int16": {kind: kindInt, bits: 16},
	"int32": {kind: kindInt, bits: 32}, "int64": {kind: kindInt, bits: 64},
	"uint8": {kind: kindUint, bits: 8}, "uint16": {kind: kindUint, bits: 16},
	"uint32": {kind: kindUint, bits: 32}, "uint64": {kind: kindUint, bits: 64},
	"float32": {kind: kindFloat, bits: 32}, "float64": {kind: kindFloat, bits: 64},
	"time": {kind: kindTime}, "text": {kind: kindText}, "binary": {kind: kindBinary},
	"cbor": {kind: kindCBOR}, "bigint": {kind: kindBigInt}, "any": {kind: kindAny},
}

// shape parses a shape; depth is how many shapes enclose it.
func (p *lockParser) shape(depth int) *shape {
	if depth > deepest {
		p.fail("it is nested deeper than %d", deepest)
		return &shape{}
	}
	switch {
	case p.take("*"):
		return &shape{kind: kindPointer, elem: p.shape(depth + 1)}
	case p.take("[]"):
		return &shape{kind: kindList, elem: p.shape(depth + 1)}
	case p.take("map["):
		s := &shape{kind: kindMap, key: p.shape(depth + 1)}
		if !p.take("]") {
			p.fail("a ] is missing")
		}
		s.elem = p.shape(depth + 1)
		return s
	case p.take("["):
		n := p.number()
		if !p.take("]") {
			p.fail("a ] is missing")
		}
		if !strings.HasPrefix(p.rest, "bytes") && p.take("byte") {
			return &shape{kind: kindBytes, size: n}
		}
		return &shape{kind: kindArray, size: n, elem: p.shape(depth + 1)}
	case p.take("^"):
		return &shape{kind: kindRef, up: int(p.number())}
	case p.take("{"):
		s := &shape{kind: kindStruct}
		for p.err == nil && !p.take("}") {
			if len(s.fields) > 0 && !p.take(";") {
				p.fail("a ; or } is missing")
				break
			}
			f := &field{}
			f.name, f.shape = p.name(), p.shape(depth+1)
			s.fields = append(s.fields, f)
		}
		return s
	}
	word := p.name()
	s, ok := simpleShapes[word]
	if !ok {
		p.fail("there is no kind of field %q", word)
	}
	return &s
}

func (p *lockParser) number() int64 {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(p.rest)
	}
	n, err := strconv.ParseInt(p.rest[:end], 10, 62)
	if err != nil {
		p.fail("a number is missing")
	}
	if p.err == nil {
		p.rest = p.rest[end:]
		p.space()
	}
	return n
}
