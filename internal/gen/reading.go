// Which field reads what is stored under a name, as the codecs decide it.

package gen

import (
	"slices"
	"strings"
)

// key is what a value is stored under in a struct.
type key struct {
	name   string
	number bool // an integer, of the option keyasint
}

func (k key) String() string {
	if k.number {
		return "the integer " + k.name
	}
	return quoted(k.name)
}

// key returns what a codec stores a field under, and false if it leaves it out.
func (f *field) key(c codec) (key, bool) {
	if c == byJSON {
		return key{name: f.json}, f.json != ""
	}
	return key{f.name, f.number}, true
}

// keys returns what a codec has stored a field under: first its present key, if it has
// one, then its former ones.
func (f *field) keys(c codec) (ks []key) {
	if k, ok := f.key(c); ok {
		ks = append(ks, k)
	}
	for _, name := range f.was {
		if c == byCBOR || jsonName(name) {
			ks = append(ks, key{name: name})
		}
	}
	return ks
}

// folds reports whether a codec takes a name for another one that it does not find.
func (c codec) folds(stored, name string) bool {
	return strings.EqualFold(stored, name) && (c == byJSON || len(stored) == len(name))
}

// keyed is a field by a key that it is decoded by.
type keyed struct {
	key
	field *field
}

// pick returns what a codec decodes a stored key to: the field of that name or else, for
// names, the first of those that differ in case alone. Any of these may be meant, so all
// are returned.
func (c codec) pick(all []keyed, stored key) (found []*field) {
	for _, n := range all {
		switch {
		case n.key == stored:
			return []*field{n.field}
		case !n.number && !stored.number && c.folds(stored.name, n.name):
			found = append(found, n.field)
		}
	}
	return found
}

// readers returns the fields of a struct that get what a codec has stored under a key.
// Generated code decodes twice, the former names and the present ones, so these may be
// different ones.
func (s *shape) readers(c codec, stored key) (found []*field) {
	var present, former []keyed
	for _, f := range s.fields {
		if k, ok := f.key(c); ok {
			present = append(present, keyed{k, f})
		}
		for _, name := range f.was {
			if c == byCBOR || jsonName(name) {
				former = append(former, keyed{key{name: name}, f})
			}
		}
	}
	for _, f := range slices.Concat(c.pick(present, stored), c.pick(former, stored)) {
		if !slices.Contains(found, f) {
			found = append(found, f)
		}
	}
	return found
}

// reading is what becomes of a field that was stored.
type reading struct {
	old    *field
	now    []*field // those that read it; none: it is gone
	missed []miss
}

// miss is a key under which a value was stored and would not be found.
type miss struct {
	key
	former bool
	codec  codec // of a key that is not a former one
}

// read finds out what becomes of a field of a struct that is now another one.
func (s *shape) read(old *field) reading {
	r := reading{old: old}
	if s.array {
		// The default codec goes by the order, which was compared before.
		if i := slices.IndexFunc(s.fields, func(f *field) bool { return f.name == old.name }); i >= 0 {
			r.now = []*field{s.fields[i]}
		}
	}
	found := map[string]bool{}
	for _, c := range bothCodecs {
		if s.array && c == byCBOR {
			continue
		}
		for _, k := range old.keys(c) {
			fields := s.readers(c, k)
			for _, f := range fields {
				if !slices.Contains(r.now, f) {
					r.now = append(r.now, f)
				}
			}
			own, _ := old.key(c)
			switch {
			case len(fields) > 0:
				found[k.name] = true
			case k == own && !r.misses(k):
				r.missed = append(r.missed, miss{key: k, codec: c})
			}
		}
	}
	// A former name may have been that of one codec alone.
	for _, name := range old.was {
		if k := (key{name: name}); !found[name] && !r.misses(k) {
			r.missed = append(r.missed, miss{key: k, former: true})
		}
	}
	return r
}

func (r *reading) misses(k key) bool {
	return slices.ContainsFunc(r.missed, func(m miss) bool { return m.key == k })
}
