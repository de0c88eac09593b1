// What an event has changed in a state.

package console

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/evento-go/evento/internal/printable"
)

const (
	mostState  = 256 << 10 // bytes of JSON that are compared
	mostShown  = 64 << 10  // bytes of lines that are shown
	mostDepth  = 64        // values deeper within others are compared as a whole
	sameAround = 3         // lines that stay around a change
)

// difference is a state in lines, of which those that differ from another are marked.
type difference struct {
	Lines   []diffLine
	Changed []string // members of the state that differ, as they are in JSON
	Left    int      // lines at the end that are not shown
}

// diffLine is a line of a state, or stands for some that are the same in both.
type diffLine struct {
	valueLine
	Mark string // "+": only after, "-": only before
	Same int    // lines that it stands for; 0: it is one
}

// differenceOf compares two states, given as compact JSON.
func differenceOf(before, after []byte) *difference {
	d := &difference{}
	if indentOf(before) > mostIndent || indentOf(after) > mostIndent { // most of it would be what is before lines
		if !bytes.Equal(before, after) {
			d.whole("-", "", "", before, "")
			d.whole("+", "", "", after, "")
		} else {
			d.whole("", "", "", after, "")
		}
	} else {
		d.value("", "", before, after, "", "", 0)
	}
	d.Changed = changedOf(before, after)
	size := 0
	for i := range d.Lines {
		size += d.Lines[i].size()
	}
	if size > mostShown {
		d.fold()
		d.cut()
	}
	return d
}

// member is one of an object or of a list.
type member struct {
	key string // JSON; "": of a list
	raw []byte
}

// membersOf takes an object or a list apart; open is 0 for other values, and for an object that
// has a key twice.
func membersOf(raw []byte) (open byte, members []member) {
	d := json.NewDecoder(bytes.NewReader(raw))
	token, err := d.Token()
	delim, ok := token.(json.Delim)
	if err != nil || !ok {
		return 0, nil
	}
	seen := map[string]bool{}
	for d.More() {
		var m member
		if delim == '{' {
			key, err := d.Token()
			name, ok := key.(string)
			if err != nil || !ok || seen[name] {
				return 0, nil
			}
			seen[name] = true
			m.key = quote(name)
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return 0, nil
		}
		m.raw = value
		members = append(members, m)
	}
	return byte(delim), members
}

// quote is a text as JSON has it.
func quote(text string) string {
	b, err := encodeState(text)
	if err != nil {
		return `""`
	}
	return string(b)
}

// value adds the lines of a value that both states have. Each comma is what follows it there.
func (d *difference) value(indent, key string, before, after []byte, commaBefore, commaAfter string, depth int) {
	if bytes.Equal(before, after) {
		d.whole("", indent, key, after, commaAfter)
		return
	}
	open, old := membersOf(before)
	kind, now := membersOf(after)
	if open == 0 || open != kind || depth >= mostDepth {
		d.whole("-", indent, key, before, commaBefore)
		d.whole("+", indent, key, after, commaAfter)
		return
	}
	d.line("", indent, key, string(open))
	if open == '{' {
		d.object(indent+"  ", old, now, depth+1)
	} else {
		d.list(indent+"  ", old, now, depth+1)
	}
	d.line("", indent, "", string(open+2)+commaAfter) // its other bracket
}

// object adds the members of two objects, in the order of the later one.
func (d *difference) object(indent string, old, now []member, depth int) {
	at := map[string]int{}
	for i, m := range old {
		at[m.key] = i
	}
	stays := map[string]bool{}
	for _, m := range now {
		stays[m.key] = true
	}
	next := 0 // of old
	gone := func(end int) {
		for ; next < end; next++ {
			if !stays[old[next].key] {
				d.whole("-", indent, old[next].key, old[next].raw, comma(next, old))
			}
		}
	}
	for i, m := range now {
		j, ok := at[m.key]
		if !ok {
			d.whole("+", indent, m.key, m.raw, comma(i, now))
			continue
		}
		gone(j)
		d.value(indent, m.key, old[j].raw, m.raw, comma(j, old), comma(i, now), depth)
	}
	gone(len(old))
}

// list adds the members of two lists. What is the same at their beginnings and their ends is the
// same; between, members are compared one by one if there are as many.
func (d *difference) list(indent string, old, now []member, depth int) {
	same := func(i, j int) bool { return bytes.Equal(old[i].raw, now[j].raw) }
	n, m := len(old), len(now)
	first := 0
	for first < min(n, m) && same(first, first) {
		first++
	}
	last := 0
	for last < min(n, m)-first && same(n-1-last, m-1-last) {
		last++
	}
	for i := range first {
		d.whole("", indent, "", now[i].raw, comma(i, now))
	}
	if n == m {
		for i := first; i < n-last; i++ {
			d.value(indent, "", old[i].raw, now[i].raw, comma(i, old), comma(i, now), depth)
		}
	} else {
		for i := first; i < n-last; i++ {
			d.whole("-", indent, "", old[i].raw, comma(i, old))
		}
		for i := first; i < m-last; i++ {
			d.whole("+", indent, "", now[i].raw, comma(i, now))
		}
	}
	for i := m - last; i < m; i++ {
		d.whole("", indent, "", now[i].raw, comma(i, now))
	}
}

func comma(i int, members []member) string {
	if i == len(members)-1 {
		return ""
	}
	return ","
}

// whole adds a value that is not compared.
func (d *difference) whole(mark, indent, key string, raw []byte, comma string) {
	if len(raw) > 0 && raw[0] != '{' && raw[0] != '[' {
		d.line(mark, indent, key, printable.JSON(string(raw))+comma)
		return
	}
	v, err := valueOf(raw)
	if err != nil { // the encoder has made it
		v = &value{Lines: []valueLine{{Text: err.Error()}}}
	}
	for i, l := range v.Lines {
		l.Indent = indent + l.Indent
		if i == 0 && key != "" {
			l.Key, l.Text = printableKey(key), " "+l.Text
		}
		if i == len(v.Lines)-1 {
			l.Text += comma
		}
		d.Lines = append(d.Lines, diffLine{valueLine: l, Mark: mark})
	}
}

func (d *difference) line(mark, indent, key, text string) {
	l := valueLine{Indent: indent, Text: text}
	if key != "" {
		l.Key, l.Text = printableKey(key), " "+text
	}
	d.Lines = append(d.Lines, diffLine{valueLine: l, Mark: mark})
}

// printableKey is a key with its colon.
func printableKey(key string) string { return printable.JSON(key + ":") }

func (l *diffLine) size() int { return len(l.Indent) + len(l.Key) + len(l.Text) + len("+ \n") }

// fold leaves out lines that are the same in both, but those around changes, and those that open
// what a change is in.
func (d *difference) fold() {
	keep := make([]bool, len(d.Lines))
	var open []int // the lines that the present one is within
	changed := false
	for i := range d.Lines {
		l := &d.Lines[i]
		for len(open) > 0 && len(d.Lines[open[len(open)-1]].Indent) >= len(l.Indent) {
			open = open[:len(open)-1]
		}
		if l.Mark != "" {
			changed = true
			for _, o := range open {
				keep[o] = true
			}
			for j := max(0, i-sameAround); j <= min(i+sameAround, len(keep)-1); j++ {
				keep[j] = true
			}
		}
		open = append(open, i)
	}
	if !changed {
		return
	}
	var lines []diffLine
	for i := range d.Lines {
		switch {
		case keep[i]:
			lines = append(lines, d.Lines[i])
		case len(lines) > 0 && lines[len(lines)-1].Same > 0:
			lines[len(lines)-1].Same++
		default:
			lines = append(lines, diffLine{valueLine: valueLine{Indent: d.Lines[i].Indent}, Same: 1})
		}
	}
	d.Lines = lines
}

// cut leaves out what is too much.
func (d *difference) cut() {
	size := 0
	for i := range d.Lines {
		if size += d.Lines[i].size(); size > mostShown {
			d.Left = len(d.Lines) - i
			d.Lines = d.Lines[:i:i]
			return
		}
	}
}

// changedOf are the members of the state that differ.
func changedOf(before, after []byte) (names []string) {
	open, old := membersOf(before)
	kind, now := membersOf(after)
	if open != '{' || kind != '{' {
		return nil
	}
	was := map[string][]byte{}
	for _, m := range old {
		was[m.key] = m.raw
	}
	for _, m := range now {
		if raw, ok := was[m.key]; !ok || !bytes.Equal(raw, m.raw) {
			names = append(names, m.key)
		}
		delete(was, m.key)
	}
	return append(names, sortedKeys(was)...)
}

// unquoted is a text without the quotes of JSON, as it is shown among words.
func unquoted(key string) string { return key[1 : len(key)-1] }

// numberIn is a member of a state that is a number; the name is "" when the state itself is one.
type numberIn struct{ name, text string }

// numbersOf are the numbers in a state.
func numbersOf(state []byte) (numbers []numberIn) {
	if isNumber(state) {
		return []numberIn{{"", string(state)}}
	}
	open, members := membersOf(state)
	if open != '{' {
		return nil
	}
	for _, m := range members {
		if isNumber(m.raw) {
			numbers = append(numbers, numberIn{unquoted(m.key), string(m.raw)})
		}
	}
	return slices.Clip(numbers)
}

func isNumber(raw []byte) bool {
	return len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}
