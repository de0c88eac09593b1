// The fields of structs, as each codec finds them.

package gen

import (
	"fmt"
	"go/types"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// codec is one of the two codecs whose names for fields may differ.
type codec int

const (
	byCBOR codec = iota // the default one
	byJSON
)

var bothCodecs = []codec{byCBOR, byJSON}

// tag returns what a codec reads of a field's tag.
func (c codec) tag(tag reflect.StructTag) string {
	if text := tag.Get("cbor"); c == byCBOR && text != "" {
		return text
	}
	return tag.Get("json")
}

// member is a field that a codec finds in a struct or in one that is embedded in it.
type member struct {
	v       *types.Var
	name    string
	options []string
	path    []string // Go names
	index   []int    // positions, which identify it
	tagged  bool     // it goes before an untagged one of its name
	pointer bool     // within an embedded pointer, so there may be none
	twice   bool     // its struct is embedded twice at one depth
}

func (m *member) has(option string) bool { return slices.Contains(m.options, option) }

// embedded is a struct whose fields are those of the struct around it.
type embedded struct {
	member
	t types.Type
	u *types.Struct
}

// collector collects the members of a struct for one codec: those of the struct, and
// then those of embedded ones, level by level.
type collector struct {
	*shaper
	codec   codec
	at      string
	all     []*member
	visited map[types.Type]bool
	next    []*embedded
	slow    string
}

// members returns the fields of a struct that a codec finds, before those of one name
// are sorted out, and why only the default codec can encode it, or "".
func (s *shaper) members(t types.Type, u *types.Struct, c codec, at string) (all []*member, slow string, err error) {
	m := &collector{shaper: s, codec: c, at: at, visited: map[types.Type]bool{}, next: []*embedded{{t: t, u: u}}}
	for len(m.next) > 0 {
		current := m.next
		m.next = nil
		for _, e := range current {
			// A struct that is embedded twice at one depth is left out by the default
			// codec. JSON lets it hide what is deeper.
			if m.visited[e.t] || e.twice && c == byCBOR {
				continue
			}
			m.visited[e.t] = true
			for i := range e.u.NumFields() {
				if err := m.field(e, i); err != nil {
					return nil, "", err
				}
			}
		}
	}
	return m.all, m.slow, nil
}

// field adds a field, or what is embedded by it.
func (c *collector) field(in *embedded, i int) error {
	v := in.u.Field(i)
	t := types.Unalias(v.Type())
	_, pointer := t.Underlying().(*types.Pointer)
	if pointed := behindPointers(t); pointed != nil {
		t = pointed
	}
	inner, isStruct := t.Underlying().(*types.Struct)
	text := c.codec.tag(reflect.StructTag(in.u.Tag(i)))
	if !v.Exported() && (!v.Embedded() || !isStruct) || text == "-" {
		return nil
	}
	name, options, _ := strings.Cut(text, ",")
	m := member{
		v: v, name: name, options: strings.Split(options, ","), tagged: text != "", pointer: in.pointer, twice: in.twice,
		path: append(slices.Clone(in.path), v.Name()), index: append(slices.Clone(in.index), i),
	}
	if c.codec == byJSON {
		if !jsonName(name) {
			m.name = ""
		}
		m.tagged = m.name != ""
	}
	if v.Embedded() && isStruct && m.name == "" {
		return c.embed(&embedded{m, t, inner}, pointer)
	}
	if m.name == "" {
		m.name = v.Name()
	}
	if !v.Exported() && c.codec == byCBOR {
		// The codec cannot set an unexported embedded struct that has a name.
		return &unsupportedError{join(c.at, m.path), "an unexported field with a name cannot be read back", "export its type"}
	}
	c.all = append(c.all, &m)
	return nil
}

// embed adds an embedded struct to the next level.
func (c *collector) embed(e *embedded, pointer bool) error {
	if pointer {
		c.slow, e.pointer = "an embedded pointer", true
		if !e.v.Exported() && c.codec == byCBOR {
			return &unsupportedError{join(c.at, e.path), "an embedded pointer to an unexported struct cannot be read back", "embed the struct itself"}
		}
	}
	if !e.v.Exported() && e.v.Pkg() != c.pkg {
		c.slow = "an unexported struct that another package embeds"
	}
	for _, o := range c.next {
		if o.t == e.t {
			o.twice = true
			return nil
		}
	}
	e.twice = false
	c.next = append(c.next, e)
	return nil
}

// jsonName reports whether the JSON codec takes a name from a tag.
func jsonName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// outermost returns the members that count: of those of one name, the outermost; if
// there are several, the tagged one, if there is exactly one; else none. rival is
// another one with the same right as the first for which there is none.
func outermost(all []*member, same func(a, b *member) bool) (found []*member, first, rival *member) {
	for _, m := range all {
		hidden := m.twice
		var equal *member
		for _, o := range all {
			switch {
			case o == m || !same(o, m):
			case len(o.index) < len(m.index) || len(o.index) == len(m.index) && o.tagged && !m.tagged:
				hidden = true
			case len(o.index) == len(m.index) && o.tagged == m.tagged:
				equal = o
			}
		}
		switch {
		case hidden:
		case equal == nil:
			found = append(found, m)
		case first == nil:
			first, rival = m, equal
		}
	}
	return found, first, rival
}

// fieldsOf returns the fields of a struct as the default codec finds them, with the
// names that they have for the JSON codec.
func (s *shaper) fieldsOf(t types.Type, u *types.Struct, at string) (fields []*field, slow string, err error) {
	all, slow, err := s.members(t, u, byCBOR, at)
	if err != nil {
		return nil, "", err
	}
	for _, m := range all {
		if !m.has("keyasint") {
			continue
		}
		slow = "a field with the option keyasint"
		n, err := strconv.Atoi(m.name)
		if err != nil {
			return nil, "", &unsupportedError{join(at, m.path), fmt.Sprintf("it has the option keyasint, and its name %q is no integer", m.name),
				"write a number in its tag, such as `cbor:\"1,keyasint\"`"}
		}
		m.name = strconv.Itoa(n)
	}
	all, first, rival := outermost(all, func(a, b *member) bool { return a.name == b.name && a.has("keyasint") == b.has("keyasint") })
	if rival != nil {
		return nil, "", &unsupportedError{join(at, first.path),
			fmt.Sprintf("%s is stored as %q too, so that neither would be", join(at, rival.path), first.name), "give one of them another name with a json tag"}
	}
	// Arrays are stored in this order, and names that differ in case are found in it.
	slices.SortFunc(all, func(a, b *member) int { return slices.Compare(a.index, b.index) })
	json, _, err := s.members(t, u, byJSON, at)
	if err != nil {
		return nil, "", err
	}
	json, _, _ = outermost(json, func(a, b *member) bool { return a.name == b.name })
	for _, m := range all {
		f := newField(m)
		if m.has("omitempty") && m.has("omitzero") {
			slow = "omitempty together with omitzero"
		}
		if i := slices.IndexFunc(json, func(j *member) bool { return slices.Equal(j.index, m.index) }); i >= 0 {
			f.setJSON(json[i])
		}
		fields = append(fields, f)
	}
	return fields, slow, nil
}

func newField(m *member) *field {
	f := &field{name: m.name, number: m.has("keyasint"), path: m.path, v: m.v, omits: m.pointer, behind: m.pointer}
	switch {
	case m.has("omitempty"):
		f.omit, f.omits = "empty", true
	case m.has("omitzero"):
		f.omit, f.omits = "zero", true
	}
	return f
}

// setJSON sets what the JSON codec knows of the field.
func (f *field) setJSON(m *member) {
	f.json = m.name
	f.omits = f.omits || m.has("omitempty") || m.has("omitzero")
	t := types.Unalias(f.v.Type())
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	b, ok := t.Underlying().(*types.Basic)
	f.quoted = m.has("string") && ok && b.Info()&(types.IsBoolean|types.IsNumeric|types.IsString) != 0
}

// arrayOption reports whether the default codec stores a struct as an array.
func (s *shaper) arrayOption(t types.Type, u *types.Struct, at string) (bool, error) {
	tag := blankTag(t, u)
	if hasOption(tag, ",toindefarray") {
		return false, &unsupportedError{at, s.name(t) + " has the option toindefarray, which the codec does not write", "use toarray"}
	}
	return hasOption(tag, ",toarray"), nil
}

// hasOption finds an option where the default codec does.
func hasOption(tag, option string) bool {
	_, rest, found := strings.Cut(tag, option)
	return found && (rest == "" || rest[0] == ',')
}

// blankTag returns the tag of the field _ that reflection finds by name: the first of
// the struct, or else the only one of the embedded structs that are least deep.
func blankTag(t types.Type, u *types.Struct) string {
	visited := map[types.Type]bool{}
	for current := []*embedded{{t: t, u: u}}; len(current) > 0; {
		var next []*embedded
		var found []string
		for _, e := range current {
			if visited[e.t] {
				continue
			}
			visited[e.t] = true
			for i := range e.u.NumFields() {
				v := e.u.Field(i)
				if v.Name() == "_" {
					found = append(found, reflect.StructTag(e.u.Tag(i)).Get("cbor"))
					if e.twice {
						found = append(found, "")
					}
					continue
				}
				inner, is := embeds(v)
				if !is {
					continue
				}
				inner.twice = e.twice
				if i := slices.IndexFunc(next, func(o *embedded) bool { return o.t == inner.t }); i >= 0 {
					next[i].twice = true
					continue
				}
				next = append(next, inner)
			}
		}
		switch {
		case len(found) == 1 || len(found) > 1 && current[0].t == t:
			return found[0]
		case len(found) > 1:
			return ""
		}
		current = next
	}
	return ""
}

// embeds returns the struct that a field embeds, if it does.
func embeds(v *types.Var) (*embedded, bool) {
	t := types.Unalias(v.Type())
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	u, ok := t.Underlying().(*types.Struct)
	return &embedded{t: t, u: u}, ok && v.Embedded()
}

func join(at string, path []string) string {
	p := strings.Join(path, ".")
	if at == "" {
		return p
	}
	return at + "." + p
}

// wireOrder sorts fields in the order in which they are stored: by their encoded
// names.
func wireOrder(fields []*field) []*field {
	sorted := slices.Clone(fields)
	slices.SortStableFunc(sorted, func(a, b *field) int {
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name)
		}
		return strings.Compare(a.name, b.name)
	})
	return sorted
}
