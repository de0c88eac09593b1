// What doctor asks the database itself.

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// settings examines what SQL tells of the store.
func (d *doctor) settings(ctx context.Context) (err error) {
	in, err := d.s.address.inspect(ctx)
	if err != nil || in == nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	checks := []settingsCheck{{"snapshot", in.snapshots}}
	switch d.s.address.kind {
	case sqliteStore:
		checks = append(checks, settingsCheck{"durability", in.sqliteJournal}, settingsCheck{"immutability", in.sqliteTriggers})
		if !d.fast {
			checks = append(checks, settingsCheck{"file", in.sqliteFile})
		}
	case postgresStore:
		checks = append(checks, settingsCheck{"durability", in.postgresSettings}, settingsCheck{"immutability", in.postgresTriggers}, settingsCheck{"counter", in.counter})
	case mysqlStore:
		checks = append(checks, settingsCheck{"durability", in.mysqlSettings}, settingsCheck{"counter", in.counter})
	}
	for _, check := range checks {
		list, err := check.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // the account may not ask
			list = []finding{{Severity: note, Detail: "could not be examined: " + err.Error()}}
		}
		for _, f := range list {
			f.Check = check.name
			if err := d.found(f); err != nil {
				return err
			}
		}
	}
	return nil
}

type settingsCheck struct {
	name string
	run  func(context.Context) ([]finding, error)
}

// row asks for one row, as texts.
func (in *inspector) row(ctx context.Context, query string, columns int) ([]string, error) {
	values := make([]sql.NullString, columns)
	dest := make([]any, columns)
	for i := range values {
		dest[i] = &values[i]
	}
	err := in.db.QueryRowContext(ctx, query).Scan(dest...)
	list := make([]string, columns)
	for i := range values {
		list[i] = values[i].String
	}
	return list, err
}

func (in *inspector) sqliteJournal(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "PRAGMA journal_mode", 1)
	if err != nil || v[0] == "wal" {
		return nil, err
	}
	// A backup, say. What opens it to write switches it back, and syncs each
	// commit whatever the file says.
	return []finding{{Severity: note, Detail: "its journal mode is " + v[0] + "; the library switches it to wal when it opens it to write"}}, nil
}

func (in *inspector) sqliteTriggers(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN ('evento_event_update', 'evento_event_delete')", 1)
	if err != nil || v[0] == "2" {
		return nil, err
	}
	return []finding{changeable}, nil
}

var changeable = finding{Severity: warning, Detail: "a trigger that keeps events from being changed or deleted is missing or switched off", Remedy: "find out who dropped it and what they changed, and make it again: evento migrate sql shows how"}

func (in *inspector) sqliteFile(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "PRAGMA quick_check(1)", 1)
	if err != nil || v[0] == "ok" {
		return nil, err
	}
	return []finding{{Severity: severe, Detail: "the file is damaged: " + v[0], Remedy: "restore a backup; sqlite3 FILE .recover saves what can be read"}}, nil
}

func (in *inspector) postgresSettings(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')", 3)
	if err != nil {
		return nil, err
	}
	return postgresRisks(v[0], v[1], v[2]), nil
}

func postgresRisks(fsync, synchronousCommit, fullPageWrites string) (list []finding) {
	if fsync == "off" {
		list = append(list, finding{Severity: warning, Detail: "fsync is off: a crash of the machine may destroy the store", Remedy: "set fsync = on"})
	}
	if synchronousCommit == "off" {
		list = append(list, finding{Severity: warning, Detail: "synchronous_commit is off: a crash may lose events that were acknowledged", Remedy: "set synchronous_commit = on, for the server or the application's role"})
	}
	if fullPageWrites == "off" {
		list = append(list, finding{Severity: warning, Detail: "full_page_writes is off: a crash of the machine may leave torn pages", Remedy: "set full_page_writes = on, unless the file system writes pages whole"})
	}
	return list
}

func (in *inspector) postgresTriggers(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '"+
		strings.ReplaceAll(in.schema, "'", "''")+"' AND c.relname = 'event' AND t.tgname = 'immutable' AND t.tgenabled <> 'D'", 1)
	if err != nil || v[0] == "1" {
		return nil, err
	}
	return []finding{changeable}, nil
}

func (in *inspector) mysqlSettings(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@innodb_doublewrite", 4)
	if err != nil {
		return nil, err
	}
	return mysqlRisks(v[0], v[1] == "1", v[2], v[3]), nil
}

func mysqlRisks(flushLog string, binaryLog bool, syncBinaryLog, doublewrite string) (list []finding) {
	if flushLog != "1" {
		list = append(list, finding{Severity: warning, Detail: "innodb_flush_log_at_trx_commit is " + flushLog + ": a crash may lose events that were acknowledged", Remedy: "set innodb_flush_log_at_trx_commit = 1"})
	}
	if binaryLog && syncBinaryLog != "1" {
		list = append(list, finding{Severity: warning, Detail: "there is a binary log and sync_binlog is " + syncBinaryLog + ": a crash may lose events that were acknowledged", Remedy: "set sync_binlog = 1"})
	}
	if strings.EqualFold(doublewrite, "off") || doublewrite == "0" {
		list = append(list, finding{Severity: warning, Detail: "innodb_doublewrite is off: a crash of the machine may leave torn pages", Remedy: "set innodb_doublewrite = ON, unless the file system writes pages whole"})
	}
	return list
}

// counter compares the counter of positions with the last event. Both are read
// in one statement, which sees one moment.
func (in *inspector) counter(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, in.texts.counter, 2)
	if errors.Is(err, sql.ErrNoRows) {
		return []finding{{Severity: severe, Detail: "the counter of positions is missing", Remedy: "restore a backup"}}, nil
	}
	if err != nil || v[0] == v[1] {
		return nil, err
	}
	return []finding{{Severity: severe, Detail: fmt.Sprintf("the counter of positions is at %s and the last event at %s", v[0], v[1]), Remedy: "a part of the store was restored or changed by hand: restore all of it from one backup"}}, nil
}

func (in *inspector) snapshots(ctx context.Context) ([]finding, error) {
	v, err := in.row(ctx, in.texts.snapshots, 1)
	if err != nil || v[0] == "0" {
		return nil, err
	}
	return []finding{{Severity: severe, Detail: v[0] + " snapshots are of events beyond the last", Remedy: "an older backup of the events was restored beside newer snapshots: delete all rows of the table of snapshots, which are made again"}}, nil
}
