// The values of a keyset's cursors: those that the database has in the columns of the
// order, in a form that comes back to the same place.
//
// What a driver makes of a value for a program is often not the value: a time loses
// its digits or its offset, a DECIMAL becomes a float, an ENUM its name, which is
// compared as a text while the column is sorted by number. So a cursor has nothing
// from the program. It has what the database itself says of the column, read in the
// same statement as the row.

package cursor

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// class says what the text of a value is, and so how it is given back to the
// database to be compared. It is a letter of the format.
type class byte

const (
	classInt       class = 'i'
	classNumber    class = 'n' // of a value that is sorted by number but shown otherwise
	classFloat     class = 'f'
	classText      class = 's'
	classBytes     class = 'y'
	classDecimal   class = 'd'
	classDate      class = 'a'
	classDateTime  class = 'm'
	classTime      class = 'c'
	classTimestamp class = 'z' // seconds since 1970
	classAny       class = 'p' // PostgreSQL's text of any type
)

// stored is a value of a column, as the database has it.
type stored struct {
	class class
	text  string
}

// classes are what a dialect's cursors can have.
func (d Dialect) classes() string {
	switch d {
	case PostgreSQL:
		return "p"
	case MySQL:
		return "infsydamcz"
	}
	return "ifsy"
}

// The texts of the classes that a database might misread.
var texts = map[class]*regexp.Regexp{
	classDecimal:   regexp.MustCompile(`^-?\d{1,65}(\.\d{1,30})?$`),
	classDate:      regexp.MustCompile(`^\d{4}-\d\d-\d\d$`),
	classDateTime:  regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?$`),
	classTime:      regexp.MustCompile(`^-?\d{2,3}:\d\d:\d\d(\.\d{1,6})?$`),
	classTimestamp: regexp.MustCompile(`^\d{1,10}(\.\d{1,6})?$`),
}

var errNull = errors.New("a row with NULL has no place; let the SELECT replace it, as with COALESCE")

// check refuses a value that would not come back as it is: one of a row, or of a
// forged cursor.
func (v stored) check() error {
	switch v.class {
	case classInt, classNumber:
		i, err := strconv.ParseInt(v.text, 10, 64)
		if err == nil && strconv.FormatInt(i, 10) == v.text {
			return nil
		}
		if u, err := strconv.ParseUint(v.text, 10, 64); err == nil && strconv.FormatUint(u, 10) == v.text {
			return nil
		}
		return fmt.Errorf("%q is not an integer", v.text)
	case classFloat:
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil || floatText(f) != v.text {
			return fmt.Errorf("%q is not a number", v.text)
		}
		return checkFloat(f)
	case classText, classAny:
		return checkString(v.text)
	case classBytes:
		return nil
	}
	if !texts[v.class].MatchString(v.text) {
		return fmt.Errorf("%q has no place", v.text)
	}
	switch v.class {
	case classDate, classDateTime:
		if strings.HasPrefix(v.text, "0000") || strings.Contains(v.text, "-00") {
			return fmt.Errorf("%q has a zero where a date has none, and no place", v.text)
		}
	}
	return nil
}

func floatText(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// param is what is bound for the value; the text around it is the dialect's.
func (v stored) param() any {
	switch v.class {
	case classInt, classNumber:
		if i, err := strconv.ParseInt(v.text, 10, 64); err == nil {
			return i // not every driver takes a uint64; every driver takes an int64
		}
		u, _ := strconv.ParseUint(v.text, 10, 64)
		return u
	case classFloat:
		f, _ := strconv.ParseFloat(v.text, 64)
		return f
	case classBytes:
		return []byte(v.text) // never nil, which would be NULL
	}
	return v.text
}

// hidden returns the expressions that a statement selects for a column of the order,
// behind the user's columns. In MySQL they depend on the class of its values, which
// is 0 where it is not known yet.
func (d Dialect) hidden(name string, c class) []string {
	q := d.quoted(name)
	switch d {
	case PostgreSQL:
		return postgresHidden(q)
	case MySQL:
		return mysqlHidden(q, c)
	}
	return sqliteHidden(q)
}

// value makes the value of a column from what its hidden expressions gave.
func (d Dialect) value(c class, got []any) (v stored, err error) {
	if got[0] == nil {
		return stored{}, errNull
	}
	switch d {
	case PostgreSQL:
		v, err = postgresValue(got)
	case MySQL:
		v, err = mysqlValue(c, got)
	default:
		v, err = sqliteValue(got)
	}
	if err == nil {
		err = v.check()
	}
	return v, err
}

// placeholder is the text that stands for the value, where p is its parameter.
func (d Dialect) placeholder(v stored, p string) string {
	if d == MySQL {
		return mysqlPlaceholder(v, p)
	}
	return p
}

// asText is what a driver returned for a text.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("the driver makes a %T of it, which is not what the database has", v)
}

// encode makes the cursor of a key: of each value its class, and its text with the
// length before it.
func (k *Keyset[T]) encode(key []stored) (Value, error) {
	values := make([]byte, 0, 64)
	for _, v := range key {
		values = appendText(append(values, byte(v.class)), v.text)
	}
	return k.order.seal(keysetKind, values)
}

// decode reads the key from a cursor that is not "". Its errors are [ErrMalformed]
// and [ErrForeign].
func (k *Keyset[T]) decode(at Value) ([]stored, error) {
	b, err := k.order.unseal(keysetKind, at)
	if err != nil {
		return nil, err
	}
	key := make([]stored, len(k.order.columns))
	for i := range key {
		if len(b) == 0 || !strings.ContainsRune(k.dialect.classes(), rune(b[0])) {
			return nil, malformed(at)
		}
		key[i].class = class(b[0])
		var ok bool
		if key[i].text, b, ok = cutText(b[1:]); !ok || key[i].check() != nil {
			return nil, malformed(at)
		}
	}
	if len(b) > 0 {
		return nil, malformed(at)
	}
	return key, nil
}
