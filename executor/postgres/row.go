// Rows as the server sends them.

package postgres

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/slab"
)

// row is an event as the table has it, but for the names of its kind and
// routing key. It is read again and again; what it copied stays.
type row struct {
	position, recordedAt, version int64
	kindID, routingID             int32 // routing 0: none
	id                            [16]byte
	codec, aggregateID            string
	data, metadata                []byte

	slab slab.Slab
}

// read takes the current row. The binary format, which pgx asks for unless its
// protocol was chosen otherwise, is decoded here: it is some bytes to copy, and
// reading everything is made of little else.
func (w *row) read(rows pgx.Rows) error {
	for _, f := range rows.FieldDescriptions() {
		if f.Format != pgx.BinaryFormatCode {
			return w.scan(rows)
		}
	}
	v := rows.RawValues()
	if len(v[0]) != 8 || len(v[1]) != 8 || len(v[2]) != 8 || len(v[3]) != 4 || v[4] != nil && len(v[4]) != 4 || len(v[5]) != 16 {
		return w.scan(rows)
	}
	w.position = int64(binary.BigEndian.Uint64(v[0]))
	w.recordedAt = int64(binary.BigEndian.Uint64(v[1]))
	w.version = int64(binary.BigEndian.Uint64(v[2]))
	w.kindID = int32(binary.BigEndian.Uint32(v[3]))
	w.routingID = 0
	if v[4] != nil {
		w.routingID = int32(binary.BigEndian.Uint32(v[4]))
	}
	w.id = [16]byte(v[5])
	// Runs of one codec and one aggregate are usual.
	if string(v[6]) != w.codec {
		w.codec = string(v[6])
	}
	if string(v[7]) != w.aggregateID {
		w.aggregateID = string(v[7])
	}
	w.data, w.metadata = w.slab.Copy(v[8]), v[9]
	return nil
}

// scan is read for other formats.
func (w *row) scan(rows pgx.Rows) error {
	var routing *int32
	err := rows.Scan(&w.position, &w.recordedAt, &w.version, &w.kindID, &routing, &w.id, &w.codec, &w.aggregateID, &w.data, &w.metadata)
	w.routingID = 0
	if routing != nil {
		w.routingID = *routing
	}
	return err
}

// event fills in what the row has.
func (w *row) event(e *evento.RawEvent) error {
	e.ID = w.id
	e.Position, e.Version = uint64(w.position), uint64(w.version)
	e.AggregateID, e.Codec, e.Data = w.aggregateID, w.codec, w.data
	e.Timestamp = time.UnixMicro(w.recordedAt).UTC()
	if len(w.metadata) > 0 {
		if err := json.Unmarshal(w.metadata, &e.Metadata); err != nil {
			return fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, w.position, err)
		}
	}
	return nil
}
