// A keyset's columns in SQLite, where each value has a type of its own.

package cursor

import (
	"fmt"
	"strconv"
	"strings"
)

// An expression has no declared type, by which drivers make times and booleans of
// texts and numbers; and what begins with a letter is a time to none of them.
func sqliteHidden(column string) []string {
	return []string{"CASE typeof(" + column + ") WHEN 'text' THEN 't' || " + column + " ELSE " + column + " END"}
}

func sqliteValue(got []any) (stored, error) {
	switch v := got[0].(type) {
	case int64:
		return stored{classInt, strconv.FormatInt(v, 10)}, nil
	case float64:
		return stored{classFloat, floatText(v)}, nil
	case string:
		return stored{classText, strings.TrimPrefix(v, "t")}, nil
	case []byte:
		return stored{classBytes, string(v)}, nil
	default:
		return stored{}, fmt.Errorf("the driver makes a %T of it, which is not what the database has", v)
	}
}
