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
		DB: openFile(path, true), Files: Migrations(), Tables: tables, Tags: tables + "tag",
		Migrated:  "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'evento_migration'",
		AppliedAt: "applied_at",
		EventID:   "x'%x'",
		Checks: []sqlstore.Check{sqlstore.CheckSnapshots(tables), sqlstore.CheckTags(tables+"tag", tables), {
			// It may be a backup. Commits are synced whatever its mode is.
			Name: "durability", Query: "PRAGMA journal_mode", Healthy: sqlstore.Is("wal"),
			Finding: sqlstore.Finding{Severity: "note", Detail: "its journal mode is $1; the library switches it to wal when it opens it to write"},
		}, sqlstore.CheckImmutability(
			"SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN ('evento_event_update', 'evento_event_delete')", "2"), {
			Name: "file", Slow: true, Query: "PRAGMA integrity_check(1)", Healthy: sqlstore.Is("ok"),
			Finding: sqlstore.Finding{Severity: "error", Detail: "the file is damaged: $1", Remedy: "restore a backup; sqlite3 FILE .recover saves what can be read"},
		},
			checkSums("events", "evento_event", "position", eventSum),
			checkSums("records", "evento_record", "key", recordSum),
			checkSums("snapshots", "evento_snapshot", "projection", snapshotSum),
			{
				Name: "checksum", Slow: true, Healthy: sqlstore.Is("0"),
				Query: "SELECT count(*), coalesce(min(a.id), '') FROM evento_aggregate a JOIN evento_event e ON e.agg_key = a.key AND e.version = 1 WHERE a.routing_id IS NOT e.routing_id",
				Finding: sqlstore.Finding{
					Severity: "error", Detail: "$1 aggregates have another routing key than their first event, such as $2", Remedy: "restore a backup",
				},
			},
		},
	}, nil
}

// checkSums finds rows of a table that are not what was stored.
func checkSums(what, table, name, sum string) sqlstore.Check {
	return sqlstore.Check{
		Name: "checksum", Slow: true, Healthy: sqlstore.Is("0"),
		Query: "SELECT count(*), coalesce(min(" + name + "), '') FROM " + table + " WHERE checksum IS NOT " + sum,
		Finding: sqlstore.Finding{
			Severity: "error", Detail: "$1 " + what + " are not what was stored, by their checksums, the first with the " + name + " $2", Remedy: "restore a backup",
		},
	}
}
