package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func lineOf(t testing.TB, e *evento.RawEvent) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(recordOf(e)); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func sample() []evento.RawEvent {
	plain := evento.RawEvent{
		ID: evento.NewID(), Position: 123456, AggregateType: "bank/Account", AggregateID: "account-1", Version: 1 << 61, Name: "Opened",
		Codec: "cbor", Data: []byte("\x00\xff data"), Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
	odd := plain
	odd.AggregateID, odd.RoutingKey, odd.Data = "żółw 🐢", "key/<b>&", []byte{}
	odd.Metadata = evento.Metadata{ID: `","data":"`, RequestedBy: "a\"b\\c\x01\n\t", Values: map[string]string{"a": "b", "data": "}", "\u2028": "\U0010ffff"}}
	tagged := plain
	tagged.RoutingKey, tagged.Tags = "key", []string{"course:go", "]", ",", "żółw 🐢", `<b>&`, "timestamp"}
	tagged.Metadata = evento.Metadata{RequestedBy: "ada", RequestedAs: "\ufffd", CorrelationID: "c", CausationID: "d"}
	quoted := plain
	quoted.Name, quoted.Codec = `"quoted" \`, `own "codec"`
	escaped := plain
	escaped.Tags = []string{"a", `"quoted" \`, `","`, "\u2028"}
	return []evento.RawEvent{plain, odd, tagged, quoted, escaped}
}

// What Export writes is read as it was.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, want := range sample() {
		line := lineOf(t, &want)
		if got, err := parse(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parse(%s) = %+v, %v, want %+v", line, got, err, want)
		}
		for at := range line {
			for _, by := range []string{"", "0", "9", `"`, `\`, "}", ",", "=", "\r", "\x00", "\xff", "ż", " "} {
				sameAsJSON(t, bytes.Join([][]byte{line[:at], line[at+1:]}, []byte(by)))
			}
		}
	}
}

// sameAsJSON compares what parse takes with what encoding/json reads.
func sameAsJSON(t *testing.T, line []byte) {
	t.Helper()
	got, err := parse(line)
	if err != nil {
		return
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("parse takes %q, and encoding/json does not: %v", line, err)
	}
	want := recordOf(&got)
	if r.Metadata == nil {
		want.Metadata = nil
	} else if want.Metadata == nil {
		want.Metadata = &evento.Metadata{}
	}
	if len(want.Tags)+len(r.Tags) == 0 {
		want.Tags, r.Tags = nil, nil
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%q is read as %+v, want %+v", line, want, r)
	}
}

// A line of which something would be changed, lost or made up is refused, and the field
// is named.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const good = `{"position":7,"id":"01J8ZQ4Y7K0000000000000001","type":"t","aggregate":"a","version":3,"name":"n","routingKey":"k","tags":["x","y"],` +
		`"timestamp":"2026-01-02T03:04:05.000006Z","codec":"c","metadata":{"id":"i","requestedBy":"b","values":{"a":"1","b":"2"}},"data":"AAAA"}`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ from, to, want string }{
		"invalid UTF-8":               {`"a","version"`, "\"a\xff\",\"version\"", `field "aggregate"`},
		"invalid UTF-8 in a tag":      {`"x"`, "\"x\xc3\"", `field "tags"`},
		"invalid UTF-8 in a value":    {`"a":"1"`, "\"a\":\"\xed\xa0\x80\"", `field "values.a"`},
		"invalid UTF-8 in a key":      {`"a":"1"`, "\"\xff\":\"1\"", `field "values"`},
		"a lone high surrogate":       {`"name":"n"`, `"name":"\ud800"`, `field "name"`},
		"a lone low surrogate":        {`"name":"n"`, `"name":"\udc00x"`, `field "name"`},
		"surrogates the wrong way":    {`"name":"n"`, `"name":"\udc00\ud800"`, `field "name"`},
		"a surrogate and a character": {`"routingKey":"k"`, `"routingKey":"\uD834A"`, `field "routingKey"`},
		"a lone surrogate in a tag":   {`"y"`, `"\udbff\u0041"`, `field "tags"`},
		"a lone surrogate in a value": {`"b":"2"`, `"b":"\udfff"`, `field "values.b"`},
		"an unknown escape":           {`"name":"n"`, `"name":"\x41"`, `field "name"`},
		"half an escape":              {`"name":"n"`, `"name":"\u12"`, `field "name"`},
		"a control character":         {`"name":"n"`, "\"name\":\"n\x01\"", `field "name"`},
		"a NUL":                       {`"name":"n"`, "\"name\":\"n\x00\"", `field "name"`},
		"a NUL between fields":        {`,"version"`, "\x00,\"version\"", `\x00`},
		"a field twice":               {`"version":3`, `"version":3,"version":3`, `field "version" is there twice`},
		"a field twice, apart":        {`,"codec":"c"`, `,"codec":"c","name":"m"`, `field "name" is there twice`},
		"a field twice at the end":    {`"data":"AAAA"`, `"data":"AAAA","data":"AAAA"`, `field "data" is there twice`},
		"a value twice":               {`"b":"2"`, `"a":"2"`, `"a" comes after "a"`},
		"values in another order":     {`"a":"1","b":"2"`, `"b":"2","a":"1"`, `"a" comes after "b"`},
		"metadata twice":              {`"requestedBy":"b"`, `"id":"j","requestedBy":"b"`, `field "id" is there twice`},
		"other capitals":              {`"name"`, `"Name"`, `field "Name" has to be written "name"`},
		"other capitals, optional":    {`"routingKey"`, `"routingkey"`, `field "routingkey" has to be written "routingKey"`},
		"other capitals in metadata":  {`"requestedBy"`, `"RequestedBy"`, `field "RequestedBy" has to be written "requestedBy"`},
		"a sign that folds to k":      {`"routingKey"`, `"routing` + "\u212a" + `ey"`, `has to be written "routingKey"`},
		"an escaped name of a field":  {`"codec"`, `"\u0063odec"`, `field "codec"`},
		"an unknown field":            {`"data"`, `"colour":"red","data"`, `field "colour" stands where field "data" is expected`},
		"an unknown field at the end": {`"AAAA"`, `"AAAA","colour":1`, `field "colour" stands where the end of the object`},
		"unknown metadata":            {`"values"`, `"colour":"red","values"`, `field "colour"`},
		"fields in another order":     {`"aggregate":"a","version":3`, `"version":3,"aggregate":"a"`, `field "version" stands where field "aggregate"`},
		"a field left out":            {`"codec":"c",`, ``, `where field "codec" is expected`},
		"the last field left out":     {`,"data":"AAAA"`, ``, `where field "data" is expected`},
		"a fraction":                  {`"position":7`, `"position":7.0`, `field "position"`},
		"an exponent":                 {`"position":7`, `"position":7e2`, `field "position"`},
		"a large exponent":            {`"version":3`, `"version":3E0`, `field "version"`},
		"a zero before":               {`"version":3`, `"version":03`, `field "version"`},
		"minus zero":                  {`"version":3`, `"version":-0`, `field "version"`},
		"a negative number":           {`"version":3`, `"version":-3`, `field "version"`},
		"a plus":                      {`"version":3`, `"version":+3`, `field "version"`},
		"a number too large":          {`"version":3`, `"version":18446744073709551616`, `field "version"`},
		"a text for a number":         {`"position":7`, `"position":"7"`, `field "position"`},
		"a number for a text":         {`"name":"n"`, `"name":7`, `field "name"`},
		"null for a number":           {`"position":7`, `"position":null`, `field "position"`},
		"null for a text":             {`"name":"n"`, `"name":null`, `field "name"`},
		"null for a routing key":      {`"routingKey":"k"`, `"routingKey":null`, `field "routingKey"`},
		"null for tags":               {`["x","y"]`, `null`, `field "tags"`},
		"null for a tag":              {`["x","y"]`, `["x",null]`, `field "tags"`},
		"null for metadata":           {`{"id":"i","requestedBy":"b","values":{"a":"1","b":"2"}}`, `null`, `field "metadata"`},
		"null for values":             {`{"a":"1","b":"2"}`, `null`, `field "values"`},
		"null for a value":            {`"b":"2"`, `"b":null`, `field "values.b"`},
		"null for data":               {`"AAAA"`, `null`, `field "data"`},
		"an object for a text":        {`"name":"n"`, `"name":{}`, `field "name"`},
		"true for a text":             {`"name":"n"`, `"name":true`, `field "name"`},
		"an object for tags":          {`["x","y"]`, `{"x":"y"}`, `field "tags"`},
		"a text for tags":             {`["x","y"]`, `"x"`, `field "tags"`},
		"a comma behind the tags":     {`["x","y"]`, `["x","y",]`, `field "tags"`},
		"a comma before the tags":     {`["x","y"]`, `[,"x"]`, `field "tags"`},
		"no comma between tags":       {`["x","y"]`, `["x""y"]`, `field "tags"`},
		"tags in tags":                {`["x","y"]`, `[["x"]]`, `field "tags"`},
		"tags without an end":         {`["x","y"]`, `["x","y"`, `field "tags"`},
		"a list for metadata":         {`{"id":"i","requestedBy":"b","values":{"a":"1","b":"2"}}`, `[]`, `field "metadata"`},
		"a comma behind the fields":   {`"data":"AAAA"}`, `"data":"AAAA",}`, `expected`},
		"something behind":            {`"data":"AAAA"}`, `"data":"AAAA"} {}`, `after its end`},
		"white space behind":          {`"data":"AAAA"}`, `"data":"AAAA"} `, `after its end`},
		"a carriage return behind":    {`"data":"AAAA"}`, "\"data\":\"AAAA\"}\r", `after its end`},
		"a bracket behind":            {`"data":"AAAA"}`, `"data":"AAAA"}}`, `after its end`},
		"a byte order mark":           {`{"position"`, "\ufeff" + `{"position"`, `a byte order mark`},
		"half a line":                 {`,"codec":"c","metadata":{"id":"i","requestedBy":"b","values":{"a":"1","b":"2"}},"data":"AAAA"}`, ``, `cut off`},
		"half a text":                 {`"metadata":{"id":"i","requestedBy":"b","values":{"a":"1","b":"2"}},"data":"AAAA"}`, `"meta`, `cut off`},
		"base64 with bits behind":     {`"AAAA"`, `"AB=="`, `field "data"`},
		"base64 with more behind":     {`"AAAA"`, `"AAB="`, `field "data"`},
		"base64 without padding":      {`"AAAA"`, `"AA"`, `field "data"`},
		"base64 with half a padding":  {`"AAAA"`, `"AA="`, `field "data"`},
		"base64 with much padding":    {`"AAAA"`, `"AAA=="`, `field "data"`},
		"base64 padded in the middle": {`"AAAA"`, `"AA==AAAA"`, `field "data"`},
		"base64 with a space":         {`"AAAA"`, `"AA AA"`, `field "data"`},
		"base64 with a line feed":     {`"AAAA"`, `"AA\nAA"`, `field "data"`},
		"base64 with a return":        {`"AAAA"`, `"AA\r\nAA"`, `field "data"`},
		"base64 with an escape":       {`"AAAA"`, `"\u0041AAA"`, `field "data"`},
		"base64 for URLs":             {`"AAAA"`, `"_-AA"`, `field "data"`},
		"data that is a list":         {`"AAAA"`, `[0,0,0]`, `field "data"`},
		"an id in small letters":      {`01J8ZQ4Y7K0000000000000001`, `01j8zq4y7k0000000000000001`, `field "id"`},
		"an id over all":              {`01J8ZQ4Y7K0000000000000001`, `81J8ZQ4Y7K0000000000000001`, `field "id"`},
		"an id with another letter":   {`01J8ZQ4Y7K0000000000000001`, `01J8ZQ4Y7K000000000000000I`, `field "id"`},
		"a short id":                  {`01J8ZQ4Y7K0000000000000001`, `01J8ZQ4Y7K000000000000001`, `field "id"`},
		"a long id":                   {`01J8ZQ4Y7K0000000000000001`, `01J8ZQ4Y7K00000000000000011`, `field "id"`},
		"a time with a comma":         {`05.000006Z`, `05,000006Z`, `field "timestamp"`},
		"a time in milliseconds":      {`05.000006Z`, `05.000Z`, `field "timestamp"`},
		"a time in nanoseconds":       {`05.000006Z`, `05.000006000Z`, `field "timestamp"`},
		"a time without a fraction":   {`05.000006Z`, `05Z`, `field "timestamp"`},
		"a time of another zone":      {`05.000006Z`, `05.000006+01:00`, `field "timestamp"`},
		"a time in small letters":     {`2026-01-02T03:04:05.000006Z`, `2026-01-02t03:04:05.000006z`, `field "timestamp"`},
		"a day that there is not":     {`2026-01-02`, `2026-02-30`, `field "timestamp"`},
		"a leap second":               {`03:04:05`, `23:59:60`, `field "timestamp"`},
		"a year of five digits":       {`2026-01-02`, `12026-01-02`, `field "timestamp"`},
		"no text for a time":          {`"2026-01-02T03:04:05.000006Z"`, `1767323045`, `field "timestamp"`},
	} {
		line := strings.Replace(good, tt.from, tt.to, 1)
		if line == good {
			t.Fatalf("%s: %s is not in the line", name, tt.from)
		}
		if e, err := parse([]byte(line)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: parse(%q) = %+v, %v, want an error with %s", name, line, e, err, tt.want)
		}
	}
}

// White space between the parts, and escapes that stand for one character, change nothing.
func TestParseTakes(t *testing.T) {
	t.Parallel()
	want := sample()[1]
	line := string(lineOf(t, &want))
	for _, change := range [][2]string{
		{`,"version"`, " ,\t\"version\" "}, {`"position":`, `"position": `}, {`🐢`, `\ud83d\uDC22`}, {`"ż`, `"\u017c`}, {`"key/`, `"k\u0065y\/`},
	} {
		line = strings.Replace(line, change[0], change[1], 1)
		if got, err := parse([]byte(line)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parse(%s) = %+v, %v, want %+v", line, got, err, want)
		}
	}
	for n := range 64 {
		want.Data = bytes.Repeat([]byte{byte(3 * n)}, n)
		if got, err := parse(lineOf(t, &want)); err != nil || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%d bytes, %s: %x, %v", n, base64.StdEncoding.EncodeToString(want.Data), got.Data, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range sample() {
		f.Add(lineOf(f, &e))
	}
	f.Fuzz(sameAsJSON)
}

func BenchmarkParse(b *testing.B) {
	e := sample()[0]
	e.Data = make([]byte, 250)
	line := lineOf(b, &e)
	for b.Loop() {
		if _, err := parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
