package transfer

import (
	"bytes"
	"encoding/json"
	"reflect"
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

func anyJSON(line []byte) (e evento.RawEvent, err error) {
	var r record
	if err := decode(line, &r); err != nil {
		return e, err
	}
	return r.event()
}

func sample() []evento.RawEvent {
	plain := evento.RawEvent{
		ID: evento.NewID(), Position: 123456, AggregateType: "bank/Account", AggregateID: "account-1", Version: 1 << 61, Name: "Opened",
		Codec: "cbor", Data: []byte("\x00\xff data"), Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
	odd := plain
	odd.AggregateID, odd.RoutingKey, odd.Data = "żółw 🐢", "key/<b>&", []byte{}
	odd.Metadata = evento.Metadata{ID: `","data":"`, RequestedBy: "a\"b\\c", Values: map[string]string{"a": "b", "data": "}"}}
	tagged := plain
	tagged.RoutingKey, tagged.Tags = "key", []string{"course:go", "]", ",", "żółw 🐢", `<b>&`, "timestamp"}
	tagged.Metadata = evento.Metadata{RequestedBy: "ada"}
	quoted := plain
	quoted.Name = `"quoted" \`
	escaped := plain
	escaped.Tags = []string{"a", `"quoted" \`, `","`, "\u2028"}
	return []evento.RawEvent{plain, odd, tagged, quoted, escaped}
}

// unescaped is how many samples need no escapes: scan reads these.
const unescaped = 3

// When scan reads a line, the result is that of the JSON decoder, also for lines
// with any one byte changed.
func TestScan(t *testing.T) {
	t.Parallel()
	for i, want := range sample() {
		line := lineOf(t, &want)
		if got, ok := scan(line); ok != (i < unescaped) || ok && !reflect.DeepEqual(got, want) {
			t.Errorf("scan(%s) = %+v, %t, want %+v", line, got, ok, want)
		}
		for at := range line {
			for _, by := range []string{"", "0", "9", `"`, `\`, "}", ",", "=", "\r", "\x00", "\xff", "ż"} {
				sameAsJSON(t, bytes.Join([][]byte{line[:at], line[at+1:]}, []byte(by)))
			}
		}
	}
}

func sameAsJSON(t *testing.T, line []byte) {
	t.Helper()
	got, ok := scan(line)
	if !ok {
		return
	}
	if want, err := anyJSON(line); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("scan(%q) = %+v, want %+v, %v", line, got, want, err)
	}
}

// Tags of every shape: scan reads those that Export writes, and others as the JSON decoder
// does, or not at all.
func TestScanTags(t *testing.T) {
	t.Parallel()
	plain := lineOf(t, &sample()[0])
	for _, tt := range []struct {
		tags string // with the comma before
		scan bool
		want []string // nil: none, or no event
		ok   bool
	}{
		{``, true, nil, true},
		{`,"tags":["a"]`, true, []string{"a"}, true},
		{`,"tags":["a","b c","żółw 🐢"]`, true, []string{"a", "b c", "żółw 🐢"}, true},
		{`,"tags":["]","[","{}",":"]`, true, []string{"]", "[", "{}", ":"}, true},
		{`,"tags":["a","a"]`, true, []string{"a", "a"}, true}, // whoever imports it refuses it
		{`,"tags":[""]`, true, []string{""}, true},
		{`,"tags":[]`, true, nil, true},
		{`,"tags":null`, false, nil, true},
		{`,"tags":["a\u0062\"\\"]`, false, []string{`ab"\`}, true},
		{`,"tags":["a" ,"b"]`, false, []string{"a", "b"}, true},
		{`,"tags": ["a"]`, false, []string{"a"}, true},
		{`,"tags":["a",]`, false, nil, false},
		{`,"tags":[,"a"]`, false, nil, false},
		{`,"tags":["a""b"]`, false, nil, false},
		{`,"tags":["a"`, false, nil, false},
		{`,"tags":["a]`, false, nil, false},
		{`,"tags":[7]`, false, nil, false},
		{`,"tags":[["a"]]`, false, nil, false},
		{`,"tags":"a"`, false, nil, false},
		{`,"tags":{"a":"b"}`, false, nil, false},
		{`,"tag":["a"]`, false, nil, false},
	} {
		line := bytes.Replace(plain, []byte(`,"timestamp"`), []byte(tt.tags+`,"timestamp"`), 1)
		scanned, ok := scan(line)
		if ok != tt.scan || ok && !reflect.DeepEqual(scanned.Tags, tt.want) {
			t.Errorf("scan(%s) = %q, %t, want %q, %t", line, scanned.Tags, ok, tt.want, tt.scan)
		}
		if e, err := anyJSON(line); (err == nil) != tt.ok || err == nil && !reflect.DeepEqual(e.Tags, tt.want) {
			t.Errorf("%s is decoded with the tags %q, %v, want %q, %t", line, e.Tags, err, tt.want, tt.ok)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, e := range sample() {
		f.Add(lineOf(f, &e))
	}
	f.Fuzz(sameAsJSON)
}

func BenchmarkScan(b *testing.B) {
	e := sample()[0]
	e.Data = make([]byte, 250)
	line := lineOf(b, &e)
	for b.Loop() {
		if _, ok := scan(line); !ok {
			b.Fatal("not scanned")
		}
	}
}
