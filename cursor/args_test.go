package cursor_test

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/evento-go/evento/cursor"
)

func TestArgsFrom(t *testing.T) {
	t.Parallel()
	size := cursor.PageSize{Default: 20, Max: 50}
	for query, want := range map[string]cursor.Args{
		"":                                   cursor.Forward(20, ""),
		"other=1&other=2":                    cursor.Forward(20, ""),
		"first=50":                           cursor.Forward(50, ""),
		"first=007":                          cursor.Forward(7, ""),
		"first=1&after=aZ09-_.~":             cursor.Forward(1, "aZ09-_.~"),
		"after=x":                            cursor.Forward(20, "x"),
		"last=5":                             cursor.Backward(5, ""),
		"last=5&before=x":                    cursor.Backward(5, "x"),
		"before=x":                           cursor.Backward(20, "x"),
		"first=5&after=":                     cursor.Forward(5, ""),
		"first=5&after=&before=":             cursor.Forward(5, ""), // as a form sends what is not filled in
		"last=5&after=&before=x":             cursor.Backward(5, "x"),
		"after=" + strings.Repeat("x", 9999): cursor.Forward(20, cursor.Value(strings.Repeat("x", 9999))),
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := cursor.ArgsFrom(q, size); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", query, got, err, want)
		}
	}
	for query, text := range map[string]string{
		"first=x":                            `first is "x", and a page has 1 to 50 items`,
		"first=":                             `first is ""`,
		"first=-1":                           `first is "-1"`,
		"first=0":                            `first is "0"`,
		"first=51":                           `first is "51", and a page has 1 to 50 items`,
		"first=%2B5":                         `first is "+5"`,
		"first=1.5":                          `first is "1.5"`,
		"first=1e3":                          `first is "1e3"`,
		"first=0x10":                         `first is "0x10"`,
		"first=5_0":                          `first is "5_0"`,
		"first=%205":                         `first is " 5"`,
		"first=99999999999999999999":         `first is "99999999999999999999"`,
		"last=51":                            `last is "51"`,
		"last=-5":                            `last is "-5"`,
		"first=" + strings.Repeat("9", 1000): `…`,
		"first=1&last=1":                     "first and last",
		"first=1&before=x":                   "first and before",
		"last=1&after=x":                     "after and last",
		"after=x&before=y":                   "after and before",
		"first=1&first=1":                    "first is given 2 times",
		"after=x&after=y":                    "after is given 2 times",
		"before=&before=":                    "before is given 2 times",
		"last=1&last=2&last=3":               "last is given 3 times",
		"after=a+b":                          `malformed: after is "a b"`,
		"after=%22":                          `malformed: after is "\""`,
		"before=%00":                         `malformed: before is "\x00"`,
		"after=%C3%BC":                       `malformed: after is "ü"`,
		"after=a/b":                          `malformed: after is "a/b"`,
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := cursor.ArgsFrom(q, size)
		if !errors.Is(err, cursor.ErrInvalid) || got != (cursor.Args{}) || !strings.Contains(err.Error(), text) || len(err.Error()) > 300 {
			t.Errorf("%s: %+v, %v, want ErrInvalid with %q", query, got, err, text)
		}
		if strings.Contains(text, "malformed") != errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("%s: %v matches ErrMalformed: %t", query, err, errors.Is(err, cursor.ErrMalformed))
		}
	}
}

// The sizes have defaults, and a mistake in them is not the caller's.
func TestPageSize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size         cursor.PageSize
		normal, most int
	}{
		{cursor.PageSize{}, 20, 100},
		{cursor.PageSize{Default: 7}, 7, 100},
		{cursor.PageSize{Default: 700}, 700, 700},
		{cursor.PageSize{Max: 7}, 7, 7},
		{cursor.PageSize{Max: cursor.MaxPage}, 20, cursor.MaxPage},
		{cursor.PageSize{Default: 3, Max: 7}, 3, 7},
	} {
		got, err := cursor.ArgsFrom(nil, test.size)
		if err != nil || got != cursor.Forward(test.normal, "") {
			t.Errorf("%+v: %+v, %v, want %d items", test.size, got, err, test.normal)
		}
		for n, ok := range map[int]bool{test.most: true, test.most + 1: false} {
			if _, err := cursor.ArgsFrom(url.Values{"last": {strconv.Itoa(n)}}, test.size); (err == nil) != ok {
				t.Errorf("%+v: %d items: %v", test.size, n, err)
			}
		}
	}
	for _, size := range []cursor.PageSize{{Default: -1}, {Max: -1}, {Default: 8, Max: 7}, {Max: cursor.MaxPage + 1}, {Default: cursor.MaxPage + 1}} {
		if got, err := cursor.ArgsFrom(nil, size); err == nil || errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%+v: %+v, %v, want an error that is not ErrInvalid", size, got, err)
		}
	}
}
