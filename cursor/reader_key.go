// Keys of a Reader's items, and the cursors that contain them.

package cursor

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// key returns an item's values of the columns.
func (o *order[T]) key(item T) []any {
	key := make([]any, len(o.columns))
	for i, c := range o.columns {
		key[i] = c.value(item)
	}
	return key
}

// compare compares two keys in the order.
func (o *order[T]) compare(a, b []any) int {
	for i, c := range o.columns {
		n := compareValues(a[i], b[i])
		if n == 0 {
			continue
		}
		if c.descending {
			return -n
		}
		return n
	}
	return 0
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case uint64:
		return cmp.Compare(a, b.(uint64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		default:
			return -1
		}
	default:
		return a.(time.Time).Compare(b.(time.Time))
	}
}

// encode makes the cursor of a key: integers and floats as 8 bytes big-endian, texts
// with their length before them, times as seconds and nanoseconds.
func (o *order[T]) encode(key []any) (Value, error) {
	values := make([]byte, 0, 64)
	for i, c := range o.columns {
		var err error
		if values, err = appendValue(values, key[i]); err != nil {
			return "", fmt.Errorf("cursor: column %q: %w", c.name, err)
		}
	}
	return o.seal(readerKind, values)
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case int64:
		return binary.BigEndian.AppendUint64(b, uint64(v)), nil
	case uint64:
		return binary.BigEndian.AppendUint64(b, v), nil
	case float64:
		if err := checkFloat(v); err != nil {
			return nil, err
		}
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v)), nil
	case string:
		if err := checkString(v); err != nil {
			return nil, err
		}
		return appendText(b, v), nil
	case []byte:
		return appendText(b, string(v)), nil
	case bool:
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	default:
		t := v.(time.Time).UTC()
		if err := checkTime(t); err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
		return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond())), nil
	}
}

// decode reads the key from a cursor that is not "". Its errors are [ErrMalformed]
// and [ErrForeign].
func (o *order[T]) decode(v Value) ([]any, error) {
	b, err := o.unseal(readerKind, v)
	if err != nil {
		return nil, err
	}
	key := make([]any, len(o.columns))
	for i, c := range o.columns {
		var ok bool
		if key[i], b, ok = cutValue(c.kind, b); !ok {
			return nil, malformed(v)
		}
	}
	if len(b) > 0 {
		return nil, malformed(v)
	}
	return key, nil
}

// cutValue reads a value from the beginning of b.
func cutValue(k kind, b []byte) (v any, rest []byte, ok bool) {
	switch k {
	case kindInt, kindUint, kindFloat:
		if len(b) < 8 {
			return nil, nil, false
		}
		n, rest := binary.BigEndian.Uint64(b), b[8:]
		switch k {
		case kindInt:
			return int64(n), rest, true
		case kindUint:
			return n, rest, true
		default:
			f := math.Float64frombits(n)
			return f, rest, checkFloat(f) == nil
		}
	case kindString, kindBytes:
		text, rest, ok := cutText(b)
		if k == kindString {
			return text, rest, ok && checkString(text) == nil
		}
		return []byte(text), rest, ok
	case kindBool:
		if len(b) < 1 || b[0] > 1 {
			return nil, nil, false
		}
		return b[0] == 1, b[1:], true
	default:
		if len(b) < 12 {
			return nil, nil, false
		}
		nanos := binary.BigEndian.Uint32(b[8:])
		t := time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos)).UTC()
		return t, b[12:], nanos < 1e9 && checkTime(t) == nil
	}
}
