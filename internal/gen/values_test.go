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
		"text to binary": {of("T") + encodes("T", "struct{}", "Text"), of("T") + encodes("T", "struct{}", "Text", "Binary"), "event E: field A: it is stored as text(T), which cannot be read as binary(T); *"},
		"the same":       {of("T") + encodes("T", "struct{}", "Text"), of("*T") + encodes("T", "int", "Text"), ""},
		"of a generic type": {of("T[int]") + encodes("T[V any]", "struct{}") + generic, of("T[string]") + encodes("T[V any]", "struct{}") + generic,
			other + "T[int], and would be decoded by T[string]; *"},
		"text to string":         {of("T") + encodes("T", "struct{}", "Text"), of("string"), ""},
		"binary to bytes":        {of("netip.Addr"), of("[]byte"), "event E: field A: it is stored as binary(net/netip.Addr), which cannot be read as bytes; *"},
		"JSON of its own now":    {of("T") + encodes("T", "int"), of("T") + encodes("T", "int", "JSON"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by T; " + remedy},
		"JSON of its own before": {of("[]T") + encodes("T", "struct{ X int }", "JSON"), of("[]T") + encodes("T", "struct{ X int }"), "event E: field A: for the JSON codec, it is encoded by T, and would be decoded by no type of its own; *"},
		"JSON of another":        {of("T") + encodes("T", "string", "JSON"), of("U") + encodes("U", "string", "JSON"), "event E: field A: for the JSON codec, it is encoded by T, and would be decoded by U; *"},
		"JSON of an alias":       {of("T") + encodes("T", "string", "JSON"), of("U") + "\ntype U = T" + encodes("T", "string", "JSON"), ""},
		"JSON of bytes now":      {of("[4]T") + "\ntype T byte", of("[4]T") + encodes("T", "byte", "Text"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by [4]T; *"},
		"JSON of bytes before":   {of("[]T") + encodes("T", "byte", "JSON"), of("[]T") + "\ntype T byte", "event E: field A: for the JSON codec, it is encoded by []T, and would be decoded by no type of its own; *"},
		"JSON of bytes, a text":  {of("T") + encodes("T", "[]U", "Text") + "\ntype U byte", of("T") + encodes("T", "[]U", "Text") + encodes("U", "byte", "Text"), ""},
		"JSON of raw bytes":      {of("json.RawMessage"), of("[]byte"), "event E: field A: for the JSON codec, it is encoded by encoding/json.RawMessage, *"},
		"JSON of a number":       {of("string"), of("json.Number"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by encoding/json.Number; *"},
		"JSON and text":          {of("T") + encodes("T", "struct{}", "Text", "JSON"), of("string"), "event E: field A: for the JSON codec, it is encoded by T, *"},
		"JSON to any":            {of("T") + encodes("T", "string", "JSON"), of("any"), ""},
		"JSON of the event":      {of("int"), of("int") + encodes("X", "int") + "\nfunc (E) MarshalJSON() ([]byte, error) { return nil, nil }\nfunc (*E) UnmarshalJSON([]byte) error { return nil }", "event E: its methods MarshalJSON and UnmarshalJSON came or went, *"},
		"read by a method now":   {of("T") + "\ntype T string", of("T") + "\ntype T string\nfunc (*T) UnmarshalText([]byte) error { return nil }", "event E: field A: it is stored as string, which cannot be read as text(T); *"},
		"read by CBOR now":       {of("T") + "\ntype T struct { X int }", of("T") + "\ntype T struct { X int }\nfunc (*T) UnmarshalCBOR([]byte) error { return nil }", "event E: field A: it is stored as T, which cannot be read as cbor(T); *"},
		"null to CBOR":           {of("*T") + encodes("T", "struct{}", "CBOR"), of("T") + encodes("T", "struct{}", "CBOR"), "event E: field A: nil is stored as null, which the UnmarshalCBOR of T may not read; *"},
		"CBOR to any":            {of("T") + encodes("T", "struct{}", "CBOR"), of("any"), "event E: field A: it is stored as cbor(T), which cannot be read as any; *"},
		"binary keys to any":     {of("map[netip.Addr]int"), of("any"), "event E: field A: it is stored as map[binary(net/netip.Addr)]int64, which cannot be read as any; *"},
		"binary keys inside":     {of("[]I") + "\ntype I struct { X map[[2]byte]int }", of("any"), "event E: field A: it is stored as []I, which cannot be read as any; *"},
		"itself to any":          {of("*I") + "\ntype I struct { X []I }", of("any"), ""},
		"lists of lists":         {of("T") + "\ntype T []T", of("*T") + "\ntype T []*U\ntype U []U", ""},
		"lists to any":           {of("T") + "\ntype T []T", of("any"), ""},
		"lists to a list":        {of("T") + "\ntype T []T", of("[]bool"), "event E: field A: it is stored as T, which cannot be read as bool; *"},
		"lists with JSON":        {of("T") + encodes("T", "[]T"), of("T") + encodes("T", "[]T", "JSON"), "event E: field A: for the JSON codec, it is encoded by no type of its own, and would be decoded by T; *"},
		"lists as a text":        {of("T") + encodes("T", "[]T", "Text"), of("T") + encodes("T", "[]*T", "Text"), ""},
		"pointers to lists":      {of("T") + "\ntype T *[]*T", of("T") + "\ntype T *[]T", ""},
		"pointers to others":     {of("T") + "\ntype T *map[int8]*T", of("T") + "\ntype T *map[int]*[]T", "event E: field A: it is stored as map[int8]*T, which cannot be read as []T; *"},
		"maps of lists":          {of("T") + "\ntype T map[string]U\ntype U []T", of("T") + "\ntype T map[string]U\ntype U []map[string]U", ""},
		"lists of other structs": {of("T") + "\ntype T map[S]T\ntype S struct { N int8 }", of("T") + "\ntype T map[S]T\ntype S struct { N int16 }", "event E: field A: it is stored as S, which cannot be read as S; *"},
		"integers to any":        {of("map[int]*time.Time"), of("any"), ""},
		"integer keys to float":  {of("map[int8]int"), of("map[float64]int"), "event E: field A: it is stored as int8, which cannot be read as float64; *"},
		"string keys to any":     {of("map[string]int"), of("map[any]int"), "event E: field A: it is stored as string, which cannot be read as any; *"},
		"wider keys":             {of("map[uint8]int8"), of("map[int16]int64"), ""},
		"array keys":             {of("map[[2]int8]int"), of("map[[2]int16]int"), "event E: field A: it is stored as [2]int8, which cannot be read as [2]int16; *"},
		"the same array keys":    {of("map[[2]int8]int"), of("map[[2]int8]int64"), ""},
		"to a big number":        {of("uint64"), of("*big.Int"), ""},
		"small numbers to any":   {of("[]int32"), of("any"), ""},
		"large numbers to any":   {of("[]int"), of("any"), "event E: field A: it is stored as []int64, which cannot be read as any; *"},
		"big numbers to any":     {of("*big.Int"), of("any"), "event E: field A: it is stored as bigint, which cannot be read as any; *"},
		"bytes to a list":        {of("[]byte"), of("[]uint16"), "event E: field A: it is stored as bytes, which cannot be read as []uint16; *"},
		"longer arrays":          {of("[2][2]byte"), of("[][3]byte"), ""},
		"a struct to a map":      {of("I") + "\ntype I struct { X int }", of("map[string]int"), "event E: field A: it is stored as I, which cannot be read as map[string]int64; *"},
	}
	for name, c := range changes {
		if c.want != "" {
			c.want = "p.go:10:16: " + c.want
			if strings.Contains(c.want, "its methods") {
				c.want = strings.Replace(c.want, "10:16", "10:6", 1)
			}
			changes[name] = c
		}
	}
	checkChanges(t, changes)
}
