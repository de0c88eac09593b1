// What tools ask of a store.

package mysql

import (
	"context"
	_ "embed" // the recorded schema
	"fmt"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// schema is what the migrations make, as describe has it.
//
//go:embed schema.txt
var schema string

// describe is the query for what the tables are.
const describe = `
SELECT CONCAT('table ', table_name), engine FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name LIKE 'evento\\_%'
UNION ALL
SELECT CONCAT('view ', v.table_name), CONCAT('(', GROUP_CONCAT(c.column_name ORDER BY c.ordinal_position SEPARATOR ', '), ')')
FROM information_schema.views v JOIN information_schema.columns c ON c.table_schema = v.table_schema AND c.table_name = v.table_name
WHERE v.table_schema = DATABASE() AND v.table_name LIKE 'evento\\_%' GROUP BY v.table_name
UNION ALL
SELECT CONCAT('column ', c.table_name, '.', c.column_name), CONCAT(c.column_type, IF(c.is_nullable = 'NO', ' not null', ''), IF(c.extra = '', '', ' '), c.extra)
FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND c.table_name LIKE 'evento\\_%'
UNION ALL
SELECT CONCAT('index ', index_name, ' on ', table_name), CONCAT(IF(non_unique = 0, 'unique ', ''), '(',
  GROUP_CONCAT(CONCAT(COALESCE(column_name, 'an expression'), COALESCE(CONCAT('(', sub_part, ')'), '')) ORDER BY seq_in_index SEPARATOR ', '), ')')
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name LIKE 'evento\\_%' GROUP BY table_name, index_name, non_unique
UNION ALL
SELECT CONCAT('trigger ', trigger_name, ' on ', event_object_table), LOWER(CONCAT(action_timing, ' ', event_manipulation))
FROM information_schema.triggers WHERE event_object_schema = DATABASE() AND event_object_table LIKE 'evento\\_%'
UNION ALL
SELECT CONCAT('constraint ', constraint_name, ' on ', table_name), LOWER(constraint_type)
FROM information_schema.table_constraints WHERE table_schema = DATABASE() AND constraint_type IN ('CHECK', 'FOREIGN KEY') AND table_name LIKE 'evento\\_%'`

// displayed matches how wide a number is shown, which MariaDB has in its type and newer
// releases of MySQL have not.
var displayed = regexp.MustCompile(`int\(\d+\)`)

func normal(_, definition string) string { return displayed.ReplaceAllString(definition, "int") }

// Inspect is [Open] for tools such as evento doctor. It connects when something
// is asked, and changes nothing.
//
// Errors: [evento.ErrInvalid] for a DSN.
func Inspect(dsn string) (*sqlstore.Inspector, error) {
	db, err := openDSN(dsn)
	if err != nil {
		return nil, err
	}
	const tables, lost, torn = "evento_", "a crash may lose events that were acknowledged", "a crash of the machine may leave torn pages"
	durability := func(query string, healthy func([]string) bool, detail, remedy string) sqlstore.Check {
		return sqlstore.Check{Name: "durability", Setting: true, Query: query, Healthy: healthy, Finding: sqlstore.Finding{Severity: "warning", Detail: detail, Remedy: remedy}}
	}
	return &sqlstore.Inspector{
		DB: db, Files: Migrations(), Tables: tables, Tags: tables + "tag",
		Layout: sqlstore.Layout{
			Prefix: tables, TypeID: "e.type_id", Aggregate: "e.aggregate_id", Unrouted: int64(0), BytesAreTexts: true,
			Names: map[string]string{"routing.key": "name", "record.key": "name", "snapshot.id": "aggregate_id", "snapshot.cursor": "place"},
		},
		Describe:  describe,
		Normal:    normal,
		Made:      func(context.Context) (sqlstore.Schema, error) { return sqlstore.ParseSchema(schema), nil },
		Migrated:  "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'evento_migration'",
		AppliedAt: "applied_at",
		Clock:     "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
		EventID:   "x'%x'",
		Checks: append([]sqlstore.Check{
			sqlstore.CheckIdentity("SELECT COUNT(*) FROM evento_store WHERE id = 1 AND LENGTH(identity) = 16"),
			{
				Name: "barrier", Query: "SELECT COUNT(*) FROM evento_barrier WHERE id = 1", Healthy: sqlstore.Is("1"),
				Finding: sqlstore.Finding{Severity: "error", Detail: "the row of evento_barrier is missing, a write to which makes what is read durable", Remedy: "make it again: INSERT INTO evento_barrier (id, n) VALUES (1, 0)"},
			},
			sqlstore.CheckSnapshots(tables),
			sqlstore.CheckTags(tables+"tag", tables),
			durability("SELECT @@innodb_flush_log_at_trx_commit", sqlstore.Is("1"),
				"innodb_flush_log_at_trx_commit is $1: "+lost, "set innodb_flush_log_at_trx_commit = 1"),
			durability("SELECT @@sync_binlog, @@log_bin", func(row []string) bool { return row[0] == "1" || row[1] != "1" },
				"there is a binary log and sync_binlog is $1: "+lost, "set sync_binlog = 1"),
			durability("SELECT @@innodb_doublewrite", func(row []string) bool { return row[0] != "0" && !strings.EqualFold(row[0], "off") },
				"innodb_doublewrite is off: "+torn, "set innodb_doublewrite = ON, unless the file system writes pages whole"),
		}, sqlstore.CheckCounter(tables)...),
	}, nil
}

// errDSN is instead of the driver's error, which may have a part of the password.
var errDSN = fmt.Errorf("%w mysql DSN: user:password@tcp(host:port)/database?parameter=value is expected", evento.ErrInvalid)

// ParseDSN returns what may be shown of a DSN of [Open], or [evento.ErrInvalid].
func ParseDSN(dsn string) (user, address, database string, err error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", "", "", errDSN
	}
	return cfg.User, cfg.Addr, cfg.DBName, nil
}

// WithDatabase returns a DSN of [Open] for another database of the same server, or
// [evento.ErrInvalid].
func WithDatabase(dsn, database string) (string, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", errDSN
	}
	cfg.DBName = database
	return cfg.FormatDSN(), nil
}
