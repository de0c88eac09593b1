package gen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lockError is the error for a line of a lock that cannot be parsed.
type lockError struct {
	line int
	err  error
}

func (e *lockError) Error() string { return e.err.Error() }

func (e *lockError) Unwrap() error { return e.err }

const fromVersionControl = "take the file from version control"

// parseLock parses a lock. Its errors are of type *lockError.
func parseLock(data []byte) (*lock, error) {
	p := &lockParser{shapes: map[string]*shape{}, defined: map[string]bool{}, referred: map[string]int{}}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for i, line := range strings.Split(text, "\n") {
		p.line, p.rest = i+1, strings.TrimSpace(line)
		if p.rest == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p.block(strings.HasPrefix(line, "\t") || strings.HasPrefix(line, " "))
		if p.space(); p.err == nil && p.rest != "" {
			p.fail("%q is too much", p.rest)
		}
		if p.err != nil {
			return nil, p.failed(line)
		}
	}
	if !p.ended {
		return nil, &lockError{p.line, fmt.Errorf("it is empty or cut off, as its last line is not %q, and what events are stored as is not known without it; %s, "+
			"or delete it if no event was ever stored", lockEnd, fromVersionControl)}
	}
	return &p.lock, p.undefined()
}

// failed returns the error about a line.
func (p *lockParser) failed(line string) error {
	for _, marker := range []string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"} {
		if strings.HasPrefix(line, marker) {
			return &lockError{p.line, fmt.Errorf("line %d is a conflict of a merge; keep the lines of both sides, "+
				"each field once with the marks of both, and generate again", p.line)}
		}
	}
	return &lockError{p.line, fmt.Errorf("line %d is not as evento gen writes it: %w; %s", p.line, p.err, fromVersionControl)}
}

// undefined returns an error about the first shape that is referred to and is not
// there.
func (p *lockParser) undefined() error {
	first := ""
	for name, line := range p.referred {
		if !p.defined[name] && (first == "" || line < p.referred[first]) {
			first = name
		}
	}
	if first == "" {
		return nil
	}
	p.line = p.referred[first]
	p.fail("there is no kind of field %q, and no shape of that name", first)
	return p.failed("")
}

// lockParser parses a lock line by line. After its first error, every method returns
// an empty value.
type lockParser struct {
	lock     lock
	event    *lockedEvent // whose block it is; nil: that of a shape
	current  *shape       // the struct or other shape whose block it is
	ended    bool
	shapes   map[string]*shape
	defined  map[string]bool
	referred map[string]int // the line of the first reference

	line int
	rest string // of the line
	err  error
}

func (p *lockParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = ""
}

const newer = "; a newer evento gen may have written it"

// block parses a line of a block, or the first of one.
func (p *lockParser) block(indented bool) {
	switch {
	case p.ended:
		p.fail("it is behind the line %s", lockEnd)
	case indented && p.current == nil:
		p.fail("it belongs to no event and no shape")
	case indented && p.take("@"):
		p.said()
	case indented:
		p.field()
	case p.take("event "):
		p.event = &lockedEvent{aggregate: p.name(), name: p.name(), line: p.line, shape: &shape{kind: kindStruct}}
		p.current = p.event.shape
		if p.lock.find(p.event.aggregate, p.event.name) != nil {
			p.fail("the event %s is there twice", p.event.name)
		}
		p.lock.events = append(p.lock.events, p.event)
	case p.take("shape "):
		name := p.name()
		p.event, p.current = nil, p.called(name)
		if p.defined[name] {
			p.fail("the shape %s is there twice", name)
		}
		p.defined[name] = true
	case p.rest == lockEnd:
		p.ended, p.rest = true, ""
	default:
		p.fail("it begins with none of #, event, shape and %s"+newer, lockEnd)
	}
}

// said parses a line with @.
func (p *lockParser) said() {
	text := p.rest
	e := p.event
	switch word := p.name(); {
	case word == "array":
		p.current.array = true
	case e == nil && word == "is":
		p.is(p.current)
	case e == nil:
		p.fail("there is no @%s of a shape"+newer, text)
	case word == "was":
		e.was = append(e.was, p.name())
	case word == "upcast":
		e.upcast = append(e.upcast, p.name())
	case word == "retired":
		e.retired = true
	case word == "json":
		e.shape.json = e.name
	case word == "encoding":
		k := kind(p.name())
		if !slices.Contains([]kind{kindText, kindBinary, kindCBOR}, k) {
			p.fail("there is no encoding %s"+newer, k)
		}
		e.shape.kind = k
		if e.shape.encodes() && e.shape.json == "" {
			e.shape.inJSON = p.inJSON(0)
		}
	default:
		p.fail("there is no @%s"+newer, text)
	}
}

// is parses what a shape is that is no struct. Its parts may refer to it.
func (p *lockParser) is(sh *shape) {
	of := *p.shape(0)
	if of.elem == nil || of.label+of.json != "" || sh.array || sh.elem != nil || len(sh.fields) > 0 {
		p.fail("the shape %s is not made of others", sh.label)
	}
	of.label, of.json = sh.label, sh.json // those who refer to it say which JSON it has
	*sh = of
	seen := map[*shape]bool{}
	for ; sh.kind == kindPointer && sh.elem != nil; sh = sh.elem {
		if seen[sh] {
			p.fail("the shape %s is a pointer to itself, and nothing else", of.label)
			return
		}
		seen[sh] = true
	}
}

// field parses a field and its marks.
func (p *lockParser) field() {
	if p.event == nil && p.current.kind != kindStruct {
		p.fail("the shape %s is no struct", p.current.label)
		return
	}
	f := &field{dropped: p.take("-")}
	f.name = p.name()
	f.shape, f.json = p.shape(0), f.name
	for p.err == nil && p.rest != "" {
		p.mark(f)
	}
	if !f.dropped && slices.ContainsFunc(p.current.fields, func(o *field) bool {
		return !o.dropped && o.name == f.name && o.number == f.number
	}) {
		p.fail("the field %s is there twice", f.name)
	}
	p.current.fields = append(p.current.fields, f)
}

func (p *lockParser) mark(f *field) {
	text := p.rest
	word := p.name()
	if !p.take("=") {
		switch word {
		case "keyasint":
			f.number = true
		case "quoted":
			f.quoted = true
		case "omits":
			f.omits = true
		case "null":
			f.null = true
		case "added":
			f.added = true
		default:
			p.fail("there is no mark %s"+newer, text)
		}
		return
	}
	switch word {
	case "default":
		if f.value != "" {
			p.fail("%s has two defaults", f.name)
		}
		f.value = p.literal()
	case "json":
		if f.json != f.name {
			p.fail("%s has two names for the JSON codec", f.name)
		}
		if f.json = ""; !p.take("-") {
			f.json = p.name()
		}
	case "was":
		f.was = append(f.was, p.name())
	case "tag":
		f.tags = append(f.tags, p.name())
	default:
		p.fail("there is no mark %s"+newer, text)
	}
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

// quotedText takes a text in quotes, as it is written.
func (p *lockParser) quotedText() string {
	q, err := strconv.QuotedPrefix(p.rest)
	if err != nil {
		p.fail("%q has no closing quote", p.rest)
		return ""
	}
	p.rest = p.rest[len(q):]
	return q
}

// literal parses a default.
func (p *lockParser) literal() string {
	defer p.space()
	if strings.HasPrefix(p.rest, `"`) {
		return p.quotedText()
	}
	var text string
	text, p.rest, _ = strings.Cut(p.rest, " ")
	if text == "" {
		p.fail("a value is missing")
	}
	return text
}

// name parses a name in the format of quoted.
func (p *lockParser) name() string {
	defer p.space()
	if strings.HasPrefix(p.rest, `"`) {
		q := p.quotedText()
		name, err := strconv.Unquote(q)
		if err != nil {
			p.fail("%s: %w", q, err)
		}
		return name
	}
	end := strings.IndexAny(p.rest, " []()=,")
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

// simpleShapes are the shapes that are one word. Behind text, binary and cbor is a type
// in parentheses.
var simpleShapes = map[string]shape{
	"bool": {kind: kindBool}, "string": {kind: kindString}, "bytes": {kind: kindBytes, size: -1},
	"int8": {kind: kindInt, bits: 8}, "int16": {kind: kindInt, bits: 16},
	"int32": {kind: kindInt, bits: 32}, "int64": {kind: kindInt, bits: 64},
	"uint8": {kind: kindUint, bits: 8}, "uint16": {kind: kindUint, bits: 16},
	"uint32": {kind: kindUint, bits: 32}, "uint64": {kind: kindUint, bits: 64},
	"float32": {kind: kindFloat, bits: 32}, "float64": {kind: kindFloat, bits: 64},
	"time": {kind: kindTime}, "text": {kind: kindText}, "binary": {kind: kindBinary},
	"cbor": {kind: kindCBOR}, "bigint": {kind: kindBigInt}, "any": {kind: kindAny}, "none": {kind: kindNone},
}

// shape parses a shape; depth is how many shapes enclose it.
func (p *lockParser) shape(depth int) *shape {
	if !strings.HasPrefix(p.rest, "json(") {
		s := p.withoutJSON(depth)
		if s.encodes() && s.inJSON == nil {
			p.fail("it does not say how the JSON codec stores a %s, and there is no json(…) in front", s.by)
		}
		return s
	}
	p.take("json")
	name := p.inParentheses()
	s := p.withoutJSON(depth + 1)
	s.json = name
	return s
}

// withoutJSON parses a shape that has no json(…) in front.
func (p *lockParser) withoutJSON(depth int) *shape {
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
		p.sign("]")
		s.elem = p.shape(depth + 1)
		return s
	case p.take("["):
		n := p.number()
		p.sign("]")
		if !strings.HasPrefix(p.rest, "bytes") && p.take("byte") {
			return &shape{kind: kindBytes, size: n}
		}
		return &shape{kind: kindArray, size: n, elem: p.shape(depth + 1)}
	}
	return p.word(depth)
}

// word parses a shape of one word, or a name.
func (p *lockParser) word(depth int) *shape {
	isName := strings.HasPrefix(p.rest, `"`)
	word := p.name()
	s, ok := simpleShapes[word]
	if !ok || isName {
		if p.err == nil && p.referred[word] == 0 {
			p.referred[word] = p.line
		}
		return p.called(word)
	}
	switch s.kind {
	case kindText:
		s.by = p.inParentheses()
	case kindBinary, kindCBOR:
		p.sign("(")
		s.by = p.name()
		if p.take(",") {
			s.inJSON = p.inJSON(depth + 1)
		}
		p.sign(")")
	}
	return &s
}

// inJSON parses how the JSON codec stores a type with an encoding of its own: as any
// shape, or by its own MarshalText.
func (p *lockParser) inJSON(depth int) *shape {
	if behind, ok := strings.CutPrefix(p.rest, "text"); ok && (behind == "" || behind[0] == ')') {
		p.take("text")
		return &shape{kind: kindText}
	}
	return p.shape(depth)
}

// sign takes a sign that is to be there.
func (p *lockParser) sign(sign string) {
	if !p.take(sign) {
		p.fail("a %s is missing", sign)
	}
}

func (p *lockParser) inParentheses() string {
	p.sign("(")
	name := p.name()
	p.sign(")")
	return name
}

// called returns the shape of a name, whose block may be further down.
func (p *lockParser) called(name string) *shape {
	if name == "" {
		p.fail("a name is missing")
	}
	if p.shapes[name] == nil {
		p.shapes[name] = &shape{kind: kindStruct, label: name}
	}
	return p.shapes[name]
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
