package tags

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/gen/kinds/other"
)

func TestTags(t *testing.T) {
	t.Parallel()
	id := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	for _, test := range []struct {
		what  string
		event evento.Tagged
		want  []string
	}{
		{"in the order of the fields", Subscribed{Student: "ann", Course: "go"}, []string{"student:ann", "course:go"}},
		{"an empty id is no tag", Subscribed{Course: "go"}, []string{"course:go"}},
		{"none", Subscribed{}, nil},
		{"the value as it is", Subscribed{Course: "go: part 2"}, []string{"course:go: part 2"}},
		{"two names of a field, two fields of a name", Moved{Student: "ann", From: "go", To: "art"},
			[]string{"student:ann", "course:go", "left:go", "course:art"}},
		{"of a retired event", Left{Student: "ann"}, []string{"student:ann"}},
		{"a number is a tag also when it is 0", Everything{Level: -1}, []string{"number:0", "small:0", "letter:0"}},
		{"pointers to nothing", Everything{Level: -1, Spell: new(Spell), Maybe: new(string), Count: new(uint16), Owner: new(ulid.ULID)},
			[]string{"number:0", "small:0", "letter:0", "count:0"}},
		{"all", Everything{
			Label: "red", Number: -7, Small: 255, Letter: 'a', ID: id, Addr: netip.MustParseAddr("::1"), IP: net.IPv4(10, 0, 0, 1),
			Price: other.NewDecimal(5), Ref: Ref{3, 14}, Level: 1, Spell: &Spell{"abra"}, Maybe: new("yes"), Count: new(uint16(9)), Owner: &id,
			Names: []string{"x", "", "y"}, Labels: Labels{"l"}, Numbers: []int64{0, 1 << 62}, IDs: []ulid.ULID{{}, id},
		}, []string{
			"label:red", "number:-7", "small:255", "letter:97", "id:01ARZ3NDEKTSV4RRFFQ69G5FAV", "addr:::1", "ip:10.0.0.1",
			"price:5/100", "ref:3/14", "level:b", "spell:abra", "maybe:yes", "count:9", "owner:01ARZ3NDEKTSV4RRFFQ69G5FAV",
			"name:x", "name:y", "labels:l", "numbers:0", "numbers:4611686018427387904", "ids:01ARZ3NDEKTSV4RRFFQ69G5FAV",
		}},
	} {
		if got := test.event.Tags(); !slices.Equal(got, test.want) {
			t.Errorf("%s: tags %q, want %q", test.what, got, test.want)
		}
	}
}

// Events are found by the tags that are generated.
func TestFound(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	for i, p := range []evento.Payload{
		Subscribed{Student: "ann", Course: "go"}, Subscribed{Student: "ben", Course: "go"}, Moved{Student: "ben", From: "go", To: "art"},
	} {
		if _, err := evento.Create().Event(p).Commit(ctx, store); err != nil {
			t.Fatal(i, err)
		}
	}
	for tag, want := range map[string]int{"course:go": 3, "course:art": 1, "left:go": 1, "student:ann": 1, "student:": 0} {
		n := 0
		for _, err := range evento.Events(ctx, store, evento.Query{Filters: []evento.Filter{evento.ByTags(tag)}}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("%d events with the tag %s, want %d", n, tag, want)
		}
	}
}
