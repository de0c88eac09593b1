// Whether values that are stored in one shape can be read in another.

package gen

import "slices"

// values compares the shapes of a value.
func (c *comparison) values(stored, now *shape, at location) {
	stored, null := stored.pointedTo()
	now, pointer := now.pointedTo()
	if null || stored.kind == kindList || stored.kind == kindMap {
		at.absent = false // nothing is within what was left out
	}
	if stored.elem != nil && c.again(stored, now, at) {
		return // it contains itself
	}
	no := "it is stored as " + stored.String() + ", which cannot be read as " + now.String()
	switch {
	case stored.kind == kindNone: // there is nothing to read
	case null && !pointer && now.kind == kindCBOR:
		c.unreadable(at, "nil is stored as null, which the UnmarshalCBOR of "+now.by+" may not read")
	case now.kind == kindAny && now.json == "":
		if stored.kind != kindAny && !stored.anyReads(map[*shape]bool{}) {
			c.unreadable(at, no)
		}
	case stored.json != now.json && !c.trying():
		who := "for the JSON codec, "
		if at.none != "" {
			who = "" // as is said of all that is compared there
		}
		c.encoders(at, who, stored.json, now.json)
	case stored.kind == now.kind && stored.by != now.by:
		c.encoders(at, "", stored.by, now.by)
	case stored.kind == kindStruct && now.kind == kindStruct:
		c.structs(stored, now, at)
	case stored.kind == kindMap && now.kind == kindMap:
		c.keys(stored.key, now.key, at)
		c.values(stored.elem, now.elem, at)
	case now.kind == kindList && (stored.kind == kindList || stored.kind == kindArray),
		now.kind == kindArray && stored.kind == kindArray && now.size >= stored.size:
		c.values(stored.elem, now.elem, at)
	case !reads(stored, now):
		c.unreadable(at, no)
	case stored.inJSON != nil && now.inJSON != nil:
		c.inJSON(stored.inJSON, now.inJSON, at, noneInJSON(now))
	}
}

// noneInJSON returns what a lock has for a type of which the JSON codec stored none.
func noneInJSON(sh *shape) string {
	none := *sh
	none.inJSON = &shape{kind: kindNone}
	return none.String()
}

// keys compares the keys of maps.
func (c *comparison) keys(stored, now *shape, at location) {
	switch {
	case !keyReads(stored, now):
		c.unreadable(at, "it is stored as "+stored.String()+", which cannot be read as "+now.String())
	case stored.by != now.by && now.by != "":
		c.encoders(at, "", stored.by, now.by)
	case stored.inJSON != nil && now.inJSON != nil && stored.inJSON.keyInJSON():
		c.inJSON(stored.inJSON, now.inJSON, at, noneInJSON(now))
	}
}

// keyInJSON reports whether the JSON codec stores maps by such keys.
func (s *shape) keyInJSON() bool {
	return slices.Contains([]kind{kindString, kindInt, kindUint, kindText}, s.kind)
}

// unreadable refuses a value that cannot be read.
func (c *comparison) unreadable(at location, why string) {
	c.problem(at, "%s; "+remedy, why)
}

// encoders refuses that another type encodes a value.
func (c *comparison) encoders(at location, who, stored, now string) {
	name := func(typ string) string {
		if typ == "" {
			return "no type of its own"
		}
		return typ
	}
	why := who + "it is encoded by " + name(stored) + ", and would be decoded by " + name(now)
	if stored != "" && now != "" {
		why += "; if that is its new name, write it in " + LockName
	}
	c.unreadable(at, why)
}

// pointedTo returns the shape behind pointers, and whether there were any.
func (s *shape) pointedTo() (*shape, bool) {
	pointer := s.kind == kindPointer
	for s.kind == kindPointer {
		s = s.elem
	}
	return s, pointer
}

// reads reports whether every value of a shape is one of another, for shapes that are
// not composite.
func reads(stored, now *shape) bool {
	same := stored.kind == now.kind
	integer := stored.kind == kindInt || stored.kind == kindUint
	switch now.kind {
	case kindInt:
		return same && now.bits >= stored.bits || stored.kind == kindUint && now.bits > stored.bits
	case kindUint:
		return same && now.bits >= stored.bits
	case kindFloat:
		// The float must represent so many bits exactly.
		return same && now.bits >= stored.bits || integer && stored.bits <= now.bits/2
	case kindBigInt:
		return same || integer
	case kindString:
		return same || stored.kind == kindText || stored.kind == kindTime
	case kindBytes:
		return same && (now.size < 0 || stored.size >= 0 && now.size >= stored.size)
	case kindPointer, kindList, kindArray, kindMap, kindStruct:
		return false
	}
	return same
}

// keyReads reports whether keys of a map can be read. The JSON codec has no others
// than strings, integers and texts.
func keyReads(stored, now *shape) bool {
	switch now.kind {
	case kindInt, kindUint, kindString:
		return reads(stored, now)
	case kindArray, kindStruct, kindBytes:
		return pairs{}.equal(stored, now)
	}
	return stored.kind == now.kind && stored.bits == now.bits
}

// anyReads reports whether a value can be read into any: it must be known what is
// stored, keys of maps must be comparable, and numbers fit into the float64 that JSON
// makes of them.
func (s *shape) anyReads(seen map[*shape]bool) bool {
	if s == nil || seen[s] {
		return true
	}
	seen[s] = true
	switch s.kind {
	case kindCBOR, kindBigInt:
		return false
	case kindBinary:
		return s.inJSON.anyReads(seen)
	case kindInt, kindUint:
		return s.bits < 64
	case kindMap:
		switch s.key.kind {
		case kindBool, kindInt, kindUint, kindFloat, kindString, kindText, kindTime, kindAny:
		default:
			return false
		}
	}
	for _, f := range s.fields {
		if !f.shape.anyReads(seen) {
			return false
		}
	}
	return s.elem.anyReads(seen)
}
