package evento_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// invalid is every name that some store would fold, cut or misread, with what
// the error says of it.
var invalid = []struct{ name, why string }{
	{"", "empty"},
	{strings.Repeat("x", 256), "256 bytes, at most 255 are allowed"},
	{strings.Repeat("é", 128), "256 bytes, at most 255 are allowed"},
	{"a\x00b", `control character '\x00' at byte 1`},
	{"a\n", `control character '\n' at byte 1`},
	{"\ta", `control character '\t' at byte 0`},
	{"a\x7f", `control character '\x7f' at byte 1`},
	{"é\u0085", `control character '\u0085' at byte 2`},
	{"a\xff", "not valid UTF-8"},
	{"a\xed\xa0\x80", "not valid UTF-8"},
}

var valid = []string{
	"a", "order-1", "ORDER-1", "order-1 ", " ", "%", "'; DROP TABLE events; --", `\`, "日本語", "é", "e\u0301", "\u200b", "\ufffd",
	strings.Repeat("x", 255), strings.Repeat("é", 127),
}

// loose is a payload whose type and name are as its fields say.
type loose struct{ Type, Name string }

func (l loose) AggregateType() evento.AggregateType { return evento.AggregateType(l.Type) }
func (l loose) EventName() string                   { return l.Name }

// namedCodec is CBOR under another name.
type namedCodec struct {
	evento.Codec
	name string
}

func (c namedCodec) Name() string { return c.name }

// A commit that names what cannot be stored says which name and why, and
// stores nothing.
func TestCommitRefusesNames(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	good := loose{"type", "name"}
	for _, bad := range invalid {
		for _, test := range []struct {
			what  string
			empty bool // whether "" is refused too
			b     *evento.CommitBuilder
		}{
			{"aggregate type", true, evento.Aggregate("id").Event(loose{bad.name, "name"})},
			{"aggregate id", true, evento.Aggregate(bad.name).Event(good)},
			{"event name", true, evento.Aggregate("id").Event(good, loose{"type", bad.name})},
			{"routing key", false, evento.Aggregate("id").Event(good).RoutingKey(bad.name)},
			{"metadata key", true, evento.Aggregate("id").Event(good).Metadata(bad.name, "v")},
		} {
			_, err := test.b.Commit(t.Context(), ex)
			if bad.name == "" && !test.empty {
				if err != nil {
					t.Errorf("%s %q: %v, want it taken for none", test.what, bad.name, err)
				}
				continue
			}
			if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "invalid "+test.what) || !strings.Contains(fmt.Sprint(err), bad.why) {
				t.Errorf("%s %.20q: %v, want ErrInvalid, the name of what is wrong, and %q", test.what, bad.name, err, bad.why)
			}
		}
	}
	if got := events(t, ex); len(got) != 1 { // that of the empty routing key
		t.Errorf("%d events were stored by commits that were refused", len(got)-1)
	}
}

// What is accepted comes back byte by byte, and is one name each.
func TestCommitKeepsNames(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for _, name := range valid {
		b := evento.Aggregate(name).Event(loose{name, name}).RoutingKey(name).Metadata(name, name+"\n")
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		q := evento.Query{Filters: []evento.Filter{evento.ByIDAndEvent(name, loose{name, name})}, RoutingKey: name}
		page, err := ex.Read(t.Context(), q, cursor.Forward(10, ""))
		if err != nil || len(page.Edges) != 1 {
			t.Errorf("%q: read %+v, %v, want one event", name, page, err)
			continue
		}
		e := page.Edges[0].Node
		if string(e.AggregateType) != name || e.AggregateID != name || e.Name != name || e.RoutingKey != name || e.Metadata.Values[name] != name+"\n" {
			t.Errorf("%q came back as %+v", name, e)
		}
	}
}

func TestCommitRefusesValues(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	good := loose{"type", "name"}
	with := func(m evento.Metadata) *evento.CommitBuilder {
		return evento.Aggregate("id").Event(good).MetadataFrom(m)
	}
	for _, test := range []struct {
		name  string
		b     *evento.CommitBuilder
		match error
		want  string
	}{
		{"metadata id", with(evento.Metadata{ID: "a\x00"}), evento.ErrInvalid, `invalid metadata id "a\x00": NUL at byte 1`},
		{"requested by", with(evento.Metadata{RequestedBy: "\xff"}), evento.ErrInvalid, `invalid requested-by "\xff": not valid UTF-8`},
		{"requested as", with(evento.Metadata{RequestedAs: "\xff"}), evento.ErrInvalid, `invalid requested-as "\xff": not valid UTF-8`},
		{"correlation", with(evento.Metadata{CorrelationID: "\x00"}), evento.ErrInvalid, `invalid correlation id "\x00": NUL at byte 0`},
		{"causation", with(evento.Metadata{CausationID: "\x00"}), evento.ErrInvalid, `invalid causation id "\x00": NUL at byte 0`},
		{"metadata value", evento.Aggregate("id").Event(good).Metadata("k", "\xff"), evento.ErrInvalid, `invalid metadata value of "k" "\xff": not valid UTF-8`},
		{"much metadata", evento.Aggregate("id").Event(good).Metadata("k", strings.Repeat("v", evento.MaxMetadata)), evento.ErrTooLarge, "metadata of 65537 bytes, at most 65536 are allowed"},
		{"a high version", evento.Aggregate("id").OriginalVersion(1 << 62).Event(good), evento.ErrInvalid, `invalid version: 4611686018427387904 expected of type "id"`},
		{"a codec without a name", evento.Aggregate("id").Event(good).Codec(namedCodec{evento.CBOR(), ""}), evento.ErrInvalid, "invalid codec name: empty"},
		{"a codec with a long name", evento.Aggregate("id").Event(good).Codec(namedCodec{evento.CBOR(), strings.Repeat("c", 33)}), evento.ErrInvalid, "33 bytes, at most 32 are allowed"},
		{"no events", evento.Aggregate("id"), evento.ErrNoEvents, `no events to commit: aggregate "id"`},
		{"a nil payload", evento.Aggregate("id").Event(good, nil), evento.ErrInvalid, `payload 2 of aggregate "id": invalid event: the payload is nil`},
		{"a nil pointer", evento.Aggregate("id").Event((*renamed)(nil)), evento.ErrInvalid, `payload 1 of aggregate "id": invalid event: the payload is nil`},
		{"two types", evento.Aggregate("id").Event(AccountOpened{}, good), evento.ErrInvalid, "bank/Account and type are types of two aggregates; commit them with CommitAll"},
		{"a large payload", evento.Aggregate("id").Event(loose{"type", "name"}).Codec(fixedCodec{make([]byte, evento.MaxPayload+1)}), evento.ErrTooLarge, "16777217 bytes, at most 16777216 are allowed"},
		{"many events", evento.Aggregate("id").Event(make10001()...), evento.ErrTooLarge, "a commit of 10001 events, at most 10000 are allowed"},
		{"a large commit", evento.Aggregate("id").Event(good, good, good, good, good).Codec(fixedCodec{make([]byte, evento.MaxPayload)}), evento.ErrTooLarge, "a commit of 83886080 bytes of payload, at most 67108864 are allowed"},
	} {
		_, err := test.b.Commit(t.Context(), ex)
		if !errors.Is(err, test.match) || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: %v, want %v and %q", test.name, err, test.match, test.want)
		}
	}
	if got := events(t, ex); len(got) != 0 {
		t.Errorf("%d events were stored by commits that were refused", len(got))
	}
}

// fixedCodec writes the same bytes for everything.
type fixedCodec struct{ data []byte }

func (fixedCodec) Name() string                  { return "fixed" }
func (c fixedCodec) Marshal(any) ([]byte, error) { return c.data, nil }
func (fixedCodec) Unmarshal([]byte, any) error   { return nil }

func make10001() []evento.Payload {
	ps := make([]evento.Payload, evento.MaxCommitEvents+1)
	for i := range ps {
		ps[i] = MoneyDeposited{}
	}
	return ps
}

// The limits are what is allowed, and not one less.
func TestCommitTakesLimits(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	good := loose{"type", "name"}
	for name, b := range map[string]*evento.CommitBuilder{
		"payload":  evento.Create().Event(good).Codec(fixedCodec{make([]byte, evento.MaxPayload)}),
		"commit":   evento.Create().Event(good, good, good, good).Codec(fixedCodec{make([]byte, evento.MaxPayload)}),
		"metadata": evento.Create().Event(good).Metadata("k", strings.Repeat("v", evento.MaxMetadata-1)),
		"events":   evento.Create().Event(make10001()[1:]...),
		"codec":    evento.Create().Event(good).Codec(namedCodec{evento.CBOR(), strings.Repeat("c", 32)}),
	} {
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Errorf("%s at its limit: %v", name, err)
		}
	}
}

func TestWriteCheck(t *testing.T) {
	t.Parallel()
	event := evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "cbor"}
	ok := evento.Append{AggregateType: "t", AggregateID: "i", Events: []evento.NewEvent{event}}
	for _, test := range []struct {
		name  string
		w     evento.Write
		match error
		want  string
	}{
		{"nothing", evento.Write{}, evento.ErrNoEvents, ""},
		{"an append without events", evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "i"}}}, evento.ErrNoEvents, `t "i"`},
		{"any version, and one", evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "i", AnyVersion: true, Expected: 1, Events: ok.Events}}}, evento.ErrInvalid, "invalid version: 1 expected"},
		{"one aggregate twice", evento.Write{Appends: []evento.Append{ok, ok}}, evento.ErrInvalid, `t "i" is in it twice`},
		{"one id of two types", evento.Write{Appends: []evento.Append{ok, {AggregateType: "u", AggregateID: "i", Events: ok.Events}}}, nil, ""},
		{"two ids of one type", evento.Write{Appends: []evento.Append{ok, {AggregateType: "t", AggregateID: "j", Events: ok.Events}}}, nil, ""},
	} {
		err := test.w.Check()
		if !errors.Is(err, test.match) || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %v and %q", test.name, err, test.match, test.want)
		}
	}
}
