// Checksums of rows: SQLite checks the structure of its file, and not what is in it. A
// bit that was flipped in a payload would be read like any other.
//
// Why: docs/decisions.md, "SQLite: rows have checksums".

package sqlite

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/ncruces/go-sqlite3"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rowSum makes the checksum of a row: a CRC-32C of its values, each with its type before
// it, and texts and blobs with their length. The zero value begins.
type rowSum struct{ b []byte }

func (r *rowSum) int(v int64) {
	r.b = binary.LittleEndian.AppendUint64(append(r.b, 'i'), uint64(v))
}

func (r *rowSum) text(s string) { r.b = append(r.length('t', len(s)), s...) }

func (r *rowSum) blob(b []byte) { r.b = append(r.length('b', len(b)), b...) }

func (r *rowSum) null() { r.b = append(r.b, 'n') }

func (r *rowSum) length(kind byte, n int) []byte {
	return binary.LittleEndian.AppendUint64(append(r.b, kind), uint64(n))
}

// sum is the checksum of what was added, and of a blob behind it. It begins anew.
func (r *rowSum) sum(last []byte) int64 {
	crc := crc32.Checksum(r.length('b', len(last)), castagnoli)
	r.b = r.b[:0]
	return int64(crc32.Update(crc, castagnoli, last))
}

// checksumFunction is evento_checksum(values…) in SQL, for tools.
func checksumFunction(ctx sqlite3.Context, values ...sqlite3.Value) {
	var r rowSum
	for _, v := range values {
		switch v.Type() {
		case sqlite3.INTEGER:
			r.int(v.Int64())
		case sqlite3.FLOAT: // which no column has
			r.b = binary.LittleEndian.AppendUint64(append(r.b, 'f'), math.Float64bits(v.Float()))
		case sqlite3.TEXT:
			r.text(v.Text())
		case sqlite3.BLOB:
			r.blob(v.RawBlob())
		default:
			r.null()
		}
	}
	ctx.ResultInt64(int64(crc32.Checksum(r.b, castagnoli)))
}

// The values of the checksums, in their order: the blob is the last.
const (
	eventSum    = "evento_checksum(position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, metadata, data)"
	recordSum   = "evento_checksum(kind, key, part, revision, changed_at, value)"
	snapshotSum = "evento_checksum(projection, revision, variant, type, id, version, position, cursor, updated_at, data)"
)
