// What tools ask of a store.

package mysql

import (
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

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
		return sqlstore.Check{Name: "durability", Query: query, Healthy: healthy, Finding: sqlstore.Finding{Severity: "warning", Detail: detail, Remedy: remedy}}
	}
	return &sqlstore.Inspector{
		DB: db, Files: Migrations(), Tables: tables, Tags: tables + "tag",
		Migrated:  "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'evento_migration'",
		AppliedAt: "applied_at",
		EventID:   "x'%x'",
		Checks: append([]sqlstore.Check{
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
