// What tools ask of a store.

package postgres

import (
	"context"
	_ "embed" // the recorded schema
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/evento-go/evento/internal/sqlstore"
)

// schemaParts is what the migrations make, as describe has it.
//
//go:embed schema.txt
var schemaParts string

// describe is the query for what the tables are. SCHEMA is the name of the schema, as a text.
const describe = `
WITH ours AS (
  SELECT c.oid, c.relname::text AS name, c.relkind, c.relpersistence, c.relrowsecurity FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = SCHEMA AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
)
SELECT 'table ' || name, CASE relkind WHEN 'r' THEN '' ELSE 'of kind ' || relkind::text || ', ' END || CASE relpersistence WHEN 'p' THEN 'logged' ELSE 'not logged' END
  || CASE WHEN relrowsecurity THEN ', with row security' ELSE '' END
  || CASE WHEN EXISTS (SELECT 1 FROM pg_inherits h WHERE ours.oid IN (h.inhparent, h.inhrelid)) THEN ', in an inheritance' ELSE '' END
FROM ours WHERE relkind NOT IN ('v', 'm')
UNION ALL
SELECT 'view ' || name, CASE relkind WHEN 'm' THEN 'materialized ' ELSE '' END
  || (SELECT '(' || string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) || ')' FROM pg_attribute a WHERE a.attrelid = ours.oid AND a.attnum > 0)
FROM ours WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'column ' || name || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
  || CASE WHEN l.collname IS NULL OR l.collname = 'default' THEN '' ELSE ' collate ' || l.collname END
  || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
  || CASE WHEN a.attidentity <> '' THEN ' identity' ELSE '' END
  || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE relkind NOT IN ('v', 'm')
UNION ALL
SELECT 'index ' || c.relname || ' on ' || name, CASE WHEN i.indisunique THEN 'unique ' ELSE '' END || CASE m.amname WHEN 'btree' THEN '' ELSE m.amname || ' ' END
  || (SELECT '(' || string_agg(pg_get_indexdef(i.indexrelid, k, false), ', ' ORDER BY k) || ')' FROM generate_series(1, i.indnatts) k)
  || coalesce(' where ' || pg_get_expr(i.indpred, i.indrelid), '')
  || CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN '' ELSE ', not valid' END
  || CASE WHEN i.indimmediate THEN '' ELSE ', deferrable' END
  || CASE WHEN EXISTS (SELECT 1 FROM generate_series(0, i.indnkeyatts - 1) k JOIN pg_attribute a ON a.attrelid = ours.oid AND a.attnum = i.indkey[k]
       JOIN pg_opclass o ON o.oid = i.indclass[k] WHERE i.indcollation[k] <> a.attcollation OR NOT o.opcdefault) THEN ', in another order' ELSE '' END
FROM ours JOIN pg_index i ON i.indrelid = ours.oid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
UNION ALL
SELECT 'constraint ' || o.conname || ' on ' || name, pg_get_constraintdef(o.oid)
FROM ours JOIN pg_constraint o ON o.conrelid = ours.oid WHERE o.contype IN ('c', 'f', 'x')
UNION ALL
SELECT 'trigger ' || t.tgname || ' on ' || name, CASE WHEN t.tgenabled IN ('O', 'A') THEN '' ELSE 'switched off, ' END || 'of type ' || t.tgtype
  || CASE WHEN t.tgqual IS NULL THEN '' ELSE ', on a condition' END || CASE WHEN t.tgattr::text = '' THEN '' ELSE ', of some columns' END || ', calls ' || p.proname
FROM ours JOIN pg_trigger t ON t.tgrelid = ours.oid AND NOT t.tgisinternal JOIN pg_proc p ON p.oid = t.tgfoid
UNION ALL
SELECT 'rule ' || w.rulename || ' on ' || name, 'of type ' || w.ev_type::text
FROM ours JOIN pg_rewrite w ON w.ev_class = ours.oid AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'function ' || p.proname, btrim(p.prosrc) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = SCHEMA AND p.pronargs = 0`

// Inspect is [Open], with Options.Schema, for tools such as evento doctor. It
// connects when something is asked, and changes nothing.
//
// Errors: [evento.ErrInvalid] for a schema; what is wrong with the URL, never
// with the password.
func Inspect(url, schema string) (*sqlstore.Inspector, error) {
	opts, err := (&Options{Schema: schema}).withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url) // which may have settings of a pool
	if err != nil {
		return nil, err
	}
	tables := pgx.Identifier{opts.Schema}.Sanitize() + "."
	quoted := "'" + strings.ReplaceAll(opts.Schema, "'", "''") + "'"
	inSchema := "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = " + quoted
	durability := func(setting, risk, remedy string) sqlstore.Check {
		return sqlstore.Check{
			Name: "durability", Setting: true, Query: "SELECT current_setting('" + setting + "')", Healthy: func(row []string) bool { return row[0] != "off" },
			Finding: sqlstore.Finding{Severity: "warning", Detail: setting + " is off: a crash " + risk, Remedy: "set " + setting + " = on" + remedy},
		}
	}
	return &sqlstore.Inspector{
		DB: stdlib.OpenDB(*config.ConnConfig), Files: Migrations(), Tables: tables, Tags: tables + "event_tag",
		Layout:    sqlstore.Layout{Numbered: true, TypeID: "e.type_id", Aggregate: "e.aggregate_id", UUIDs: true},
		Describe:  strings.ReplaceAll(describe, "SCHEMA", quoted),
		Made:      func(context.Context) (sqlstore.Schema, error) { return sqlstore.ParseSchema(schemaParts), nil },
		Migrated:  "SELECT count(*) FROM pg_class c " + inSchema + " AND c.relname = 'migration'",
		AppliedAt: "extract(epoch FROM applied_at)::bigint",
		Clock:     "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
		EventID:   "'%x'",
		Checks: append([]sqlstore.Check{
			sqlstore.CheckIdentity("SELECT count(*) FROM " + tables + "store WHERE id = 1 AND identity IS NOT NULL"),
			sqlstore.CheckSnapshots(tables),
			sqlstore.CheckTags(tables+"event_tag", tables),
			durability("fsync", "of the machine may destroy the store", ""),
			durability("synchronous_commit", "may lose events that were acknowledged", ", for the server or the application's role"),
			durability("full_page_writes", "of the machine may leave torn pages", ", unless the file system writes pages whole"),
		}, sqlstore.CheckCounter(tables)...),
	}, nil
}
