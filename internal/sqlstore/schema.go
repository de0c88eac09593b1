// What the tables of a store are, and what migrations make.

package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Schema says what each part of the tables is, by its name: "column event.version" is
// "bigint not null". A part of a table has the table's name before a dot, or behind "on".
type Schema map[string]string

// ParseSchema reads lines of a name and a definition with a tab between them, as
// [Schema.String] writes them.
func ParseSchema(text string) Schema {
	s := Schema{}
	for line := range strings.Lines(text) {
		name, definition, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		s[name] = definition
	}
	return s
}

// String returns a line for each part, in the order of their names.
func (s Schema) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s\t%s\n", name, s[name])
	}
	return b.String()
}

// Has reports whether there is a column.
func (s Schema) Has(table, column string) bool {
	_, there := s["column "+table+"."+column]
	return there
}

// Difference is a part of the tables that is not what the migrations make.
type Difference struct {
	// Part names it, such as "index event_kind".
	Part     string
	Is, Want string // definitions
	// Missing: there is none.
	Missing bool
	// Beside: it was added. It may be wanted by whoever did.
	Beside bool
}

func (d Difference) String() string {
	is, want := around(d.Is, d.Want)
	switch {
	case d.Beside:
		return d.Part + " is not of the migrations: " + is
	case d.Missing && want == "":
		return d.Part + " is missing"
	case d.Missing:
		return d.Part + " is missing: " + want
	}
	return fmt.Sprintf("%s is %s, and the migrations make it %s", d.Part, cmp.Or(is, "nothing"), want)
}

// around cuts two texts to what is around their first difference.
func around(a, b string) (string, string) {
	const most, before = 60, 20
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	cut := func(s string) string {
		if len(s) <= most {
			return s
		}
		from := min(max(at-before, 0), len(s))
		to := min(from+most, len(s))
		text := strings.ToValidUTF8(s[from:to], "")
		if from > 0 {
			text = "…" + text
		}
		if to < len(s) {
			text += "…"
		}
		return text
	}
	return cut(a), cut(b)
}

// Differences lists what is missing or changed, and what was added to the tables that are
// wanted, but for indexes that refuse nothing. Of a table that is missing its parts are not
// listed; other tables and their parts are somebody else's.
func (s Schema) Differences(want Schema) (list []Difference) {
	for _, part := range slices.Sorted(maps.Keys(want)) {
		is, there := s[part]
		switch _, table := s["table "+tableOf(part)]; {
		case there && is == want[part]:
		case !there && !table && tableOf(part) != "":
		default:
			list = append(list, Difference{Part: part, Is: is, Want: want[part], Missing: !there})
		}
	}
	for _, part := range slices.Sorted(maps.Keys(s)) {
		_, wanted := want[part]
		_, ours := want["table "+tableOf(part)]
		several := strings.HasPrefix(part, "index ") && !strings.HasPrefix(s[part], "unique")
		if !wanted && ours && !several {
			list = append(list, Difference{Part: part, Is: s[part], Beside: true})
		}
	}
	return list
}

// tableOf is the table that a part is of; "": it is of none.
func tableOf(part string) string {
	kind, name, _ := strings.Cut(part, " ")
	if kind == "column" {
		table, _, _ := strings.Cut(name, ".")
		return table
	}
	if _, table, on := strings.Cut(name, " on "); on {
		return table
	}
	return ""
}

// Schema reads that of the store.
func (in *Inspector) Schema(ctx context.Context) (Schema, error) {
	s := Schema{}
	err := in.query(ctx, in.Describe, func(rows *sql.Rows) error {
		var name, definition string
		err := rows.Scan(&name, &definition)
		if in.Normal != nil {
			definition = in.Normal(name, definition)
		}
		s[name] = definition
		return err
	})
	return s, err
}

// NormalSQL brings the text of a definition into one form: without comments, quotes of names
// and needless white space, in small letters. The definition of a column has no such text.
func NormalSQL(name, text string) string {
	if strings.HasPrefix(name, "column ") {
		return text
	}
	var out []string
	for text = skipBlank(text); text != ""; text = skipBlank(text) {
		n := 1
		switch c := text[0]; {
		case c == '\'' || c == '"' || c == '`' || c == '[':
			n = quoted(text)
			if token := text[:n]; c == '\'' || n < 2 {
				out = append(out, token)
			} else {
				out = append(out, strings.ToLower(token[1:n-1]))
			}
		case isWord(c):
			for n < len(text) && isWord(text[n]) {
				n++
			}
			out = append(out, strings.ToLower(text[:n]))
		default:
			out = append(out, text[:n])
		}
		text = text[n:]
	}
	return strings.Join(out, " ")
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// quoted is the length of a text or name in quotes, which are doubled within.
func quoted(text string) int {
	end := text[0]
	if end == '[' {
		end = ']'
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != end:
		case i+1 < len(text) && text[i+1] == end:
			i++
		default:
			return i + 1
		}
	}
	return len(text)
}

// skipBlank passes over white space and comments.
func skipBlank(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n\f")
		switch {
		case strings.HasPrefix(text, "--"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		default:
			return text
		}
	}
}
