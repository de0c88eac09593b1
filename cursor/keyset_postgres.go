// A keyset's columns in PostgreSQL, where every type has a text that it reads back.

package cursor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// How a session writes some types depends on its settings, which are read once a
// statement.
const postgresSettings = "(SELECT concat_ws('|', current_setting('DateStyle'), current_setting('IntervalStyle'), current_setting('extra_float_digits')))"

func postgresHidden(column string) []string {
	return []string{"CAST(" + column + " AS text)", "CAST(pg_typeof(" + column + ") AS text)", postgresSettings}
}

// postgresPlain are types whose text no setting changes.
var postgresPlain = []string{
	"smallint", "integer", "bigint", "numeric", "oid", "boolean", "uuid", "bytea", "bit", "bit varying",
	"text", "character varying", "character", `"char"`, "name", "citext",
	"inet", "cidr", "macaddr", "macaddr8", "pg_lsn", "jsonb",
}

func postgresValue(got []any) (stored, error) {
	var s [3]string
	for i := range s {
		var err error
		if s[i], err = asText(got[i]); err != nil {
			return stored{}, err
		}
	}
	if !slices.Contains(postgresPlain, s[1]) {
		settings := strings.Split(s[2], "|")
		digits, err := strconv.Atoi(settings[2])
		if err != nil || digits < 1 || !strings.HasPrefix(settings[0], "ISO") || settings[1] == "sql_standard" {
			return stored{}, fmt.Errorf("this session may write a %s so that it is read differently: DateStyle must be ISO (is %s), IntervalStyle postgres (is %s), and extra_float_digits 1 (is %s)",
				s[1], settings[0], settings[1], settings[2])
		}
	}
	return stored{classAny, s[0]}, nil
}
