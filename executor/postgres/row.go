// Rows as the server sends them.

package postgres

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// row is an event as the table has it, but for the names of its kind and
// routing key.
type row struct {
	position, recordedAt, version int64
	kindID, routingID             int64 // routing 0: none
	id                            [16]byte
	codec, aggregateID            string
	data, metadata                []byte
}

// isPlain reports whether the columns of eventColumns come in the form that
// row.read knows: binary, which pgx asks for unless its protocol was chosen
// otherwise. Text is the same bytes in both formats, and asked for as text.
func isPlain(fields []pgconn.FieldDescription) bool {
	for _, f := range fields {
		if f.Format != pgx.BinaryFormatCode && f.DataTypeOID != pgtype.TextOID {
			return false
		}
	}
	return len(fields) == 10
}

// read takes a row's values, and reports whether they are as they should be.
// Reading everything is made of little else, hence by hand. The bytes stay the
// connection's.
func (w *row) read(v [][]byte) bool {
	if len(v[0]) != 8 || len(v[1]) != 8 || len(v[2]) != 8 || len(v[3]) != 4 || v[4] != nil && len(v[4]) != 4 || len(v[5]) != 16 {
		return false
	}
	w.position = int64(binary.BigEndian.Uint64(v[0]))
	w.recordedAt = int64(binary.BigEndian.Uint64(v[1]))
	w.version = int64(binary.BigEndian.Uint64(v[2]))
	w.kindID = int64(binary.BigEndian.Uint32(v[3]))
	w.routingID = 0
	if v[4] != nil {
		w.routingID = int64(binary.BigEndian.Uint32(v[4]))
	}
	w.id = [16]byte(v[5])
	// Runs of one codec and one aggregate are usual.
	if string(v[6]) != w.codec {
		w.codec = string(v[6])
	}
	if string(v[7]) != w.aggregateID {
		w.aggregateID = string(v[7])
	}
	w.data, w.metadata = v[8], v[9]
	return true
}

// scan is read for other formats.
func (w *row) scan(rows pgx.Rows) error {
	var routing *int64
	err := rows.Scan(&w.position, &w.recordedAt, &w.version, &w.kindID, &routing, &w.id, &w.codec, &w.aggregateID, &w.data, &w.metadata)
	w.routingID = 0
	if routing != nil {
		w.routingID = *routing
	}
	return err
}

// event fills in what the row has, but for the bytes of Data. Metadata is that
// of the row before, if there is one, when it is the same: as it is in a commit.
func (w *row) event(e *evento.RawEvent, before *row, metadata *evento.Metadata) error {
	e.ID = w.id
	e.Position, e.Version = uint64(w.position), uint64(w.version)
	e.AggregateID, e.Codec = w.aggregateID, w.codec
	e.Timestamp = time.UnixMicro(w.recordedAt).UTC()
	if len(w.metadata) > 0 && before != nil && bytes.Equal(w.metadata, before.metadata) {
		e.Metadata = metadata.Clone()
		return nil
	}
	return sqlstore.DecodeMetadata(w.metadata, w.position, &e.Metadata)
}

// scratch is what the rows of a page are read into. Used again for the next
// page, it keeps the garbage of reading to what the page itself is made of.
type scratch struct {
	rows  []row
	bytes []byte // of the rows
}

// keep copies bytes of a row, to stay until the scratch is used again.
func (s *scratch) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	n := len(s.bytes)
	s.bytes = append(s.bytes, b...) // when it moves, earlier rows keep the former array
	return s.bytes[n:]
}

// reset makes the scratch ready for another page, and reports whether it is
// small enough to be kept for one.
func (s *scratch) reset() bool {
	const most = 1 << 20
	clear(s.rows)
	s.rows, s.bytes = s.rows[:0], s.bytes[:0]
	return cap(s.bytes) <= most
}
