package group_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

// passedOn are topics of what a group hands to its first member, whatever that
// is, or returns as a member has it: one whole run of the contract is enough for
// them.
func passedOn() []string { return []string{"Snapshots", "Records", "Names", "Payloads", "Timestamps"} }

// The contract of a group is that of its first member while the others are
// empty: then positions and cursors are those of one store.
func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("Memory", func(t *testing.T) { // the whole run
		t.Parallel()
		executortest.Test(t, executortest.Config{
			Open: func(testing.TB) evento.Executor {
				return group.New(memory.New(nil), memory.New(nil), memory.New(nil))
			},
			Beyond:      beyond,
			NoPositions: true,
		})
	})
	t.Run("Nested", func(t *testing.T) {
		t.Parallel()
		executortest.Test(t, executortest.Config{
			Open: func(testing.TB) evento.Executor {
				return group.New(group.New(memory.New(nil), memory.New(nil)), memory.New(nil))
			},
			Beyond: func(t testing.TB, ex evento.Executor, last cursor.Value) cursor.Value {
				inner := placesOf(t, last)[0]
				return seal(t, 1, beyond(t, ex, cursor.Value(base64.RawURLEncoding.EncodeToString(inner))))
			},
			NoPositions: true,
			Without:     passedOn(),
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		c := storetest.Config(func(t testing.TB) string { return filepath.Join(t.TempDir(), "events.db") },
			func(t testing.TB, path string) evento.Executor {
				return group.New(openSQLite(t, path), memory.New(nil))
			})
		c.Transactor, c.OneWriter, c.NoPositions, c.Beyond = true, true, true, beyond
		c.Without = passedOn()
		c.Spoil = storetest.SQLiteSpoil(func(ctx context.Context, text string) error {
			_, err := sqlite.Tx(ctx).ExecContext(ctx, text)
			return err
		})
		executortest.Test(t, c)
	})
}

func openSQLite(t testing.TB, path string) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, executortest.Config{Open: func(testing.TB) evento.Executor {
		return group.New(memory.New(nil), memory.New(nil))
	}})
}

// placesOf reads a cursor as docs/formats.md describes it, for places that
// are base64 in the members.
func placesOf(t testing.TB, v cursor.Value) [][]byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(string(v))
	if err != nil || len(b) < 7 || b[0] != 1 || b[1] != 'g' {
		t.Fatalf("%q is no cursor of a group: %v", v, err)
	}
	var places [][]byte
	for b = b[3 : len(b)-4]; len(b) > 0; {
		n := int(b[0] >> 1)
		if b[0] >= 128 || b[0]&1 != 0 {
			t.Fatalf("%q has a place that is long or a text", v)
		}
		places = append(places, b[1:1+n])
		b = b[1+n:]
	}
	return places
}

// seal makes a cursor of places in the members, of which one, counted from 1,
// is that of the edge.
func seal(t testing.TB, edge int, places ...cursor.Value) cursor.Value {
	t.Helper()
	b := []byte{1, 'g', byte(edge)}
	for _, p := range places {
		raw, err := base64.RawURLEncoding.DecodeString(string(p))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, byte(len(raw)<<1))
		b = append(b, raw...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return cursor.Value(base64.RawURLEncoding.EncodeToString(b))
}

// beyond is a cursor after the last of a group of which the first member alone
// has events.
func beyond(t testing.TB, _ evento.Executor, last cursor.Value) cursor.Value {
	t.Helper()
	b := placesOf(t, last)[0]
	positions := cursor.NewPositions([16]byte(b[2:18]))
	at, err := positions.Position(cursor.Value(base64.RawURLEncoding.EncodeToString(b)))
	if err != nil {
		t.Fatal(err)
	}
	return seal(t, 1, positions.Value(at+1))
}
