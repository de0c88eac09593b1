// What kind of server it is.

package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
)

// server is what matters of its settings.
type server struct {
	version    string
	database   string
	flushLog   int64
	binlog     bool
	syncBinlog int64
	readOnly   bool
}

func (s *session) server(ctx context.Context) (v server, err error) {
	var database *string
	_, err = s.row(ctx, "SELECT @@version, DATABASE(), @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@global.read_only", nil,
		&v.version, &database, &v.flushLog, &v.binlog, &v.syncBinlog, &v.readOnly)
	if err == nil && database == nil {
		err = fmt.Errorf("%w mysql database: the connection has none selected", evento.ErrInvalid)
	}
	if database != nil {
		v.database = *database
	}
	return v, err
}

// check refuses a server that acknowledges what it may lose.
func (v server) check(allowLoss bool) error {
	switch {
	case allowLoss:
		return nil
	case v.flushLog != 1:
		return fmt.Errorf("%w mysql server: innodb_flush_log_at_trx_commit is %d, so that commits may be lost in a crash: set it to 1, or accept the loss with Options.AllowLoss", evento.ErrInvalid, v.flushLog)
	case v.binlog && v.syncBinlog != 1:
		return fmt.Errorf("%w mysql server: it has a binary log and sync_binlog is %d, so that commits may be lost in a crash: set it to 1, or accept the loss with Options.AllowLoss", evento.ErrInvalid, v.syncBinlog)
	}
	return nil
}

func (s *session) identity(ctx context.Context) (identity [16]byte, err error) {
	var b []byte
	found, err := s.row(ctx, "SELECT identity FROM evento_store WHERE id = 1", nil, &b)
	if err == nil && (!found || len(b) != len(identity)) {
		err = errors.New("the table evento_store is empty")
	}
	copy(identity[:], b)
	return identity, err
}
