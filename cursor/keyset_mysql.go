// A keyset's columns in MySQL and MariaDB, where what a value is compared as depends
// on the column's type, which the result of a statement tells.

package cursor

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MySQL surely sorts by this many characters of a text, and bytes of others
// (max_sort_length, and up to four bytes a character).
const (
	mysqlMaxText  = 255
	mysqlMaxBytes = 1024
)

// mysqlClass returns the class of a column's values. The driver names its type.
func mysqlClass(t *sql.ColumnType) (class, error) {
	name := strings.TrimPrefix(t.DatabaseTypeName(), "UNSIGNED ")
	switch name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT":
		return classInt, nil
	case "YEAR", "BIT", "ENUM", "SET":
		return classNumber, nil
	case "FLOAT", "DOUBLE":
		return classFloat, nil
	case "DECIMAL":
		return classDecimal, nil
	case "DATE":
		return classDate, nil
	case "DATETIME":
		return classDateTime, nil
	case "TIME":
		return classTime, nil
	case "TIMESTAMP":
		return classTimestamp, nil
	case "CHAR", "VARCHAR", "TEXT":
		return classText, nil
	case "BINARY", "VARBINARY", "BLOB":
		return classBytes, nil
	}
	return 0, fmt.Errorf("a %s has no order that a cursor can keep; let the SELECT make a text or a number of it", name)
}

// mysqlHidden returns the column, for its type, and an expression for its value.
func mysqlHidden(column string, c class) []string {
	exact := column
	switch c {
	case classNumber:
		exact = "CAST(" + column + " AS UNSIGNED)"
	case classFloat:
		exact = column + " + 0e0"
	case classDecimal, classDate, classDateTime, classTime:
		exact = "CAST(" + column + " AS CHAR)"
	case classTimestamp:
		// The second is the moment that the session's clock means when it shows the
		// first: an hour is shown twice when summer time ends.
		exact = "CONCAT(UNIX_TIMESTAMP(" + column + "), '|', UNIX_TIMESTAMP(FROM_UNIXTIME(UNIX_TIMESTAMP(" + column + "))))"
	}
	return []string{column, exact}
}

func mysqlValue(c class, got []any) (stored, error) {
	v := stored{class: c}
	// A driver returns numbers as numbers, or all values as their texts.
	switch g := got[1].(type) {
	case nil:
		return stored{}, errors.New("the zero TIMESTAMP has no place")
	case int64:
		v.text = strconv.FormatInt(g, 10)
	case uint64:
		v.text = strconv.FormatUint(g, 10)
	case float64:
		v.text = floatText(g)
	default:
		var err error
		if v.text, err = asText(g); err != nil {
			return stored{}, err
		}
		if v.text, err = mysqlText(c, v.text); err != nil {
			return stored{}, err
		}
	}
	return v, nil
}

// mysqlText returns the one text that a cursor has for what the server wrote.
func mysqlText(c class, text string) (string, error) {
	switch c {
	case classInt, classNumber:
		digits := strings.TrimLeft(text, "0") // ZEROFILL
		if digits == "" {
			digits = "0"
		}
		return digits, nil
	case classFloat:
		f, err := strconv.ParseFloat(text, 64)
		return floatText(f), err
	case classText:
		if n := utf8.RuneCountInString(text); n > mysqlMaxText {
			return "", fmt.Errorf("a text of %d characters may be sorted by its beginning only; let the SELECT take LEFT(…, %d) of it", n, mysqlMaxText)
		}
	case classBytes:
		if len(text) > mysqlMaxBytes {
			return "", fmt.Errorf("%d bytes may be sorted by their beginning only; let the SELECT take LEFT(…, %d) of them", len(text), mysqlMaxBytes)
		}
	case classTimestamp:
		moment, shown, _ := strings.Cut(text, "|")
		if moment != shown {
			return "", errors.New("the session's time zone has this hour twice; set time_zone to '+00:00'")
		}
		return moment, nil
	}
	return text, nil
}

// mysqlPlaceholder makes the type of a parameter that of the column. A text would
// have the column compared as a float, or as a text.
func mysqlPlaceholder(v stored, p string) string {
	switch v.class {
	case classDecimal:
		whole, fraction, _ := strings.Cut(strings.TrimPrefix(v.text, "-"), ".")
		return fmt.Sprintf("CAST(%s AS DECIMAL(%d,%d))", p, min(len(whole)+len(fraction), 65), len(fraction))
	case classDate:
		return "CAST(" + p + " AS DATE)"
	case classDateTime:
		return "CAST(" + p + " AS DATETIME(6))"
	case classTime:
		return "CAST(" + p + " AS TIME(6))"
	case classTimestamp:
		return "FROM_UNIXTIME(CAST(" + p + " AS DECIMAL(17,6)))"
	}
	return p
}

// mysqlClasses returns the classes of the columns of the order, from the types of a
// statement's hidden columns.
func (k *Keyset[T]) mysqlClasses(types []*sql.ColumnType) ([]class, error) {
	classes := make([]class, len(k.order.columns))
	for i, c := range k.order.columns {
		var err error
		if classes[i], err = mysqlClass(types[i*len(types)/len(classes)]); err != nil {
			return nil, fmt.Errorf("cursor: column %q: %w", c.name, err)
		}
	}
	return classes, nil
}
