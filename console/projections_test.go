package console

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

const accountType evento.AggregateType = "bank/Account"

// The facts of the tests.
type (
	opened    struct{ Owner string }
	deposited struct{ Amount int64 }
	noted     struct{ Text string }
	closed    struct{}
)

func (opened) AggregateType() evento.AggregateType    { return accountType }
func (opened) EventName() string                      { return "Opened" }
func (deposited) AggregateType() evento.AggregateType { return accountType }
func (deposited) EventName() string                   { return "Deposited" }
func (noted) AggregateType() evento.AggregateType     { return accountType }
func (noted) EventName() string                       { return "Noted" }
func (closed) AggregateType() evento.AggregateType    { return accountType }
func (closed) EventName() string                      { return "Closed" }

type account struct {
	Owner   string
	Limit   int
	Balance int64
	Notes   map[string]int
}

// accounts is a projection of the tests.
func accounts(name string) *evento.Projection[account] {
	return evento.NewProjection[account](name, accountType).Handler(
		evento.Apply(func(a *account, e evento.Event[opened]) error {
			a.Owner, a.Limit = e.Data.Owner, 100
			return nil
		}),
		evento.Apply(func(a *account, e evento.Event[deposited]) error {
			a.Balance += e.Data.Amount
			return nil
		}),
		evento.Apply(func(a *account, e evento.Event[noted]) error {
			if e.Data.Text == "panic" {
				panic("no such\u202e <b>note</b>")
			}
			if a.Notes == nil {
				a.Notes = map[string]int{}
			}
			a.Notes[e.Data.Text]++
			return nil
		})).Tombstone(closed{})
}

func newStore(t *testing.T) *memory.Executor {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	return ex
}

func commit(t *testing.T, ex evento.Executor, id string, payloads ...evento.Payload) {
	t.Helper()
	if _, err := evento.Aggregate(id).AnyVersion().Event(payloads...).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
}

// site is a console that is asked for pages.
type site struct {
	t       *testing.T
	handler http.Handler
}

func newSite(t *testing.T, ex evento.Executor, projections ...Projection) *site {
	t.Helper()
	h, err := Handler(ex, &Options{Projections: projections})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, h}
}

// doc is a page that was parsed.
type doc struct {
	t        *testing.T
	body     string
	elements []*element
}

type element struct {
	name  string
	attrs map[string]string
	text  string // of it and of what is in it
}

// get asks for a page, as a browser does: what is in a path is escaped.
func (s *site) get(path string, status int) *doc {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, path, nil))
	if w.Code != status {
		s.t.Fatalf("GET %s: status %d, want %d\n%s", path, w.Code, status, w.Body)
	}
	return parse(s.t, path, w.Body.String())
}

func parse(t *testing.T, path, body string) *doc {
	t.Helper()
	d := &doc{t: t, body: body}
	tokens := xml.NewDecoder(strings.NewReader(body))
	tokens.Strict, tokens.AutoClose, tokens.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var open []*element
	for {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatalf("GET %s: %v in\n%s", path, err, body)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			d.elements, open = append(d.elements, e), append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			for _, e := range open {
				e.text += string(token)
			}
		}
	}
}

// all are the texts of the elements of a name, and of a class if that is not "".
func (d *doc) all(name, class string) (texts []string) {
	for _, e := range d.elements {
		if e.name == name && (class == "" || slices.Contains(strings.Fields(e.attrs["class"]), class)) {
			texts = append(texts, strings.Join(strings.Fields(e.text), " "))
		}
	}
	return texts
}

// one is the first element with a value of an attribute.
func (d *doc) one(attr, value string) *element {
	d.t.Helper()
	for _, e := range d.elements {
		if v, ok := e.attrs[attr]; ok && v == value {
			return e
		}
	}
	d.t.Fatalf("there is no element with %s=%q in\n%s", attr, value, d.body)
	return nil
}

func (d *doc) has(attr, value string) bool {
	return slices.ContainsFunc(d.elements, func(e *element) bool {
		v, ok := e.attrs[attr]
		return ok && v == value
	})
}

// says checks that texts are on the page.
func (d *doc) says(texts ...string) {
	d.t.Helper()
	var all strings.Builder
	for _, e := range d.elements {
		if e.name == "html" {
			all.WriteString(strings.Join(strings.Fields(e.text), " "))
		}
	}
	for _, text := range texts {
		if !strings.Contains(all.String(), text) {
			d.t.Errorf("the page does not say %q:\n%s", text, all.String())
		}
	}
}

// is compares texts.
func is(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q\nwant %q", what, got, want)
	}
}

// counted counts the events that are read.
type counted struct {
	evento.Executor
	n           atomic.Int64
	noPositions bool // CursorAt is not supported, as by a group of stores
	writes      atomic.Int64
}

func (c *counted) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page, err := c.Executor.Read(ctx, q, args)
	if err == nil {
		c.n.Add(int64(len(page.Edges)))
	}
	return page, err
}

func (c *counted) CursorAt(position uint64) (cursor.Value, error) {
	if c.noPositions && position > 0 {
		return "", errors.ErrUnsupported
	}
	return c.Executor.CursorAt(position)
}

func (c *counted) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	c.writes.Add(1)
	return c.Executor.SaveSnapshot(ctx, key, s)
}

func (c *counted) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	c.writes.Add(1)
	return c.Executor.RemoveSnapshots(ctx, keys)
}

func TestProjectionsAreChecked(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		projections []Projection
		text        string
	}{
		"nil":            {[]Projection{Show(accounts("a")), nil}, "projection 1 is nil"},
		"Show of nil":    {[]Projection{Show[account](nil)}, "Show was given no projection"},
		"a name twice":   {[]Projection{Show(accounts("a")), Show(accounts("b")), Show(accounts("a"))}, `two projections are named "a"`},
		"one after each": {[]Projection{Show(accounts("a")), Show(accounts("b"))}, ""},
	} {
		ex := memory.New(nil)
		_, err := Handler(ex, &Options{Projections: test.projections})
		if test.text == "" && err != nil || test.text != "" && (!errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("%s: %v, want %q", what, err, test.text)
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a program's own functions do wrong is said on the page, and ends nothing else.
func TestStatesThatFail(t *testing.T) {
	t.Parallel()
	type odd struct {
		N float64
		F func() `json:"-"`
	}
	odds := evento.NewProjection[odd]("odds", accountType).Handler(evento.Apply(func(o *odd, e evento.Event[deposited]) error {
		if o.N = float64(e.Data.Amount); e.Data.Amount == 7 {
			o.N = math.Inf(1)
		}
		return nil
	}))
	panicking := evento.NewProjection[panics]("panics", accountType).Handler(evento.Apply(func(p *panics, e evento.Event[deposited]) error {
		p.n = e.Data.Amount
		return nil
	}))
	ex := newStore(t)
	commit(t, ex, "a", opened{"Ann"}, deposited{5}, deposited{7}, noted{"panic"}, deposited{9}, closed{})
	s := newSite(t, ex, Show(accounts("account")), Show(odds), Show(panicking))
	const a = "/aggregates/bank%2FAccount/a"

	d := s.get(a+"?v=4", http.StatusOK)
	d.says("the projection panics: no such", "The rest of it", "panic")
	if strings.Contains(d.body, "<b>note") || strings.ContainsRune(d.body, '\u202e') {
		t.Errorf("a panic's text is not escaped:\n%s", d.body)
	}
	if got := d.all("pre", "diff"); len(got) != 0 {
		t.Errorf("a state is shown behind a panic: %q", got)
	}
	is(t, "changed before the panic", s.get(a+"?v=3", http.StatusOK).all("ins", ""), `+ "Balance": 12,`)

	s.get(a+"?v=3&projection=odds", http.StatusOK).says("the state at version 3 cannot be shown as JSON", "unsupported value")
	d = s.get(a+"?v=5&projection=odds", http.StatusOK)
	d.says("the state at version 4 cannot be shown as JSON")
	is(t, "behind what cannot be encoded", d.all("pre", "diff"), `{ "N": 9 }`)
	d = s.get(a+"?v=4&projection=odds", http.StatusOK)
	d.says("cannot be shown as JSON")

	s.get(a+"?v=2&projection=panics", http.StatusOK).says("encoding the state panics: 5")
	s.get(a+"?v=6&projection=account", http.StatusOK).says("the projection panics")

	commit(t, ex, "b", opened{"Bea"}, closed{}, deposited{1})
	s.get("/aggregates/bank%2FAccount/b?v=2", http.StatusOK).says("The aggregate is deleted: there is no state any more.", "Payload of Closed")
	s.get("/aggregates/bank%2FAccount/b?v=3", http.StatusOK).says("The aggregate is deleted")
	is(t, "before it is deleted", s.get("/aggregates/bank%2FAccount/b?v=1", http.StatusOK).all("ins", ""), `+ "Owner": "Bea",`, `+ "Limit": 100,`)
}

// panics is a state that cannot be encoded once it is not zero.
type panics struct{ n int64 }

func (p *panics) MarshalJSON() ([]byte, error) {
	if p.n != 0 {
		panic(p.n)
	}
	return []byte("0"), nil
}

// A difference has the lines of both states.
func TestDifferences(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ before, after, want, changed string }{
		{`{"a":1,"b":2}`, `{"a":1,"b":2}`, ` {|   "a": 1,|   "b": 2| }`, ""},
		{`{"a":1,"b":2}`, `{"a":1,"b":3}`, ` {|   "a": 1,|-  "b": 2|+  "b": 3| }`, "b"},
		{`{"a":1}`, `{"a":1,"b":[1]}`, ` {|   "a": 1,|+  "b": [|+    1|+  ]| }`, "b"},
		{`{"a":1,"b":2,"c":3}`, `{"b":2,"d":4}`, ` {|-  "a": 1,|   "b": 2,|+  "d": 4|-  "c": 3| }`, "d a c"},
		{`{"m":{"x":{"k":1}}}`, `{"m":{"x":{"k":2}}}`, ` {|   "m": {|     "x": {|-      "k": 1|+      "k": 2|     }|   }| }`, "m"},
		{`{"m":{}}`, `{"m":{"k":1}}`, ` {|   "m": {|+    "k": 1|   }| }`, "m"},
		{`{"m":null}`, `{"m":{}}`, ` {|-  "m": null|+  "m": {}| }`, "m"},
		{`[1,2,3]`, `[1,3]`, ` [|   1,|-  2,|   3| ]`, ""},
		{`[1,2]`, `[1,2,3]`, ` [|   1,|   2,|+  3| ]`, ""},
		{`[{"a":1},2]`, `[{"a":2},2]`, ` [|   {|-    "a": 1|+    "a": 2|   },|   2| ]`, ""},
		{`1`, `2`, `-1|+2`, ""},
		{`1`, `{"a":1}`, `-1|+{|+  "a": 1|+}`, "" /* of another kind */},
		{`{"a":1,"a":2}`, `{"a":3}`, `-{|-  "a": 1,|-  "a": 2|-}|+{|+  "a": 3|+}`, ""},
		{`{"\u202e":1}`, `{"\u202e":2}`, ` {|-  "\u202e": 1|+  "\u202e": 2| }`, "\u202e"},
	} {
		d := differenceOf([]byte(test.before), []byte(test.after))
		var lines []string
		for _, l := range d.Lines {
			mark := l.Mark
			if mark == "" {
				mark = " "
			}
			lines = append(lines, mark+l.Indent+l.Key+l.Text)
		}
		var changed []string
		for _, key := range d.Changed {
			changed = append(changed, unquoted(key))
		}
		if got := strings.Join(lines, "|"); got != test.want || strings.Join(changed, " ") != test.changed {
			t.Errorf("%s to %s: %s, changed %q\nwant %s, %q", test.before, test.after, got, changed, test.want, test.changed)
		}
	}
}

// Of a large state, what has changed is shown, and it is said what is left out.
func TestLargeDifferences(t *testing.T) {
	t.Parallel()
	list := func(n, change int) []byte {
		var b strings.Builder
		b.WriteString(`{"list":[`)
		for i := range n {
			if i > 0 {
				b.WriteString(",")
			}
			if fmt.Fprintf(&b, "%d", i); i%max(change, 1) == change-1 {
				b.WriteString("000")
			}
		}
		return []byte(b.String() + `],"z":1}`)
	}
	d := differenceOf(list(20_000, 0), list(20_000, 20_000))
	if len(d.Lines) > 20 || d.Left > 0 {
		t.Errorf("one change among 20,000: %d lines, %d left out", len(d.Lines), d.Left)
	}
	same, marks := 0, 0
	for _, l := range d.Lines {
		if same += l.Same; l.Mark != "" {
			marks++
		}
	}
	if same < 19_990 || marks != 2 {
		t.Errorf("one change among 20,000: %d lines are the same, %d differ", same, marks)
	}
	d = differenceOf(list(20_000, 0), list(20_000, 2))
	size := 0
	for i := range d.Lines {
		size += d.Lines[i].size()
	}
	if size > mostShown || d.Left == 0 {
		t.Errorf("10,000 changes: %d bytes, %d lines left out", size, d.Left)
	}
	d = differenceOf(list(20_000, 0), list(20_000, 0))
	if d.Left == 0 || d.Lines[0].Same > 0 {
		t.Errorf("no change: %d lines left out, the first is %v", d.Left, d.Lines[0])
	}
}

// Deep values are not mostly what is before their lines.
func TestDeepValues(t *testing.T) {
	t.Parallel()
	deep := func(n int, in string) []byte {
		return []byte(strings.Repeat(`{"a":[`, n) + in + strings.Repeat("]}", n))
	}
	for _, in := range []string{`"]]}}"`, `1` + strings.Repeat(",2", 100_000)} {
		for _, n := range []int{30, 1000, 4900} {
			v, err := valueOf(deep(n, in))
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			for _, l := range v.Lines {
				size += len(l.Indent)
			}
			if size > mostIndent || n == 30 && len(in) < 100 && len(v.Lines) < 100 {
				t.Errorf("%d deep: %d lines, with %d bytes before them", n, len(v.Lines), size)
			}
		}
		d := differenceOf(deep(4000, in+`,1`), deep(4000, in+`,2`))
		size := 0
		for i := range d.Lines {
			size += d.Lines[i].size()
		}
		if size > mostShown || len(d.Lines) == 0 && d.Left == 0 {
			t.Errorf("the difference of deep values: %d lines, %d bytes, %d left out", len(d.Lines), size, d.Left)
		}
	}
	if _, err := valueOf([]byte(strings.Repeat("[", 5000))); err == nil {
		t.Error("what is cut is taken for JSON")
	}
}

// Many deep members of a state are not laid out either: they would be thousands of times as long.
func TestDeepMembers(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 700) + strings.Repeat("]", 700)
	state := func(first string) []byte { return []byte(`{"a":` + first + manyOf(deep, 150) + `}`) }
	before, after := state("1"), state("2")
	made := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			differenceOf(before, after)
		}
	})
	if n := made.AllocedBytesPerOp(); n > 128<<20 {
		t.Errorf("a difference of states of %d bytes takes %d bytes", len(before), n)
	}
}

// manyOf are members of an object with a value.
func manyOf(value string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%s`, i, value)
	}
	return b.String()
}
