package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
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

// A write is not read any more when its caller has given up and was told that nothing
// is stored. The race detector sees it, and a test of what is stored.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	ex := openFile(t, filepath.Join(t.TempDir(), "events.db"))
	defer closeAll(t, ex)
	var withdrawn atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for i := range 40 {
				data := []byte(`{"n":1}`)
				appends := []evento.Append{{AggregateType: "t", AggregateID: fmt.Sprint(i % 3), AnyVersion: true, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: data}}}}
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(time.Millisecond))
				_, err := ex.Write(ctx, evento.Write{Appends: appends})
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					withdrawn.Add(1)
					data[0], appends[0].Events[0].Name, appends[0].AggregateID = '[', "m", "other"
				}
			}
		})
	}
	group.Wait()
	if withdrawn.Load() == 0 {
		t.Error("no write was withdrawn")
	}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByType("t")}}) {
		if err != nil || e.Name != "n" || string(e.Data) != `{"n":1}` || e.AggregateID == "other" {
			t.Fatalf("stored %s %q of %q, %v", e.Name, e.Data, e.AggregateID, err)
		}
	}
}
