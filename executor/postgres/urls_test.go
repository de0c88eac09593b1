package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// A URL may set what other applications have set for themselves. The store is the
// same, or is not opened.
func TestSettings(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	schema := newSchema(t)
	silent := slog.New(slog.DiscardHandler)
	settings := []string{
		// Of the driver.
		"default_query_exec_mode=simple_protocol", "default_query_exec_mode=exec", "default_query_exec_mode=describe_exec", "default_query_exec_mode=cache_describe",
		"statement_cache_capacity=0", "description_cache_capacity=0", "pool_max_conns=2", "application_name=x%27y",
		// Of the session.
		"search_path=pg_temp", "search_path=", "standard_conforming_strings=off", "backslash_quote=on", "client_encoding=LATIN1", "client_encoding=SQL_ASCII",
		"array_nulls=off", "transform_null_equals=on", "bytea_output=escape", "DateStyle=SQL,DMY", "IntervalStyle=sql_standard", "extra_float_digits=-10",
		"timezone=Asia/Kathmandu", "default_transaction_isolation=serializable", "default_transaction_isolation=repeatable%20read", "default_transaction_isolation=read%20uncommitted",
		"default_transaction_read_only=on", "default_transaction_deferrable=on", "session_replication_role=replica", "row_security=off", "lock_timeout=3000", "statement_timeout=60000",
		"idle_in_transaction_session_timeout=60000", "synchronous_commit=off", "synchronous_commit=local", "plan_cache_mode=force_custom_plan",
		"enable_indexscan=off", "enable_seqscan=off", "enable_mergejoin=off&enable_hashjoin=off", "enable_material=off", "jit=on&jit_above_cost=0", "from_collapse_limit=1&join_collapse_limit=1",
		"geqo=on&geqo_threshold=2", "default_toast_compression=lz4", "default_tablespace=pg_default", "quote_all_identifiers=on", "zero_damaged_pages=on", "ignore_checksum_failure=on",
		"lc_messages=C", "lc_numeric=C", "xmloption=document", "check_function_bodies=off", "escape_string_warning=off", "commit_delay=10", "force_parallel_mode=on",
		"max_parallel_workers_per_gather=0", "cursor_tuple_fraction=0.1", "options=-c%20enable_bitmapscan%3Doff", "parallel_setup_cost=0&parallel_tuple_cost=0&min_parallel_table_scan_size=0",
		"constraint_exclusion=on", "allow_in_place_tablespaces=on", "bytea_output=escape&standard_conforming_strings=off&DateStyle=German",
	}
	unknown := func(err error) bool {
		var said *pgconn.PgError
		return errors.As(err, &said) && (said.Code == "42704" || said.Code == "22023" || said.Code == "0A000" || said.Code == "42501")
	}
	plain := openSchema(t, schema)
	defer closeAll(t, plain)
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	storetest.Settings(t, plain, settings, unknown, func(setting string) (evento.Executor, error) {
		ex, err := postgres.Open(context.Background(), url+separator+setting, &postgres.Options{Schema: schema, Logger: silent})
		if err != nil {
			return nil, err
		}
		return ex, nil
	})
}
