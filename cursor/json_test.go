package cursor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/quick"

	"github.com/evento-go/evento/cursor"
)

type city struct {
	Name   string `json:"name"`
	People uint64 `json:"people"`
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Pages have the shape of GraphQL's connections.
func TestPageJSON(t *testing.T) {
	t.Parallel()
	reader, err := cursor.NewReader([]city{{"Oslo", 709_000}, {"Bergen", 291_000}}, cursor.Asc("name", func(c city) string { return c.Name }))
	if err != nil {
		t.Fatal(err)
	}
	read := func(args cursor.Args) *cursor.Page[city] {
		t.Helper()
		page, err := reader.Read(args)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	first := read(cursor.Forward(1, ""))
	at := first.Edges[0].Cursor
	empty, err := cursor.NewReader([]city{}, cursor.Asc("name", func(c city) string { return c.Name }))
	if err != nil {
		t.Fatal(err)
	}
	none, err := empty.Read(cursor.Forward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	end := read(cursor.Forward(1, "")).PageInfo.EndCursor
	for _, test := range []struct {
		what string
		v    any
		want string
	}{
		{"a page", first, fmt.Sprintf(`{"edges":[{"cursor":%q,"node":{"name":"Bergen","people":291000}}],`+
			`"pageInfo":{"hasNextPage":true,"hasPreviousPage":false,"startCursor":%q,"endCursor":%q}}`, at, at, at)},
		{"a page, not by pointer", *first, marshal(t, first)},
		{"an empty list", none, `{"edges":[],"pageInfo":{"hasNextPage":false,"hasPreviousPage":false,"startCursor":null,"endCursor":null}}`},
		{"no page", cursor.Page[city]{}, marshal(t, none)},
		{"behind the end", read(cursor.Backward(1, end)), fmt.Sprintf(
			`{"edges":[],"pageInfo":{"hasNextPage":true,"hasPreviousPage":false,"startCursor":%q,"endCursor":%q}}`, end, end)},
		// A total beside the page, as many connections have it.
		{"embedded", struct {
			cursor.Page[city]
			TotalCount int `json:"totalCount"`
		}{cursor.Page[city]{}, 7}, `{"edges":[],"pageInfo":{"hasNextPage":false,"hasPreviousPage":false,"startCursor":null,"endCursor":null},"totalCount":7}`},
	} {
		if got := marshal(t, test.v); got != test.want {
			t.Errorf("%s: %s, want %s", test.what, got, test.want)
		}
	}
	var page cursor.Page[city]
	if err := json.Unmarshal([]byte(`{"edges":null,"pageInfo":{}}`), &page); err != nil || page.Edges != nil || page.PageInfo != (cursor.PageInfo{}) {
		t.Errorf("of null: %+v, %v, want an empty page", page, err)
	}
	if err := json.Unmarshal([]byte(`{"edges":{}}`), &page); err == nil {
		t.Error("edges that are no list were accepted")
	}
	if err := json.Unmarshal([]byte(`{"pageInfo":{"startCursor":1}}`), &page); err == nil {
		t.Error("a cursor that is a number was accepted")
	}
}

// What is decoded is what was encoded.
func TestJSONRoundTrips(t *testing.T) {
	t.Parallel()
	if err := quick.Check(func(page cursor.Page[city], info cursor.PageInfo) bool {
		if len(page.Edges) == 0 {
			page.Edges = nil // as readers have it
		}
		var gotPage cursor.Page[city]
		var gotInfo cursor.PageInfo
		return json.Unmarshal([]byte(marshal(t, page)), &gotPage) == nil && reflect.DeepEqual(gotPage, page) &&
			json.Unmarshal([]byte(marshal(t, &info)), &gotInfo) == nil && gotInfo == info
	}, nil); err != nil {
		t.Error(err)
	}
	for range 1000 {
		n, at := rand.IntN(20)-5, cursor.Value([]string{"", "a", "-_.~", "a ü\"\u2028"}[rand.IntN(4)])
		for _, args := range []cursor.Args{cursor.Forward(n, at), cursor.Backward(n, at), cursor.Onward(n, at), {}} {
			got := cursor.Backward(7, "something else")
			if err := json.Unmarshal([]byte(marshal(t, args)), &got); err != nil || got != args {
				t.Errorf("%+v as JSON is %s, and back %+v, %v", args, marshal(t, args), got, err)
			}
		}
	}
}

func TestArgsJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args cursor.Args
		want string
	}{
		{cursor.Forward(10, ""), `{"first":10}`},
		{cursor.Forward(10, "x"), `{"first":10,"after":"x"}`},
		{cursor.Backward(10, ""), `{"last":10}`},
		{cursor.Backward(10, "x"), `{"last":10,"before":"x"}`},
		{cursor.Onward(10, "x"), `{"first":10,"after":"x","onward":true}`},
		{cursor.Args{}, `{}`},
	} {
		if got := marshal(t, test.args); got != test.want {
			t.Errorf("%+v: %s, want %s", test.args, got, test.want)
		}
	}
	for text, want := range map[string]cursor.Args{
		`{"first":3,"after":null,"last":null,"before":null}`: cursor.Forward(3, ""),
		`{"last":3,"before":"x","after":"","other":1}`:       cursor.Backward(3, "x"),
		`{"after":"x"}`: cursor.Forward(0, "x"), // readers refuse it
	} {
		var got cursor.Args
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		`{"first":1,"last":1}`, `{"first":1,"before":"x"}`, `{"last":1,"after":"x"}`, `{"after":"x","before":"y"}`,
		`{"last":1,"onward":true}`, `{"first":"1"}`, `{"first":1.5}`, `{"first":99999999999999999999}`, `{"first":1,"after":5}`, `[]`,
	} {
		got := cursor.Forward(7, "stays")
		if err := json.Unmarshal([]byte(text), &got); !errors.Is(err, cursor.ErrInvalid) || got != cursor.Forward(7, "stays") {
			t.Errorf("%s: %+v, %v, want ErrInvalid", text, got, err)
		}
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	page := &cursor.Page[city]{
		Edges:    []cursor.Edge[city]{{"a", city{"Oslo", 1}}, {"b", city{"Bergen", 2}}},
		PageInfo: cursor.PageInfo{HasNextPage: true, StartCursor: "a", EndCursor: "b"},
	}
	names, err := cursor.Map(page, func(c city) (string, error) { return c.Name, nil })
	want := &cursor.Page[string]{Edges: []cursor.Edge[string]{{"a", "Oslo"}, {"b", "Bergen"}}, PageInfo: page.PageInfo}
	if err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("%+v, %v, want %+v", names, err, want)
	}
	errBergen := errors.New("Bergen")
	calls := 0
	if got, err := cursor.Map(page, func(c city) (int, error) { calls++; return 0, errBergen }); !errors.Is(err, errBergen) || got != nil || calls != 1 {
		t.Errorf("%+v, %v, want its error at the first item", got, err)
	}
	empty := &cursor.Page[city]{PageInfo: cursor.PageInfo{HasPreviousPage: true, StartCursor: "x", EndCursor: "y"}}
	if got, err := cursor.Map(empty, func(c city) (int, error) { return 0, errBergen }); err != nil || got.Edges != nil || got.PageInfo != empty.PageInfo {
		t.Errorf("of an empty page %+v, %v", got, err)
	}
}
