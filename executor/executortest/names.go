// Names and ids: what is refused, and that the rest comes back as it was and
// is told apart bytewise.

package executortest

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/evento-go/evento"
)

func testNames(t *testing.T, c Config) {
	c.run(t, "Refused", namesRefused)
	c.run(t, "Apart", namesApart)
	c.run(t, "EachField", namesEachField)
}

// hostileNames are allowed, and each is another name: stores that fold case,
// trim, normalize, cut, or take a name for a pattern or for SQL mix some up.
func hostileNames() []string {
	return []string{
		"a", "A", "a ", " a", " a ", "a  ", " ", "  ", "0", "00", "0.0", "1e1", "10", "-0", "NULL", "null", "nil", "true",
		"order-1", "ORDER-1", "order-1 ", "Order-1",
		"straße", "strasse", "STRASSE", "STRAßE", "ı", "i", "I", "İ",
		"\u00e9", "e\u0301", "\u00c9", "\u212b", "\u00c5", "A\u030a", "\ufb01", "fi", // NFC, NFD, compatibility
		"%", "_", "a%", "a_", "a%b", "aXb", "*", "?", "[a]", ".*", "a.b", "a\\", "a\\b", "a\\\\b", "\\0", "\\x00",
		"'", "''", `"`, `""`, "`", "a'b", `a"b`, "'; DROP TABLE events; --", "$1", "?1", ":a", "@a", "${a}", "{{a}}",
		"/", "a/b", "a//b", "../a", "a|b", "a,b", "a;b", "a:b", "a=b", "a&b", "a#b", "<a>",
		"😀", "😁", "👩‍👩‍👧", "日本語", "العربية", "\u200b", "a\u200b", "\ufeff", "\ufeffa", "\u202ea", "\u2028", "\u00a0", "\ufffd", "\uffff", "\U0010ffff",
		strings.Repeat("x", evento.MaxName), strings.Repeat("x", evento.MaxName-1), strings.Repeat("x", evento.MaxName-1) + "y",
		strings.Repeat("é", evento.MaxName/2), strings.Repeat("😀", evento.MaxName/4),
	}
}

// refusedNames are those that Write.Check does not let through.
func refusedNames() []string {
	return []string{
		"", strings.Repeat("x", evento.MaxName+1), strings.Repeat("é", evento.MaxName/2+1),
		"\x00", "a\x00", "a\x00b", "a\nb", "a\r", "\t", "\x1b[0m", "\x7f", "\u0080", "a\u0085b", "\u009f",
		"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
	}
}

// strangeNames are those of the refused names behind which a page may begin; the
// others are no texts that every store can compare with.
func strangeNames() (strange, refused []string) {
	for _, name := range refusedNames() {
		if utf8.ValidString(name) && !strings.Contains(name, "\x00") {
			strange = append(strange, name)
		} else {
			refused = append(refused, name)
		}
	}
	return strange, refused
}

// withName are appends with a name in each place that takes one.
func withName(name string) map[string]evento.Append {
	ofType, named := to("id", 0, "Name", "Name"), to("id", 0, "Name", "Name")
	ofType.AggregateType = evento.AggregateType(name)
	named.Events[1].Name = name
	appends := map[string]evento.Append{"aggregate type": ofType, "aggregate id": to(name, 0, "Name", "Name"), "event name": named}
	if name != "" { // which is no routing key
		appends["routing key"] = routed(name, to("id", 0, "Name", "Name"))
	}
	return appends
}

func namesRefused(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, "Made"))
	for _, name := range refusedNames() {
		for field, a := range withName(name) {
			t.Logf("%s %.300q", field, name)
			refuse(ctx, t, ex, write(to("two", 0, "Made"), a), evento.ErrInvalid)
		}
	}
	for _, codec := range []string{"", strings.Repeat("x", 33), "a\nb", "\xff"} {
		a := to("two", 0, "Made")
		a.Events[0].Codec = codec
		refuse(ctx, t, ex, write(a), evento.ErrInvalid)
	}
	commit(ctx, t, ex, to("one", 1, "Changed"))
	soundLog(ctx, t, c, ex)
}

// Every hostile name is an aggregate id of its own.
func namesApart(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	names := hostileNames()
	var first []evento.Append
	var want []evento.RawEvent
	for _, name := range names {
		a := to(name, 0, "Made")
		first = append(first, a)
		want = append(want, raws(a, 1, "")...)
	}
	commit(ctx, t, ex, first...)
	for _, name := range names { // each is still at version 1
		a := to(name, 1, "Changed")
		commit(ctx, t, ex, a)
		want = append(want, raws(a, 2, "")...)
	}
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
	for i, name := range names {
		wantEvents(ctx, t, ex, filtered(evento.ByID(thing, name)), []evento.RawEvent{want[i], want[len(names)+i]})
	}
}

// The other places that a name may be in.
func namesEachField(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	names := hostileNames()
	var want []evento.RawEvent
	for _, name := range names {
		a := routed(name, to("id", 0, name))
		a.AggregateType = evento.AggregateType(name)
		if len(name) <= 32 { // as long as a codec's may be
			a.Events[0].Codec = name
		}
		commit(ctx, t, ex, a)
		want = append(want, raws(a, 1, name)...)
	}
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
	for i, name := range names {
		typ := evento.AggregateType(name)
		wantEvents(ctx, t, ex, filtered(evento.ByType(typ)), want[i:i+1])
		wantEvents(ctx, t, ex, filtered(evento.Filter{AggregateType: typ, Name: name}), want[i:i+1])
		wantEvents(ctx, t, ex, evento.Query{RoutingKey: name}, want[i:i+1])
		unlike := names[(i+1)%len(names)]
		wantEvents(ctx, t, ex, filtered(evento.Filter{AggregateType: typ, Name: unlike}), nil)
		wantEvents(ctx, t, ex, evento.Query{Filters: []evento.Filter{evento.ByType(typ)}, RoutingKey: unlike}, nil)
	}
}
