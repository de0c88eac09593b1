package gen

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// directive is a comment such as //evento:was OldName.
type directive struct {
	name string // "was"
	args string // "OldName"
	pos  token.Pos
	used bool
}

const directivePrefix = "//evento:"

// known are the directives and where they are allowed.
var known = map[string]string{
	"aggregate": "above a type declaration or a group of them",
	"event":     "above an event's type",
	"was":       "above an event's type or a field of it",
	"retired":   "above an event's type",
	"upcast":    "above an event's type",
	"dropped":   "above an event's type",
	"default":   "above a field of an event",
	"tag":       "above a field of an event",
	"untag":     "above an event's type",
}

// directives are the directives of a file by the position of their comments. Those
// that are unused at the end are in a place where they have no meaning.
type directives map[token.Pos]*directive

func directivesOf(file *ast.File) directives {
	ds := directives{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			text, ok := strings.CutPrefix(c.Text, directivePrefix)
			if !ok {
				continue
			}
			name, args := text, ""
			if i := strings.IndexAny(text, " \t"); i >= 0 {
				name, args = text[:i], strings.TrimSpace(text[i:])
			}
			ds[c.Pos()] = &directive{name: name, args: withoutComment(name, args), pos: c.Pos()}
		}
	}
	return ds
}

// withoutComment returns the arguments of a directive without what follows a further //,
// which is a comment on it. In a default and in quotes, that may be within a string.
func withoutComment(name, args string) string {
	if name == "default" {
		if expr, err := parser.ParseExpr(args); err == nil {
			return args[:int(expr.End())-1]
		}
		return args
	}
	for i := 0; i < len(args); i++ {
		first := i == 0 || args[i-1] == ' ' || args[i-1] == '\t'
		if q, err := strconv.QuotedPrefix(args[i:]); first && err == nil {
			i += len(q) - 1
		} else if first && strings.HasPrefix(args[i:], "//") {
			return strings.TrimSpace(args[:i])
		}
	}
	return args
}

// glued reports whether it is not clear if a // is part of a name or a comment.
func (d *directive) glued() bool {
	return d.name != "default" && !strings.Contains(d.args, `"`) && strings.Contains(d.args, "//")
}

// take returns, in order, the directives in comments that have one of the names.
func (ds directives) take(names string, groups ...*ast.CommentGroup) (found []*directive) {
	for _, group := range groups {
		if group == nil {
			continue
		}
		for _, c := range group.List {
			d := ds[c.Pos()]
			if d == nil || !strings.Contains(" "+names+" ", " "+d.name+" ") {
				continue
			}
			d.used = true
			found = append(found, d)
		}
	}
	return found
}

// almost matches what was likely meant as a directive, up to its name: with a space, in
// capitals, as another kind of comment, or misspelled in front of the colon.
var almost = regexp.MustCompile(`(?i)^(?:/[/*]+\s*evento ?:|//ev[a-z]*:)([a-z]+)(?:\s|\*/|$)`)

// nearMisses refuses comments that are read as no directive and were likely meant as one.
func (r *reader) nearMisses(file *ast.File) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			found := almost.FindStringSubmatch(c.Text)
			if found == nil || strings.HasPrefix(c.Text, directivePrefix) {
				continue
			}
			if name := strings.ToLower(found[1]); known[name] != "" {
				r.problem(c.Pos(), "this comment is not followed, as it does not begin with %s%s; write it so if it is meant, "+
					"and else begin it with another word", directivePrefix, name)
			}
		}
	}
}

// mayHaveDirectives reports whether a file may have directives, or what is almost one.
func mayHaveDirectives(src []byte) bool {
	return bytes.Contains(src, []byte("evento")) || bytes.Contains(src, []byte("Evento")) || bytes.Contains(src, []byte("EVENTO"))
}

// hasDirectives reports whether a file may have directives.
func hasDirectives(src []byte) bool { return bytes.Contains(src, []byte(directivePrefix)) }
