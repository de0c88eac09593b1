// What tools ask of a store.

package sqlite

import (
	"github.com/evento-go/evento/internal/sqlstore"
)

// Inspect is [Open] for tools such as evento doctor. The file is opened when
// something is asked; it is not made, and nothing in it changes.
//
// Errors: [evento.ErrInvalid] for a path.
func Inspect(path string) (*sqlstore.Inspector, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	const tables = "evento_"
	return &sqlstore.Inspector{
		DB: openFile(path, true), Files: Migrations(), Tables: tables,
		Migrated:  "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'evento_migration'",
		AppliedAt: "applied_at",
		EventID:   "x'%x'",
		Checks: []sqlstore.Check{sqlstore.CheckSnapshots(tables), {
			// It may be a backup. Commits are synced whatever its mode is.
			Name: "durability", Query: "PRAGMA journal_mode", Healthy: sqlstore.Is("wal"),
			Finding: sqlstore.Finding{Severity: "note", Detail: "its journal mode is $1; the library switches it to wal when it opens it to write"},
		}, sqlstore.CheckImmutability(
			"SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN ('evento_event_update', 'evento_event_delete')", "2"), {
			Name: "file", Slow: true, Query: "PRAGMA quick_check(1)", Healthy: sqlstore.Is("ok"),
			Finding: sqlstore.Finding{Severity: "error", Detail: "the file is damaged: $1", Remedy: "restore a backup; sqlite3 FILE .recover saves what can be read"},
		}},
	}, nil
}
