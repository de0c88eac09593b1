package gen

import (
	"fmt"
	"strings"
	"testing"
)

// encodes returns a type with methods.
func encodes(name, is string, methods ...string) string {
	text := "\ntype " + name + " " + is
	for _, m := range methods {
		text += fmt.Sprintf("\nfunc (%s) Marshal%s() ([]byte, error) { return nil, nil }\nfunc (*%[1]s) Unmarshal%[2]s([]byte) error { return nil }", name, m)
	}
	return text
}

// Which types encode values, and which shapes other ones can be read in.
func TestLockOfValues(t *testing.T) {
	t.Parallel()
	const imports = "import (\"net/netip\"; \"encoding/json\"; \"math/big\"; \"time\"; \"net/url\")\nvar _ = netip.Addr{}\nvar _ = big.Int{}\nvar _ json.Number\nvar _ time.Time\nvar _ url.URL\n//evento:aggregate p/A\n"
	const other = "event E: field A: it is encoded by "
	const generic = "\nfunc (T[V]) MarshalText() ([]byte, error) { return nil, nil }\nfunc (*T[V]) UnmarshalText([]byte) error { return nil }"
	of := func(typ string) string { return imports + "type E struct{ A " + typ + " }" }
	changes := map[string]change{
		"another binary type": {of("netip.Addr"), of("T") + encodes("T", "struct{}", "Binary"), other + "net/netip.Addr, and would be decoded by T; if that is its new name, write it in evento.lock; " + remedy},
		"another text type":   {of("T") + encodes("T", "struct{}", "Text"), of("U") + encodes("U", "struct{}", "Text"), other + "T, and would be decoded by U; *"},
		"another CBOR type":   {of("T") + encodes("T", "struct{}", "CBOR"), of("U") + encodes("U", "struct{}", "CBOR"), other + "T, and would be decoded by U; *"},
		"another in a list":   {of("[]netip.Addr"), of("[]netip.Prefix"), other + "net/netip.Addr, and would be decoded by net/netip.Prefix; *"},
		"another as a key":    {of("map[netip.Addr]int"), of("map[netip.Prefix]int"), other + "net/netip.Addr, and would be decoded by net/netip.Prefix; *"},
		"another inside": {of("I") + "\ntype I struct{ X *T }" + encodes("T", "struct{}", "Text"), of("I") + "\ntype I struct{ X *U }" + encodes("U", "struct{}", "Text"),
			"event E: field A: A.X: it is encoded by T, and would be decoded by U; *"},
		"text to binary": {of("T") + encodes("T", "struct{}", "Text"), of("T") + encodes("T", "struct{}", "Text", "Binary"), "event E: field A: it is stored as text(T), which cannot be read as binary(T, text); *"},
		"the same":       {of("T") + encodes("T", "struct{}", "Text"), of("*T") + encodes("T", "int", "Text"), ""},
		"of a generic type": {of("T[int]") + encodes("T[V any]", "struct{}") + generic, of("T[string]") + encodes("T[V any]", "struct{}") + generic,
			other + "T[int], and would be decoded by T[string]; *"},
		"text to string":           {of("T") + encodes("T", "struct{}", "Text"), of("string"), ""},
		"binary to bytes":          {of("netip.Addr"), of("[]byte"), "event E: field A: it is stored as binary(net/netip.Addr, text), which cannot be read as bytes; *"},
		"JSON of its own now":      {of("T") + encodes("T", "int"), of("T") + encodes("T", "int", "JSON"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by T; " + remedy},
		"renamed, JSON of its own": {of("T") + encodes("T", "int"), imports + "type E struct{ B T }" + encodes("T", "int", "JSON"), "event E: field A is gone and B is new; *"},
		"renamed, else in JSON":    {of("T") + encodes("T", "struct{ X int }", "Binary"), imports + "type E struct{ B T }" + encodes("T", "int", "Binary"), "event E: field A is gone and B is new; *"},
		"JSON of its own before":   {of("[]T") + encodes("T", "struct{ X int }", "JSON"), of("[]T") + encodes("T", "struct{ X int }"), "event E: field A: for the JSON codec, it is encoded by T, and would be decoded by no type of its own; *"},
		"JSON of another":          {of("T") + encodes("T", "string", "JSON"), of("U") + encodes("U", "string", "JSON"), "event E: field A: for the JSON codec, it is encoded by T, and would be decoded by U; *"},
		"JSON of an alias":         {of("T") + encodes("T", "string", "JSON"), of("U") + "\ntype U = T" + encodes("T", "string", "JSON"), ""},
		"JSON of bytes now":        {of("[4]T") + "\ntype T byte", of("[4]T") + encodes("T", "byte", "Text"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by [4]T; *"},
		"JSON of bytes before":     {of("[]T") + encodes("T", "byte", "JSON"), of("[]T") + "\ntype T byte", "event E: field A: for the JSON codec, it is encoded by []T, and would be decoded by no type of its own; *"},
		"JSON of bytes, a text":    {of("T") + encodes("T", "[]U", "Text") + "\ntype U byte", of("T") + encodes("T", "[]U", "Text") + encodes("U", "byte", "Text"), ""},
		"JSON of raw bytes":        {of("json.RawMessage"), of("[]byte"), "event E: field A: for the JSON codec, it is encoded by encoding/json.RawMessage, *"},
		"JSON of a number":         {of("string"), of("json.Number"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by encoding/json.Number; *"},
		"JSON and text":            {of("T") + encodes("T", "struct{}", "Text", "JSON"), of("string"), "event E: field A: for the JSON codec, it is encoded by T, *"},
		"JSON to any":              {of("T") + encodes("T", "string", "JSON"), of("any"), ""},
		"JSON of the event":        {of("int"), of("int") + encodes("X", "int") + "\nfunc (E) MarshalJSON() ([]byte, error) { return nil, nil }\nfunc (*E) UnmarshalJSON([]byte) error { return nil }", "event E: its methods MarshalJSON and UnmarshalJSON came or went, *"},
		"read by a method now":     {of("T") + "\ntype T string", of("T") + "\ntype T string\nfunc (*T) UnmarshalText([]byte) error { return nil }", "event E: field A: it is stored as string, which cannot be read as text(T); *"},
		"read as a text now":       {of("T") + "\ntype T int", of("T") + "\ntype T int\nfunc (*T) UnmarshalText([]byte) error { return nil }", "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by T; *"},
		"read by CBOR now":         {of("T") + "\ntype T struct { X int }", of("T") + "\ntype T struct { X int }\nfunc (*T) UnmarshalCBOR([]byte) error { return nil }", "event E: field A: it is stored as T, which cannot be read as cbor(T, T); *"},
		"null to CBOR":             {of("*T") + encodes("T", "struct{}", "CBOR"), of("T") + encodes("T", "struct{}", "CBOR"), "event E: field A: nil is stored as null, which the UnmarshalCBOR of T may not read; *"},
		"CBOR to any":              {of("T") + encodes("T", "struct{}", "CBOR"), of("any"), "event E: field A: it is stored as cbor(T, T), which cannot be read as any; *"},
		"binary keys to any":       {of("map[netip.Addr]int"), of("any"), "event E: field A: it is stored as map[binary(net/netip.Addr, text)]int64, which cannot be read as any; *"},
		"binary keys inside":       {of("[]I") + "\ntype I struct { X map[[2]byte]int }", of("any"), "event E: field A: it is stored as []I, which cannot be read as any; *"},
		"itself to any":            {of("*I") + "\ntype I struct { X []I }", of("any"), ""},
		"lists of lists":           {of("T") + "\ntype T []T", of("*T") + "\ntype T []*U\ntype U []U", ""},
		"lists to any":             {of("T") + "\ntype T []T", of("any"), ""},
		"lists to a list":          {of("T") + "\ntype T []T", of("[]bool"), "event E: field A: it is stored as T, which cannot be read as bool; *"},
		"lists with JSON":          {of("T") + encodes("T", "[]T"), of("T") + encodes("T", "[]T", "JSON"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by T; *"},
		"lists as a text":          {of("T") + encodes("T", "[]T", "Text"), of("T") + encodes("T", "[]*T", "Text"), ""},
		"pointers to lists":        {of("T") + "\ntype T *[]*T", of("T") + "\ntype T *[]T", ""},
		"pointers to others":       {of("T") + "\ntype T *map[int8]*T", of("T") + "\ntype T *map[int]*[]T", "event E: field A: it is stored as map[int8]*T, which cannot be read as []T; *"},
		"maps of lists":            {of("T") + "\ntype T map[string]U\ntype U []T", of("T") + "\ntype T map[string]U\ntype U []map[string]U", ""},
		"lists of other structs":   {of("T") + "\ntype T map[S]T\ntype S struct { N int8 }", of("T") + "\ntype T map[S]T\ntype S struct { N int16 }", "event E: field A: it is stored as S, which cannot be read as S; *"},
		"integers to any":          {of("map[int]*time.Time"), of("any"), ""},
		"integer keys to float":    {of("map[int8]int"), of("map[float64]int"), "event E: field A: it is stored as int8, which cannot be read as float64; *"},
		"string keys to any":       {of("map[string]int"), of("map[any]int"), "event E: field A: it is stored as string, which cannot be read as any; *"},
		"wider keys":               {of("map[uint8]int8"), of("map[int16]int64"), ""},
		"array keys":               {of("map[[2]int8]int"), of("map[[2]int16]int"), "event E: field A: it is stored as [2]int8, which cannot be read as [2]int16; *"},
		"the same array keys":      {of("map[[2]int8]int"), of("map[[2]int8]int64"), ""},
		"to a big number":          {of("uint64"), of("*big.Int"), ""},
		"small numbers to any":     {of("[]int32"), of("any"), ""},
		"large numbers to any":     {of("[]int"), of("any"), "event E: field A: it is stored as []int64, which cannot be read as any; *"},
		"big numbers to any":       {of("*big.Int"), of("any"), "event E: field A: it is stored as bigint, which cannot be read as any; *"},
		"bytes to a list":          {of("[]byte"), of("[]uint16"), "event E: field A: it is stored as bytes, which cannot be read as []uint16; *"},
		"longer arrays":            {of("[2][2]byte"), of("[][3]byte"), ""},
		"a struct to a map":        {of("I") + "\ntype I struct { X int }", of("map[string]int"), "event E: field A: it is stored as I, which cannot be read as map[string]int64; *"},
	}
	for name, c := range inJSON(of) {
		changes[name] = c
	}
	for name, c := range changes {
		if c.want != "" {
			c.want = "p.go:10:16: " + c.want
			if strings.Contains(c.want, "its methods") || strings.Contains(c.want, "@encoding") {
				c.want = strings.Replace(c.want, "10:16", "10:6", 1)
			}
			changes[name] = c
		}
	}
	checkChanges(t, changes)
}

// inJSON are changes of types that have an encoding of their own for the default codec
// alone.
func inJSON(of func(typ string) string) map[string]change {
	const (
		field  = "event E: field A: "
		never  = "; if no event was ever stored with it, delete it in evento.lock"
		typ    = "; keep its type and give the new field another name, or retire the event and put //evento:upcast above a new one" + never
		upcast = ", or retire the event and put //evento:upcast above a new one"
		lost   = "for the JSON codec, it is stored by its MarshalText, and is not read by UnmarshalText any more; put both back" + upcast
		none   = "; if that codec never stored one, write binary(T, none) for it in evento.lock"
		inner  = "\ntype I struct{ N int }"
	)
	won := func(stored string) string {
		return "for the JSON codec, it is stored as " + stored + ", and would be read by its UnmarshalText; take MarshalText and UnmarshalText away" + upcast
	}
	unread := func(stored, now string) string {
		return "for the JSON codec, it is stored as " + stored + ", which cannot be read as " + now + typ
	}
	binary := func(is string, more ...string) string {
		return of("T") + encodes("T", is, append([]string{"Binary"}, more...)...)
	}
	own := func(is string, more ...string) string {
		return strings.TrimSuffix(of("int"), "type E struct{ A int }") + strings.TrimPrefix(encodes("E", is, append([]string{"CBOR"}, more...)...), "\n")
	}
	ownNone := strings.Replace(none, "binary(T, none)", "@encoding cbor none", 1)
	with := func(is, inner string) string { return of("[]*T") + encodes("T", is, "Binary") + inner }
	key := func(is string, more ...string) string {
		return of("map[T]int") + encodes("T", is, append([]string{"Binary"}, more...)...)
	}
	return map[string]change{
		"in JSON a text as before": {binary("struct{ N int }", "Text"), binary("struct{ M string }", "Text"), ""},
		"in JSON a text no more":   {binary("struct{ N int }", "Text"), binary("struct{ N int }"), field + lost + none},
		"in JSON a text, a string": {binary("string", "Text"), binary("string"), field + lost + none},
		"in JSON a text now":       {binary("struct{ N int }"), binary("struct{ N int }", "Text"), field + won("T") + none},
		"in JSON a text, a bool":   {binary("bool"), binary("bool", "Text"), field + won("bool") + none},
		"in JSON half a text now":  {binary("bool"), binary("bool") + "\nfunc (*T) UnmarshalText([]byte) error { return nil }", field + "for the JSON codec, it is stored as bool, and can be read no more; restore its type and methods" + upcast + none},
		"in JSON half a text":      {binary("string"), binary("string") + "\nfunc (*T) UnmarshalText([]byte) error { return nil }", field + won("string") + none},
		"in JSON of CBOR":          {of("[]T") + encodes("T", "int8", "CBOR"), of("[]T") + encodes("T", "int8", "CBOR", "Text"), field + won("int8") + strings.Replace(none, "binary", "cbor", 1)},
		"in JSON by its own":       {binary("int8", "Text", "JSON"), binary("string", "JSON"), ""},
		"in JSON by its own now":   {binary("int8", "Text"), binary("int8", "Text", "JSON"), field + "for the JSON codec, it is encoded by no type of its own, and would be decoded by T; *"},
		"in JSON read alone":       {of("T") + "\ntype T []byte\nfunc (*T) UnmarshalBinary([]byte) error { return nil }", of("T") + "\ntype T []byte\nfunc (*T) UnmarshalBinary([]byte) error { return nil }\nfunc (T) MarshalText() ([]byte, error) { return nil, nil }\nfunc (*T) UnmarshalText([]byte) error { return nil }", field + "it is stored as binary(T, bytes), which cannot be read as text(T); *"},
		"in JSON a wider type":     {binary("int8"), binary("int16"), ""},
		"in JSON another type":     {binary("int8"), binary("string"), field + unread("int8", "string") + none},
		"in JSON a field added":    {binary("struct{ N int }"), binary("struct{ N int; M string }"), ""},
		"in JSON a field dropped":  {binary("struct{ N int; M string }"), binary("struct{ N int }"), ""},
		"in JSON a field renamed": {with("struct{ N I }", "\ntype I struct{ N int }"), with("struct{ N I }", "\ntype I struct{ M int }"),
			field + "for the JSON codec, A.N.N is gone and A.N.M is new; if it is the same, keep its stored name with `json:\"N\"`, and if it is not, put //evento:dropped A.N.N above the event" + never + none},
		"in JSON a field renamed, said so": {binary("struct{ N int }"), strings.Replace(binary("struct{ M int }"), "type E", "//evento:dropped A.N\ntype E", 1), ""},
		"in JSON a field tagged":           {binary("struct{ N int }"), binary("struct{ N int `cbor:\"m,keyasint\"` }"), ""},
		"in JSON a field for it alone":     {binary("struct{ N int `cbor:\"-\"` }"), binary("struct{ N string `cbor:\"-\"` }"), field + "A.N: " + unread("int64", "string") + none},
		"in JSON a field within":           {with("struct{ N map[string][]I }", inner), with("struct{ N map[string][]I }", "\ntype I struct{ N bool }"), field + "A.N.N: " + unread("int64", "bool") + none},
		"in JSON a field embedded":         {with("struct{ *I }", inner), with("struct{ *I }", "\ntype I struct{ N bool }"), field + "A.N: " + unread("int64", "bool") + none},
		"in JSON a binary field":           {with("struct{ U I }", encodes("I", "int", "Binary")), with("struct{ U I }", encodes("I", "string", "Binary")), field + "A.U: " + unread("int64", "string") + none},
		"in JSON a text field":             {with("struct{ U I }", encodes("I", "int", "Text")), with("struct{ U I }", encodes("I", "int", "Binary")), field + "A.U: " + unread("text(I)", "int64") + none},
		"in JSON a JSON field":             {with("struct{ U I }", encodes("I", "int", "JSON")), with("struct{ U I }", encodes("I", "int")), field + "A.U: for the JSON codec, it is encoded by I, and would be decoded by no type of its own; *"},
		"in JSON itself":                   {binary("struct{ Of []T; N int }"), binary("struct{ Of []T; N string }"), field + "A.N: " + unread("int64", "string") + none},
		"in JSON lists of itself":          {binary("[]T"), binary("[]*T"), ""},
		"in JSON nothing":                  {binary("struct{ C chan int; F func(); n int }"), binary("struct{ C int; G string; n string }"), ""},
		"in JSON nothing more":             {binary("int"), binary("chan int"), field + "for the JSON codec, it is stored as int64, and can be read no more; restore its type and methods" + upcast + none},
		"in JSON an interface":             {binary("struct{ E error }"), binary("struct{ E any; M map[*int]int }"), ""},
		"in JSON and elsewhere":            {of("struct{ X T; Y I }") + encodes("T", "struct{ X I }", "Binary") + inner, of("struct{ X T; Y I }") + encodes("T", "struct{ X I }", "Binary") + "\ntype I struct{ N, M int }", ""},
		"in JSON of a dropped field":       {strings.Replace(binary("int8"), "A T", "A int; B T", 1) + "\n----\n" + strings.Replace(binary("int8"), "A T", "A int", 1), strings.Replace(binary("string"), "A T", "B T; A int", 1), strings.Replace(field, "A", "B", 1) + unread("int8", "string") + none},
		"in JSON to any":                   {binary("struct{ N int8 }"), of("any"), ""},
		"in JSON a large number to any":    {binary("struct{ N int }"), of("any"), field + "it is stored as binary(T, T), which cannot be read as any; *"},
		"in JSON a key":                    {key("string"), key("string", "Text"), field + won("string") + none},
		"in JSON a wider key":              {key("int8"), key("int16"), ""},
		"in JSON another key":              {key("string"), key("int16"), field + unread("string", "int16") + none},
		"in JSON no key":                   {key("struct{ N int }"), key("struct{ N string }", "Text"), ""},
		"in JSON the event":                {own("struct{ A int }"), own("struct{ A, B int }"), ""},
		"in JSON the event, a text":        {own("struct{ A int }"), own("struct{ A int }", "Text"), "event E: " + won("E") + ownNone},
		"in JSON the event, no text":       {own("struct{ A int }", "Text"), own("struct{ A int }"), "event E: " + lost + ownNone},
		"in JSON the event's field":        {own("struct{ A int }"), own("struct{ A bool }"), "event E: A: " + unread("int64", "bool") + ownNone},
		"in JSON the event's name": {own("struct{ A int }"), own("struct{ B int }"),
			"event E: for the JSON codec, A is gone and B is new; if it is the same, keep its stored name with `json:\"A\"`, and if it is not, put //evento:dropped A above the event" + never + ownNone},
		"in JSON the event's name, said so": {own("struct{ A int }"), strings.Replace(own("struct{ B int }"), "type E", "//evento:dropped A\ntype E", 1), ""},
	}
}
