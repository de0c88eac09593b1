// What tools ask of a store.

package sqlite

import (
	"context"
	"errors"
	"strings"

	"github.com/ncruces/go-sqlite3"

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
		Layout:    sqlstore.Layout{Prefix: tables, TypeID: "a.type_id", Aggregate: "a.id", Aggregates: true},
		Describe:  describe,
		Normal:    sqlstore.NormalSQL,
		Made:      madeSchema,
		Migrated:  "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'evento_migration'",
		AppliedAt: "applied_at",
		EventID:   "x'%x'",
		Checks: []sqlstore.Check{
			sqlstore.CheckIdentity("SELECT count(*) FROM evento_store WHERE id = 1 AND typeof(identity) = 'blob' AND length(identity) = 16 AND identity = again"),
			sqlstore.CheckSnapshots(tables), sqlstore.CheckTags(tables+"tag", tables), {
				// It may be a backup. Commits are synced whatever its mode is.
				Name: "durability", Setting: true, Query: "PRAGMA journal_mode", Healthy: sqlstore.Is("wal"),
				Finding: sqlstore.Finding{Severity: "note", Detail: "its journal mode is $1; the library switches it to wal when it opens it to write"},
			}, {
				Name: "file", Slow: true, Query: "PRAGMA integrity_check", Healthy: sqlstore.Is("ok"),
				Finding: sqlstore.Finding{Severity: "error", Detail: "the file is damaged: $1", Remedy: "restore a backup; sqlite3 FILE .recover saves what can be read"},
			},
			checkSums("events", "evento_event", "position", eventSum),
			checkSums("records", "evento_record", "key", recordSum),
			checkSums("snapshots", "evento_snapshot", "projection", snapshotSum),
		},
	}, nil
}

// describe is the query for what the schema has. Tables that the definition of another table
// makes by itself, such as those of a full-text index, have none.
const describe = `
SELECT 'table ' || name, sql FROM sqlite_schema WHERE type = 'table' AND name GLOB 'evento_*' AND sql IS NOT NULL
UNION ALL
SELECT 'view ' || name, sql FROM sqlite_schema WHERE type = 'view' AND name GLOB 'evento_*'
UNION ALL
SELECT 'trigger ' || name || ' on ' || tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name GLOB 'evento_*'
UNION ALL
SELECT 'index ' || name || ' on ' || tbl_name, iif(sql LIKE 'CREATE UNIQUE %', 'unique: ', '') || sql FROM sqlite_schema WHERE type = 'index' AND tbl_name GLOB 'evento_*' AND sql IS NOT NULL
UNION ALL
SELECT 'column ' || m.name || '.' || c.name, lower(c.type) || iif(c."notnull", ' not null', '') || iif(c.dflt_value IS NULL, '', ' default ' || c.dflt_value)
  || iif(c.pk, ' in the primary key', '') || iif(c.hidden, ' generated', '')
FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND m.name GLOB 'evento_*' AND m.sql NOT LIKE 'CREATE VIRTUAL %'`

// madeSchema runs the migrations on a database in memory.
func madeSchema(ctx context.Context) (_ sqlstore.Schema, err error) {
	native, err := sqlite3.Open(":memory:")
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: native, stmts: map[string][]*sqlite3.Stmt{}, release: native.Close}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := during(ctx, native, func() error { return applyMigrations(c) }); err != nil {
		return nil, err
	}
	s, err := c.stmt(strings.TrimSpace(describe))
	if err != nil {
		return nil, err
	}
	made := sqlstore.Schema{}
	for s.Step() {
		made[s.ColumnText(0)] = sqlstore.NormalSQL(s.ColumnText(0), s.ColumnText(1))
	}
	return made, errors.Join(s.Err(), c.done(s))
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
