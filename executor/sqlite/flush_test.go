package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

func TestBrokenFlush(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	storetest.BrokenFlush(t, false, func(clock func() time.Time) evento.Executor {
		ex, err := sqlite.Open(t.Context(), path, &sqlite.Options{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return ex
	})
}

func TestWithdrawn(t *testing.T) {
	t.Parallel()
	ex := openFile(t, filepath.Join(t.TempDir(), "events.db"))
	storetest.Withdrawn(t, ex)
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
