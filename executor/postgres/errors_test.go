package postgres

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What the server says of a transaction is definite, unless it ends the session:
// so does a pool that has lost its server, in the middle of a commit.
func TestUnknown(t *testing.T) {
	t.Parallel()
	said := func(severity, code string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{SeverityUnlocalized: severity, Severity: "FEHLER", Code: code})
	}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"a lost connection", io.ErrUnexpectedEOF, true},
		{"no words of the server", errors.New("anything"), true},
		{"an administrator", said("FATAL", "57P01"), true},
		{"a crash", said("FATAL", "57P02"), true},
		{"PgBouncer without its server", said("FATAL", "08P01"), true},
		{"PgBouncer, of old", &pgconn.PgError{Severity: "FATAL", Code: "08P01"}, true},
		{"a log that cannot be written", said("PANIC", "58P01"), true},
		{"a session that idled", said("FATAL", "25P03"), false},
		{"a constraint", said("ERROR", "23503"), false},
		{"a trigger that says what it likes", said("ERROR", "57P01"), false},
		{"a cancelled statement", said("ERROR", "57014"), false},
	} {
		if got := unknown(tt.err); got != tt.want {
			t.Errorf("unknown(%s: %v) = %t, want %t", tt.name, tt.err, got, tt.want)
		}
	}
}
