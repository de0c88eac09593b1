// Settings of a pool with which no statement works.

package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
)

// checkPool refuses modes of the driver that need a cache which has no room.
func checkPool(config *pgxpool.Config) error {
	conn := config.ConnConfig
	switch mode := conn.DefaultQueryExecMode; mode {
	case pgx.QueryExecModeCacheStatement:
		if conn.StatementCacheCapacity <= 0 {
			return fmt.Errorf("%w postgres pool: statement_cache_capacity is 0 in default_query_exec_mode %s; take describe_exec", evento.ErrInvalid, mode)
		}
	case pgx.QueryExecModeCacheDescribe:
		if conn.DescriptionCacheCapacity <= 0 {
			return fmt.Errorf("%w postgres pool: description_cache_capacity is 0 in default_query_exec_mode %s; take describe_exec", evento.ErrInvalid, mode)
		}
	}
	return nil
}
