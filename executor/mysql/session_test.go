package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/testserver"
)

// A context that ends just as a statement is done has the driver close the
// connection behind the back of the session, which finds out at its next
// statement.
func TestClosedConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	ex, err := Open(t.Context(), testserver.MySQL(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ex.Close() })
	closeIdle := func() {
		err := ex.use(t.Context(), func(s *session) error {
			return s.conn.Raw(func(c any) error { return c.(io.Closer).Close() })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	key := evento.RecordKey{Kind: "kind", Key: "key"}
	revision := uint64(0)
	for name, call := range map[string]func(ctx context.Context) error{
		"Read": func(ctx context.Context) error {
			_, err := ex.Read(ctx, evento.Query{}, cursor.Onward(1, ""))
			return err
		},
		"Records": func(ctx context.Context) error {
			_, err := ex.Records(ctx, evento.RecordQuery{Kind: key.Kind})
			return err
		},
		"Swap": func(ctx context.Context) error {
			revision++
			return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: revision - 1}, {RecordKey: evento.RecordKey{Kind: "kind", Key: "other"}, Revision: revision - 1}}})
		},
		"InTx": func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				_, err := Tx(ctx).ExecContext(ctx, "DO 1")
				return err
			})
		},
	} {
		for range 3 {
			closeIdle()
			if err := call(t.Context()); err != nil {
				t.Errorf("%s on a connection that is closed: %v", name, err)
			}
		}
	}
}

// overdue is a context whose deadline has passed and that has not ended yet.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Unix(0, 0), true }

// timedOut makes no connection.
type timedOut chan struct{}

func (dialed timedOut) Connect(context.Context) (sqldriver.Conn, error) {
	close(dialed)
	return nil, os.ErrDeadlineExceeded
}

func (timedOut) Driver() sqldriver.Driver { return nil }

// A dial ends at the deadline, by its own clock. Whoever leads a flush with such a
// context has given up, and those who wait with it go on.
func TestDialEndsBeforeItsContext(t *testing.T) {
	t.Parallel()
	dialed := make(timedOut)
	db := sql.OpenDB(dialed)
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error)
	go func() {
		_, err := newSession(overdue{ctx}, db)
		failed <- err
	}()
	<-dialed
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("newSession() = %v, want %v", err, context.Canceled)
	}
}
