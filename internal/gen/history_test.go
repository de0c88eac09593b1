package gen

import "testing"

// What events are read as that were stored without a field.
func TestLockOfDefaults(t *testing.T) {
	t.Parallel()
	const orDelete = ", or delete the field in evento.lock if no event was stored since it is there"
	checkChanges(t, map[string]change{
		"a new field":        {"type E struct{ A int }", "type E struct{ A int\nB int //evento:default 5\n}", ""},
		"of all events":      {"type E struct{ A int }", "type E struct{\nA int //evento:default 5\n}", ""},
		"of a pointer":       {"type E struct{ A *int }", "type E struct{\nA *int //evento:default 5\n}", ""},
		"of an added field":  {"type E struct{}\n----\ntype E struct{ A int }", "type E struct{\nA int //evento:default 5\n}", "p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as 5; remove //evento:default" + orDelete},
		"of a pointer added": {"type E struct{}\n----\ntype E struct{ A *int }", "type E struct{\nA *int //evento:default 5\n}", "p.go:5:1: event E: field A: events that were stored without it are read as nil, and would be read as 5; *"},
		"zero of an added":   {"type E struct{}\n----\ntype E struct{ A int }", "type E struct{\nA int //evento:default 0\n}", ""},
		"of an added, renamed": {"type E struct{}\n----\ntype E struct{ A int }", "type E struct{\n//evento:was A\nB int //evento:default 5\n}",
			"p.go:6:1: event E: field B: events that were stored without it are read as the zero value, and would be read as 5; *"},
		"of what was omitted": {"type E struct{ A string `json:\",omitempty\"` }", "type E struct{\nA string //evento:default \"x\"\n}",
			`p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as "x"; *`},
		"of what was omitted once": {"type E struct{ A bool `json:\",omitempty\"` }\n----\ntype E struct{ A bool }", "type E struct{\nA bool //evento:default true\n}",
			"p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as true; *"},
		"of what JSON omitted": {"type E struct{ A int `json:\",omitzero\" cbor:\"A\"` }", "type E struct{\nA int //evento:default 5\n}",
			"p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as 5; *"},
		"of what JSON left out": {"type E struct{ A int `json:\"-\" cbor:\"A\"` }", "type E struct{\nA int //evento:default 5\n}",
			"p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as 5; *"},
		"of what is back": {"type E struct{ B int; A int `json:\",omitempty\"` }\n----\ntype E struct{ B int }", "type E struct{ B int\nA int //evento:default 5\n}",
			"p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as 5; *"},
		"of what is back, and always was there": {"type E struct{ A, B int }\n----\ntype E struct{ B int }", "type E struct{ B int\nA int //evento:default 5\n}", ""},
		"of what was in a pointer":              {"type E struct{ *I }\ntype I struct { A int }", "type E struct{\nA int //evento:default 5\n}", "p.go:5:1: event E: field A: events that were stored without it *"},
		"changed":                               {"type E struct{\nA int //evento:default 5\n}", "type E struct{\nA int //evento:default 6\n}", "p.go:5:1: event E: field A: events that were stored without it are read as 5, and would be read as 6; put back //evento:default 5" + orDelete},
		"changed by its constant":               {"type E struct{\nA int //evento:default c\n}\nconst c = 5", "type E struct{\nA int //evento:default c\n}\nconst c = 6", "p.go:5:1: event E: field A: events that were stored without it are read as 5, and would be read as 6; *"},
		"written differently":                   {"type E struct{\nA int //evento:default 5\n}", "type E struct{\nA int //evento:default c + 1\n}\nconst c = 4", ""},
		"wider":                                 {"type E struct{\nA int8 //evento:default 5\n}", "type E struct{\nA *float64 //evento:default 5\n}", ""},
		"of a pointer, no pointer now":          {"type E struct{\nA *int //evento:default 5\n}", "type E struct{\nA int //evento:default 5\n}", "p.go:5:1: event E: field A: a nil is stored as null, and would be read as 5; keep the pointer or remove //evento:default"},
		"of what was a pointer":                 {"type E struct{ A *int }\n----\ntype E struct{ A int }", "type E struct{\nA int //evento:default 5\n}", "p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as 5; *"},
		"of what was a time": {"import \"time\"\n//evento:aggregate p/A\ntype E struct{ A time.Time }", "type E struct{\nA string //evento:default \"x\"\n}",
			`p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as "x"; *`},
		"of what was a time once": {"import \"time\"\n//evento:aggregate p/A\ntype E struct{ A time.Time }\n----\ntype E struct{ A string }", "type E struct{\nA string //evento:default \"x\"\n}",
			`p.go:5:1: event E: field A: events that were stored without it are read as the zero value, and would be read as "x"; *`},
		"of a renamed pointer": {"type E struct{ A *int }", "type E struct{\n//evento:was A\nB *int //evento:default 5\n}",
			"p.go:6:1: event E: field B: a nil is stored as null, and under a former name it would be read as 5; remove //evento:default, or restore the name"},
		"of a pointer renamed once": {"type E struct{ A *int }\n----\ntype E struct{\n//evento:was A\nB *int\n}", "type E struct{\n//evento:was A\nB *int //evento:default 5\n}",
			"p.go:6:1: event E: field B: a nil is stored as null, and under a former name it would be read as 5; *"},
		"of a renamed value":     {"type E struct{ A int }", "type E struct{\n//evento:was A\nB *int //evento:default 5\n}", ""},
		"removed":                {"type E struct{\nA string //evento:default \"a b\"\n}", "type E struct{ A string }", `p.go:4:16: event E: field A: events that were stored without it are read as "a b", and would be read as the zero value; put back //evento:default "a b"` + orDelete},
		"removed, a pointer":     {"type E struct{\nA *int //evento:default 0\n}", "type E struct{ A *int }", "p.go:4:16: event E: field A: events that were stored without it are read as the zero value, and would be read as nil; *"},
		"removed with the field": {"type E struct{ B int\nA string //evento:default \"a\"\n}", "type E struct{ B int }", ""},
		"in an old event alone": {"type E struct{ B int\nA int //evento:default 5\n}", "//evento:upcast f\ntype F struct{}\n//evento:event E\ntype old struct{\nA int //evento:default 5\n}\nfunc f(old) F { return F{} }",
			"p.go:8:7: old is read alone, and of its fields nothing is known but the names in their tags; put it into the group of its aggregate with //evento:retired, or remove the directive"},
	})
}

// By which tags events are found.
func TestLockOfTags(t *testing.T) {
	t.Parallel()
	const tagged = "type E struct{\nA string //evento:tag a\nB string\n}"
	checkChanges(t, map[string]change{
		"same":    {tagged, "type E struct{ B string\nA string //evento:tag a\n}", ""},
		"added":   {tagged, "type E struct{\n//evento:tag c\nA string //evento:tag a\nB string //evento:tag a\n}", ""},
		"renamed": {tagged, "type E struct{\nA string //evento:tag c\nB string\n}", "p.go:5:1: event E: field A: its tag changed from a to c, and stored events are not found by the new one; keep //evento:tag a beside it, or put //evento:untag a above the event, or delete tag=a in evento.lock if no event was stored with it"},
		"removed": {tagged, "type E struct{ A, B string }", "p.go:4:16: event E: field A: the tag a of field A is gone, and new events are not found by it as stored ones are; put it back, or put //evento:untag a above the event, or delete tag=a in evento.lock if no event was stored with it"},
		"moved":   {tagged, "type E struct{ A string\nB string //evento:tag a\n}", "p.go:4:16: event E: field A: the tag a of field A is that of field B now, and stored events are not found by it; put it back, or put //evento:untag a A above the event, or delete tag=a in evento.lock if no event was stored with it"},
		"moved to what is new": {tagged, "type E struct{ A, B string\nC string //evento:tag a\n}",
			"p.go:4:16: event E: field A: the tag a of field A is that of field C now, *"},
		"one of two removed":         {"type E struct{\nA string //evento:tag a\nB string //evento:tag a\n}", "type E struct{\nA string //evento:tag a\nB string\n}", "p.go:6:1: event E: field B: the tag a of field B is that of field A now, *"},
		"removed with the field":     {tagged, "type E struct{ B string }", "p.go:4:6: event E: the tag a of field A is gone, and new events are not found by it as stored ones are; put it back, or put //evento:untag a above the event, *"},
		"field renamed":              {tagged, "type E struct{\n//evento:was A\nC string //evento:tag a\nB string\n}", ""},
		"field a pointer":            {tagged, "type E struct{\nA *string //evento:tag a\nB string\n}", ""},
		"renamed, said so":           {tagged, "//evento:untag a\ntype E struct{\nA string //evento:tag c\nB string\n}", ""},
		"removed, said so":           {tagged, "//evento:untag a\ntype E struct{ A, B string }", ""},
		"removed with it, said so":   {tagged, "//evento:untag a\ntype E struct{ B string }", ""},
		"moved, said so":             {tagged, "//evento:untag a A\ntype E struct{ A string\nB string //evento:tag a\n}", ""},
		"moved, said of no field":    {tagged, "//evento:untag a\ntype E struct{ A string\nB string //evento:tag a\n}", "p.go:5:6: event E: //evento:untag a: the field B has the tag; remove one of them, or write the name of the field that had it behind"},
		"moved, said of another":     {tagged, "//evento:untag a B\ntype E struct{ A string\nB string //evento:tag a\n}", "p.go:5:6: event E: //evento:untag a B: the field has the tag; remove one of them"},
		"said, and there":            {tagged, "//evento:untag a A\n" + tagged, "p.go:5:6: event E: //evento:untag a A: the field has the tag; remove one of them"},
		"said of another":            {tagged, "//evento:untag b\ntype E struct{ A, B string }", "p.go:5:16: event E: field A: the tag a of field A is gone, *"},
		"said of nothing":            {tagged, "//evento:untag\n" + tagged, "p.go:4:1: //evento:untag needs the name of a tag behind it, and may have that of the field which had it; write //evento:untag course"},
		"and later":                  {tagged + "\n----\n//evento:untag a\ntype E struct{ A, B string }", "type E struct{ A, B string }", ""},
		"retired":                    {tagged, "//evento:retired\ntype E struct{ A, B string }", ""},
		"an older event now":         {tagged, "//evento:upcast f\ntype F struct{}\n//evento:event E\ntype old struct{ A, B string }\nfunc f(old) F { return F{} }", ""},
		"of another String":          {"type E struct{\nA R //evento:tag a\n}\ntype R struct { N int }\nfunc (R) String() string { return \"\" }", "type E struct{\nA S //evento:tag a\n}\ntype S struct { N int }\nfunc (S) String() string { return \"\" }", "p.go:5:1: event E: field A: the text of its tag a is no longer given by R.String, so that stored events may not be found; if both give the same, write the new one in evento.lock, and if not, use another tag"},
		"of an event's former shape": {tagged, "//evento:was E\ntype F struct{ A, B string }", "p.go:5:16: event F: field A: the tag a of field A is gone, *"},
	})
}
