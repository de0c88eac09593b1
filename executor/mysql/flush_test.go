package mysql_test

import (
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

func TestBrokenFlush(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	storetest.BrokenFlush(t, true, func(clock func() time.Time) evento.Executor {
		ex, err := mysql.Open(t.Context(), dsn, &mysql.Options{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return ex
	})
}
