package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
)

// numbered keeps the numbers at the end of the texts that are sent, each once.
type numbered struct {
	mu   sync.Mutex
	seen []string
}

func (n *numbered) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, number, ok := strings.Cut(q.SQL, " -- "); ok && !slices.Contains(n.seen, number) {
		n.seen = append(n.seen, number)
	}
	return ctx
}

func (n *numbered) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The server plans what a writer alone sends anew when the store has grown fourfold, as
// it keeps a plan for a text: the one for an empty table is to read all of it.
func TestPlannedAnewAsTheStoreGrows(t *testing.T) {
	t.Parallel()
	sent := &numbered{}
	ex := openTraced(t, sent)
	for i := range uint64(300) {
		if _, err := evento.Aggregate("a").OriginalVersion(i).Event(happened{1}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(sent.seen), "[0 1 2 3 4]"; got != want {
		t.Errorf("the texts of 300 appends have the numbers %s, want %s", got, want)
	}
}
