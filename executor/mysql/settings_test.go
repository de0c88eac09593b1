package mysql_test

import (
	"errors"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// A DSN may set what other applications have set for themselves. The store is the
// same, or is not opened.
func TestSettings(t *testing.T) {
	t.Parallel()
	if testserver.MySQL(t) == "" {
		return
	}
	settings := []string{
		// Of the driver.
		"clientFoundRows=true", "parseTime=true&loc=Europe%2FBerlin&timeTruncate=1h", "interpolateParams=true", "multiStatements=true",
		"columnsWithAlias=true", "rejectReadOnly=true", "collation=latin1_swedish_ci", "charset=latin1", "collation=utf8mb4_bin", "maxAllowedPacket=65536", "compress=true",
		// Of the session.
		"sql_select_limit=2", "sql_auto_is_null=1", "sql_big_selects=0&max_join_size=1", "sql_safe_updates=1", "unique_checks=0", "foreign_key_checks=0",
		"autocommit=0", "completion_type='CHAIN'", "completion_type='RELEASE'", "tx_isolation='SERIALIZABLE'", "transaction_isolation='READ-UNCOMMITTED'",
		"tx_isolation='READ-UNCOMMITTED'", "tx_read_only=1", "transaction_read_only=1", "time_zone='-05:00'", "timestamp=1000000000", "sql_mode=''",
		"sql_mode='ANSI'", "sql_mode='ORACLE'", "sql_mode='PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION'",
		"sql_mode='ONLY_FULL_GROUP_BY,NO_AUTO_VALUE_ON_ZERO,TIME_ROUND_FRACTIONAL'", "group_concat_max_len=4", "max_sort_length=64", "div_precision_increment=0",
		"character_set_results=latin1", "character_set_client=latin1", "collation_connection=latin1_german2_ci", "sql_log_bin=0", "skip_replication=1",
		"auto_increment_increment=10&auto_increment_offset=5", "low_priority_updates=1", "check_constraint_checks=0", "innodb_lock_wait_timeout=1", "lock_wait_timeout=1",
		"system_versioning_asof='2001-01-01'", "default_storage_engine=MyISAM", "max_length_for_sort_data=4", "big_tables=1", "query_cache_type=0", "old_mode=''",
		"last_insert_id=7", "insert_id=3", "sql_quote_show_create=0", "sql_notes=0", "innodb_table_locks=0", "lc_time_names='de_DE'", "explicit_defaults_for_timestamp=0",
	}
	unknown := func(err error) bool {
		var said *driver.MySQLError
		// An unknown variable, one that is global or read only, a value that it does not take.
		return errors.As(err, &said) && (said.Number == 1193 || said.Number == 1229 || said.Number == 1238 || said.Number == 1231)
	}
	t.Run("Open", func(t *testing.T) {
		t.Parallel()
		dsn := testserver.MySQL(t)
		storetest.Settings(t, openSilent(t, dsn), settings, unknown, func(setting string) (evento.Executor, error) {
			return opened(mysql.Open(t.Context(), dsn+"?"+setting, &mysql.Options{Logger: silent}))
		})
	})
	t.Run("New", func(t *testing.T) {
		t.Parallel()
		dsn := testserver.MySQL(t)
		storetest.Settings(t, openSilent(t, dsn), settings, unknown, func(setting string) (evento.Executor, error) {
			return opened(mysql.New(t.Context(), raw(t, dsn+"?"+setting), &mysql.Options{Logger: silent, Connections: 2}))
		})
	})
}

func opened(ex *mysql.Executor, err error) (evento.Executor, error) {
	if err != nil {
		return nil, err
	}
	return ex, nil
}
