package gen

import "testing"

const (
	instead = "; if no event was ever stored so, write the new one in its place in evento.lock"
	unread  = "event E: field A: it is stored as string, which cannot be read as int64; *"
	toarray = "_ struct{} `cbor:\",toarray\"`; "
)

// By which names fields are read.
func TestLockOfNames(t *testing.T) {
	t.Parallel()
	checkChanges(t, map[string]change{
		"another case":                  {"type E struct{ A string }", "type E struct{ A string `json:\"a\"` }", ""},
		"another case and type":         {"type E struct{ Amount string }", "type E struct{ Amount int64 `json:\"amount\"` }", "p.go:4:16: event E: field Amount: it is stored as string, which cannot be read as int64; *"},
		"another case and type, inside": {"type E struct{ X I }\ntype I struct { Amount string }", "type E struct{ X []I }\ntype I struct { AMOUNT int }", "p.go:4:16: event E: field X: it is stored as I, which cannot be read as []I; *"},
		"another case in a list":        {"type E struct{ X []I }\ntype I struct { Amount string }", "type E struct{ X []I }\ntype I struct { AMOUNT int }", "p.go:4:16: event E: field X: X.Amount: it is stored as string, which cannot be read as int64; *"},
		"another case of a new field":   {"type E struct{ A string }", "type E struct{ A string; B int `json:\"a\"` }", ""},
		"two cases, one dropped":        {"type E struct{ A string; B string `json:\"a\"` }", "type E struct{ A string }", "p.go:4:16: event E: field A: it would be read from A and from a, and events may have both; *"},
		"two cases, one dropped inside": {"type E struct{ X I }\ntype I struct { A string; B string `json:\"a\"` }", "type E struct{ X I }\ntype I struct { B string `json:\"a\"` }", "p.go:4:16: event E: field X: X.a: it would be read from A and from a, and events may have both; *"},
		"two cases, both dropped":       {"type E struct{ A, C string; B string `json:\"a\"` }", "type E struct{ C string }", ""},
		"two cases, back as one":        {"type E struct{ A, C string; B string `json:\"a\"` }\n----\ntype E struct{ C string }", "type E struct{ A, C string }", "p.go:4:16: event E: field A: it would be read from A and from a, and events may have both; *"},
		"two cases, a type changed":     {"type E struct{ A string; B string `json:\"a\"` }", "type E struct{ A string; B int `json:\"a\"` }", "p.go:4:26: event E: field B: it is stored as string, which cannot be read as int64; *"},
		"two other cases":               {"type E struct{ Ab string }", "type E struct{ AB string; B string `json:\"aB\"` }", "p.go:4:16: event E: field AB: what is stored as Ab would be read into it and into B; give them back the names that they had, or others that differ in more than case"},
		"two other cases, said so": {"type E struct{ Ab string }", "type E struct{\n//evento:was Ab\nAB string\nB string `json:\"aB\"` }",
			"p.go:7:1: event E: field B would also get what field AB is stored as, Ab, as the codecs do not heed case; change one of the names"},
		"former case again":           {"type E struct{ A string }\n----\ntype E struct{ B string `json:\"a\"` }", "type E struct{ B string `json:\"a\"`; A string }", "p.go:4:16: event E: field B: what is stored as a would be read into it and into A; *"},
		"not the same for all codecs": {"type E struct{ S string }", "type E struct{ S string `json:\"ſ\"` }", "p.go:4:16: event E: field S: its stored name changed from S to ſ; put //evento:was S above it, or restore it in its tag" + instead},
		"was of another field's case": {"type E struct{ A string }", "type E struct{ A string\nB string //evento:was a\n}",
			`p.go:5:1: event E: field B would also get what field A is stored as, A, as the codecs do not heed case; change one of the names`},
		"was of a dropped field's case": {"type E struct{ A, B string }\n----\ntype E struct{ A string }", "type E struct{ A string\nC string //evento:was b\n}", ""},
		"was in another case, and the field": {"type E struct{ A string; B string `json:\"a\"` }", "type E struct{ B string `json:\"a\"`\nC string //evento:was A\n}",
			`p.go:5:1: event E: field C would also get what field B is stored as, a, as the codecs do not heed case; change one of the names`},
		"dropped, and a was that shares its name": {"type E struct{ A, B string }\n----\n//evento:dropped B\ntype E struct{ A string }", "type E struct {\n//evento:was A\nB string }",
			"p.go:6:1: event E: field B: it would be read from A and from B, and events may have both; keep a field for each" + never},
		"dropped under two names, back under one": {"type E struct{ X int\n//evento:was A\nB string }\n----\ntype E struct{ X int }", "type E struct{ X int; A string }",
			"p.go:4:23: event E: field A: its stored name changed from B to A; put //evento:was B above it, or restore it in its tag" + instead},
		"dropped under two names, back with both": {"type E struct{ X int\n//evento:was A\nB string }\n----\ntype E struct{ X int }", "type E struct{ X int\n//evento:was B\nA string }", ""},
		"dropped inside, back as another": {"type E struct{ X I }\ntype I struct { A string; B int }\n----\ntype E struct{ X I }\ntype I struct { B int }", "type E struct{ X I }\ntype I struct { A, B int }",
			"p.go:4:16: event E: field X: X.A: it is stored as string, which cannot be read as int64; keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one" + never},
		"dropped inside, of another type": {"type E struct{ X I }\ntype I struct { A string; B int }\n----\ntype E struct{ X J }\ntype J struct { B int }", "type E struct{ X K }\ntype K struct { A, B int }",
			"p.go:4:16: event E: field X: X.A: it is stored as string, which cannot be read as int64; *"},
		"dropped with a struct, which changed": {"type E struct{ X, Y I }\ntype I struct { A string }\n----\ntype E struct{ Y I }\ntype I struct { A, B string }\n----\ntype E struct{ Y I }\ntype I struct { B string }", "type E struct{ X, Y I }\ntype I struct { B string; A int }",
			"p.go:4:16: event E: field X: X.A: it is stored as string, which cannot be read as int64; *"},
		"tag added": {"type E struct{ ConcertID string }", "type E struct{ ConcertID string `json:\"concert_id\"` }",
			"p.go:4:16: event E: field ConcertID: its stored name changed from ConcertID to concert_id; put //evento:was ConcertID above it, or restore the name in its tag; if it is another field, put //evento:dropped ConcertID above the event" + never},
		"tag removed": {"type E struct{ ConcertID string `json:\"concert_id\"` }", "type E struct{ ConcertID string }",
			"p.go:4:16: event E: field ConcertID: its stored name changed from concert_id to ConcertID; put //evento:was concert_id above it, or restore the name in its tag; if it is another field, put //evento:dropped concert_id above the event" + never},
		"tag added beside another":  {"type E struct{ A string; ConcertID string }", "type E struct{ A string `json:\"b\"`; ConcertID string `json:\"concert_id\"` }", "p.go:4:16: event E: field A: its stored name changed from A to b; put //evento:was A above it, *"},
		"tag added, said so":        {"type E struct{ ConcertID string }", "type E struct{\nConcertID string `json:\"concert_id\"` //evento:was ConcertID\n}", ""},
		"tag added inside":          {"type E struct{ X I }\ntype I struct { SeatNo int }", "type E struct{ X I }\ntype I struct { SeatNo int `json:\"seat_no\"` }", "p.go:4:16: event E: field X: X.seat_no: its stored name changed from SeatNo to seat_no; restore it with `json:\"SeatNo\"`, and if it is another field, put //evento:dropped X.SeatNo above the event" + never},
		"for JSON alone":            {"type E struct{ A string `json:\"a\" cbor:\"b\"` }", "type E struct{ A string `json:\"c\" cbor:\"b\"` }", "p.go:4:16: event E: field A: its stored name changed from a to c; put //evento:was a above it, or restore it in its tag" + instead},
		"for JSON alone, said so":   {"type E struct{ A string `json:\"a\" cbor:\"b\"` }", "type E struct{ A string `json:\"c\" cbor:\"b\"` //evento:was a\n }", ""},
		"for CBOR alone":            {"type E struct{ A string `json:\"a\"` }", "type E struct{ A string `json:\"a\" cbor:\"b\"` }", "p.go:4:16: event E: field A: its stored name changed from a to b; put //evento:was a above it, or restore it in its tag" + instead},
		"no longer for JSON":        {"type E struct{ A string `cbor:\"a\"` }", "type E struct{ A string `json:\"-\" cbor:\"a\"` }", "p.go:4:16: event E: field A: the JSON codec stores it as A, and would leave it out now; restore it in its tag"},
		"swapped for JSON":          {"type E struct{ A string `cbor:\"1\"`; B string `cbor:\"2\"` }", "type E struct{ A string `cbor:\"2\"`; B string `cbor:\"1\"` }", "p.go:4:16: event E: field A: what is stored as 2 would be read into it and into B; *"},
		"for JSON inside":           {"type E struct{ X I }\ntype I struct { A int `cbor:\"a\" json:\"b\"` }", "type E struct{ X I }\ntype I struct { A int `cbor:\"a\" json:\"c\"` }", "p.go:4:16: event E: field X: X.a: its stored name changed from b to c; restore it in its tag"},
		"the dash":                  {"type E struct{ A string `json:\"-,\"` }", "type E struct{\n//evento:was -\nA string }", ""},
		"embedded, then not":        {"type E struct{ I; X int }\ntype I struct { A string }", "type E struct{ A string; X int }", ""},
		"embedded, with a name now": {"type E struct{ I; X int }\ntype I struct { A string }", "type E struct{ I `json:\"i\"`; X int }\ntype I struct { A string }", ""},
		"event within an event":     {"type E struct{ A string }\n//evento:aggregate p/A\ntype F struct { In E }", "type E struct{\n//evento:was A\nB string }\n//evento:aggregate p/A\ntype F struct { In E }", "p.go:8:17: event F: field In: In.A is gone and In.B is new; *"},
	})
}

// How the tags of fields change what is stored of a struct.
func TestLockOfOptions(t *testing.T) {
	t.Parallel()
	checkChanges(t, map[string]change{
		"array as it was":        {"type E struct{ " + toarray + "A, B int }", "type E struct{ " + toarray + "A, B int }", ""},
		"array wider":            {"type E struct{ " + toarray + "A int32; B int }", "type E struct{ " + toarray + "A int64; B *int }", ""},
		"array reordered":        {"type E struct{ " + toarray + "Debit, Credit int }", "type E struct{ " + toarray + "Credit, Debit int }", "p.go:4:6: event E: it is stored as an array (toarray) of Debit, Credit, and would be read as one of Credit, Debit; with toarray nothing can be added, dropped, moved or renamed: restore the fields and their order, or retire it and put //evento:upcast above a new event, or delete it in evento.lock if none was ever stored"},
		"array inserted":         {"type E struct{ " + toarray + "A, C int }", "type E struct{ " + toarray + "A, B, C int }", "p.go:4:6: event E: it is stored as an array (toarray) of A, C, and would be read as one of A, B, C; *"},
		"array appended":         {"type E struct{ " + toarray + "A int }", "type E struct{ " + toarray + "A, B int }", "p.go:4:6: event E: it is stored as an array (toarray) of A, and would be read as one of A, B; *"},
		"array dropped":          {"type E struct{ " + toarray + "A, B int }", "type E struct{ " + toarray + "A int }", "p.go:4:6: event E: it is stored as an array (toarray) of A, B, and would be read as one of A; *"},
		"array renamed":          {"type E struct{ " + toarray + "A int }", "type E struct{ " + toarray + "B int }", "p.go:4:6: event E: it is stored as an array (toarray) of A, and would be read as one of B; *"},
		"array renamed, tagged":  {"type E struct{ " + toarray + "A int }", "type E struct{ " + toarray + "B int `json:\"A\"` }", ""},
		"array in another case":  {"type E struct{ " + toarray + "A, B int }", "type E struct{ " + toarray + "A int `json:\"b\"`; B int `json:\"a\"` }", "p.go:4:6: event E: it is stored as an array (toarray) of A, B, and would be read as one of b, a; *"},
		"array with a was":       {"type E struct{ " + toarray + "A int }", "type E struct{ " + toarray + "\n//evento:was A\nB int }", "p.go:5:1: field B: the event is stored as an array (toarray), so that the directive has no name to go by; *"},
		"array of another type":  {"type E struct{ " + toarray + "A string }", "type E struct{ " + toarray + "A int }", "p.go:4:46: " + unread},
		"array now":              {"type E struct{ A int }", "type E struct{ " + toarray + "A int }", "p.go:4:6: event E: it is stored by names, which cannot be read as an array (toarray); take toarray away, *"},
		"array no more":          {"type E struct{ " + toarray + "A int }", "type E struct{ A int }", "p.go:4:6: event E: it is stored as an array (toarray), which cannot be read by names; put toarray back, *"},
		"array inside now":       {"type E struct{ X []I }\ntype I struct { A int }", "type E struct{ X []I }\ntype I struct { " + toarray + "A int }", "p.go:4:16: event E: field X: it is stored by names, which cannot be read as an array (toarray); *"},
		"array inside reordered": {"type E struct{ X map[string]I }\ntype I struct { " + toarray + "A, B int }", "type E struct{ X map[string]I }\ntype I struct { " + toarray + "B, A int }", "p.go:4:16: event E: field X: it is stored as an array (toarray) of A, B, and would be read as one of B, A; *"},
		"array by what it embeds": {"type E struct{ I; B int }\ntype I struct { A int }", "type E struct{ I; B int }\ntype I struct { " + toarray + "A int }",
			"p.go:4:6: event E: it is stored by names, which cannot be read as an array (toarray); *"},
		"array of what it embeds":       {"type E struct{ " + toarray + "A int; I; B int }\ntype I struct { C, D int }", "type E struct{ " + toarray + "A, C, D, B int }", ""},
		"array of what it embeds, last": {"type E struct{ " + toarray + "A int; I; B int }\ntype I struct { C, D int }", "type E struct{ " + toarray + "A, B, C, D int }", "p.go:4:6: event E: it is stored as an array (toarray) of A, C, D, B, and would be read as one of A, B, C, D; *"},
		"array by a second blank":       {"type E struct{ _ int; A int }", "type E struct{ _ int; " + toarray + "A int }", ""},
		"array to any":                  {"type E struct{ X I }\ntype I struct { " + toarray + "A string }", "type E struct{ X any }", ""},

		"integer now":               {"type E struct{ A int }", "type E struct{ A int `cbor:\"1,keyasint\"` }", "p.go:4:16: event E: field A: its stored name changed from A to the integer 1; put //evento:was A above it, or restore it in its tag" + instead},
		"integer now, said so":      {"type E struct{ A int }", "type E struct{\nA int `cbor:\"1,keyasint\"` //evento:was A\n}", ""},
		"integer no more":           {"type E struct{ A int `cbor:\"1,keyasint\"` }", "type E struct{ A int }", "p.go:4:16: event E: field A: it is stored under the integer 1 (keyasint), and would be read under A; restore it in its tag, or " + upcastRemedy},
		"integer no more, with was": {"type E struct{ A int `cbor:\"1,keyasint\"` }", "type E struct{\n//evento:was 1\nA int }", "p.go:6:1: event E: field A: it is stored under the integer 1 (keyasint), and would be read under A; *"},
		"integer as a text":         {"type E struct{ A int `json:\"1,keyasint\"` }", "type E struct{ A int `json:\"1\"` }", "p.go:4:16: event E: field A: it is stored under the integer 1 (keyasint), and would be read under 1; *"},
		"text as an integer":        {"type E struct{ A int `json:\"1\"` }", "type E struct{ A int `json:\"1,keyasint\"` }", "p.go:4:16: event E: field A: its stored name changed from 1 to the integer 1; *"},
		"another integer":           {"type E struct{ A int `cbor:\"1,keyasint\"` }", "type E struct{ A int `cbor:\"2,keyasint\"` }", "p.go:4:16: event E: field A: it is stored under the integer 1 (keyasint), and would be read under the integer 2; *"},
		"another integer for all":   {"type E struct{ A int `json:\"1,keyasint\"` }", "type E struct{ A int `json:\"2,keyasint\"` }", "p.go:4:16: event E: field A: the integer 2 is new, and a field under the integer 1 (keyasint) is gone; if it is the same, restore the integer in its tag, and if it is another field, put //evento:dropped 1 above the event" + never},
		"the same integer":          {"type E struct{ A int `json:\"+1,keyasint\"` }", "type E struct{ A int `json:\"+1\" cbor:\"1,keyasint\"` }", ""},
		"swapped integers":          {"type E struct{ A int `cbor:\"1,keyasint\"`; B int `cbor:\"2,keyasint\"` }", "type E struct{ A int `cbor:\"2,keyasint\"`; B int `cbor:\"1,keyasint\"` }", "p.go:4:16: event E: field A: what is stored as 2 would be read into it and into B; *"},
		"integer inside":            {"type E struct{ X I }\ntype I struct { A int `cbor:\"1,keyasint\"` }", "type E struct{ X I }\ntype I struct { A int `cbor:\"2,keyasint\"` }", "p.go:4:16: event E: field X: X.1: it is stored under the integer 1 (keyasint), and would be read under the integer 2; *"},
		"integer added":             {"type E struct{ A int `cbor:\"1,keyasint\"` }", "type E struct{ A int `cbor:\"1,keyasint\"`; B int `cbor:\"2,keyasint\"` }", ""},

		"omitempty":                   {"type E struct{ A int }", "type E struct{ A int `json:\",omitempty\"` }", ""},
		"omitempty no more":           {"type E struct{ A int `json:\",omitempty\"` }", "type E struct{ A int }", ""},
		"omitted, a pointer now":      {"type E struct{ A int `json:\",omitempty\"` }", "type E struct{ A *int `json:\",omitempty\"` }", "p.go:4:16: event E: field A: a zero was left out (omitempty, omitzero), and would be read as nil; keep its type, or put //evento:default 0 above it, without omitempty and omitzero"},
		"omitted, a pointer later":    {"type E struct{ A bool `json:\",omitzero\"` }\n----\ntype E struct{ A bool }", "type E struct{ A *bool }", "p.go:4:16: event E: field A: a zero was left out (omitempty, omitzero), and would be read as nil; keep its type, or put //evento:default false above it, *"},
		"omitted, a pointer to zero":  {"type E struct{ A string `json:\",omitempty\"` }", "type E struct{ A *string //evento:default \"\"\n }", ""},
		"omitted by JSON, a pointer":  {"type E struct{ A int `cbor:\"A\" json:\",omitempty\"` }", "type E struct{ A *int }", "p.go:4:16: event E: field A: a zero was left out *"},
		"omitted inside, a pointer":   {"type E struct{ X I }\ntype I struct { A int `json:\",omitempty\"` }", "type E struct{ X I }\ntype I struct { A *int }", "p.go:4:16: event E: field X: X.A: a zero was left out (omitempty, omitzero), and would be read as nil; keep its type"},
		"omitted with all inside":     {"type E struct{ X I `json:\",omitzero\"` }\ntype I struct { A int }", "type E struct{ X I `json:\",omitzero\"` }\ntype I struct { A *int }", "p.go:4:16: event E: field X: X.A: a zero was left out *"},
		"omitted in one place":        {"type E struct{ X I; Y I `json:\",omitzero\"` }\ntype I struct { A int }", "type E struct{ X, Y I }\ntype I struct { A *int }", "p.go:4:19: event E: field Y: Y.A: a zero was left out *"},
		"omitted pointer to it":       {"type E struct{ X *I `json:\",omitzero\"`; Y []I `json:\",omitempty\"` }\ntype I struct { A int }", "type E struct{ X *I; Y []I }\ntype I struct { A *int }", ""},
		"omitted, any now":            {"type E struct{ A int32 `json:\",omitempty\"` }", "type E struct{ A any }", "p.go:4:16: event E: field A: a zero was left out (omitempty, omitzero), and would be read as nil; keep its type"},
		"omitted list, any now":       {"type E struct{ A []int8 `json:\",omitempty\"` }", "type E struct{ A any }", ""},
		"omitted map, a pointer now":  {"type E struct{ A map[string]int `json:\",omitempty\"` }", "type E struct{ A *map[string]int }", ""},
		"omitted pointer, none now":   {"type E struct{ A *int `json:\",omitempty\"` }", "type E struct{ A int }", ""},
		"in a pointer, a pointer now": {"type E struct{ *I }\ntype I struct { A int }", "type E struct{ A *int }", "p.go:4:16: event E: field A: a zero was left out *"},

		"quoted":           {"type E struct{ A int }", "type E struct{ A int `json:\",string\"` }", "p.go:4:16: event E: field A: the option string of its tag came or went, which the JSON codec could not read; undo it"},
		"quoted no more":   {"type E struct{ A *int `json:\",string\"` }", "type E struct{ A *int }", "p.go:4:16: event E: field A: the option string of its tag came or went, *"},
		"quoted, no basic": {"type E struct{ A []int }", "type E struct{ A []int `json:\",string\"` }", ""},
	})
}
