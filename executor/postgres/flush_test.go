package postgres_test

import (
	"testing"

	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

func TestWithdrawn(t *testing.T) {
	t.Parallel()
	if testserver.Postgres(t) == "" {
		return
	}
	ex := openSchema(t, newSchema(t))
	storetest.Withdrawn(t, ex)
	closeAll(t, ex)
}
