// A row with columns behind those of the user's SELECT.

package cursor

import (
	"database/sql"
	"fmt"
)

// keyedRow is the [Row] that a scan function gets: it scans the user's columns, and
// with them the hidden ones.
type keyedRow struct {
	rows    *sql.Rows
	own     int   // how many columns are the user's
	into    []any // pointers to got
	got     []any // what the hidden columns have
	scanned bool
}

func newKeyedRow(rows *sql.Rows, own, hidden int) *keyedRow {
	r := &keyedRow{rows: rows, own: own, into: make([]any, hidden), got: make([]any, hidden)}
	for i := range r.got {
		r.into[i] = &r.got[i]
	}
	return r
}

func (r *keyedRow) Scan(dest ...any) error {
	if len(dest) != r.own {
		return fmt.Errorf("cursor: scan takes %d columns, and the SELECT has %d", len(dest), r.own)
	}
	r.scanned = true
	return r.rows.Scan(append(dest[:len(dest):len(dest)], r.into...)...)
}

// scanKeyed makes an item of the row, and returns what its hidden columns have, until
// the next is scanned.
func scanKeyed[T any](r *keyedRow, scan func(Row) (T, error)) (item T, got []any, err error) {
	r.scanned = false
	if item, err = scan(r); err != nil {
		return item, nil, err
	}
	if !r.scanned {
		// The function makes an item of nothing; the row has a place all the same.
		unused := make([]any, r.own)
		for i := range unused {
			unused[i] = new(any)
		}
		if err := r.Scan(unused...); err != nil {
			return item, nil, failed(err)
		}
	}
	return item, r.got, nil
}
