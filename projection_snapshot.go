// Stored projection states.

package evento

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento/cursor"
)

func (p *Projection[V]) snapshotKey(id string, related []Filter) (SnapshotKey, error) {
	shape, err := p.shape()
	if err != nil {
		return SnapshotKey{}, fmt.Errorf("projection %s: %w", shorten(p.name), err)
	}
	return SnapshotKey{
		Projection: p.name, Revision: p.revision,
		Variant:       shape + variantHash(relatedText(related)...),
		AggregateType: p.aggregateType, AggregateID: id,
	}, nil
}

// loadSnapshot fills in l from the snapshot under key, if there is one that is
// of use, and returns the place after which to go on.
func loadSnapshot[V any](ctx context.Context, ex Executor, key SnapshotKey, l *Loaded[V], version *uint64) (cursor.Value, error) {
	s, err := ex.Snapshot(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case version != nil && s.Version >= *version:
		return "", nil // related events may be newer than the version
	}
	var state V
	if CBOR().Unmarshal(s.Data, &state) != nil {
		return "", nil //nolint:nilerr // no longer decodes: it is rebuilt from the events
	}
	l.State, l.Version, l.Position = state, s.Version, s.Position
	return s.Cursor, nil
}

func saveSnapshot[V any](ctx context.Context, ex Executor, key SnapshotKey, l *Loaded[V], at cursor.Value) error {
	s, err := encodeSnapshot(key, l, at)
	if err != nil {
		return err
	}
	return ex.SaveSnapshot(ctx, key, s)
}

func encodeSnapshot[V any](key SnapshotKey, l *Loaded[V], at cursor.Value) (Snapshot, error) {
	data, err := CBOR().Marshal(&l.State)
	if err != nil {
		return Snapshot{}, fmt.Errorf("evento: encoding a snapshot of projection %q: %w", key.Projection, err)
	}
	if len(data) > MaxPayload {
		return Snapshot{}, fmt.Errorf("%w: snapshot of projection %q of %d bytes, at most %d are allowed", ErrTooLarge, key.Projection, len(data), MaxPayload)
	}
	return Snapshot{Version: l.Version, Position: l.Position, Cursor: at, Data: data}, nil
}

// A snapshot's variant is the hash of its state's shape and that of the related
// aggregates, so that those of another shape can be told from the present ones.
const variantHashLen = 32

func variantHash(texts ...string) string { return HashIDs(texts...)[:variantHashLen] }

// snapshotShape is the hash of the fields of V, so that a snapshot of another
// shape is not taken for one of this. It refuses a V of which a snapshot would
// lose something.
func snapshotShape[V any]() (string, error) {
	var b strings.Builder
	if err := describe(&b, reflect.TypeFor[V](), "", map[reflect.Type]bool{}); err != nil {
		return "", err
	}
	return variantHash(b.String()), nil
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	cborMarshaler   = reflect.TypeFor[cbor.Marshaler]()
	binaryMarshaler = reflect.TypeFor[encoding.BinaryMarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
)

func describe(b *strings.Builder, t reflect.Type, path string, seen map[reflect.Type]bool) error {
	ptr := reflect.PointerTo(t)
	switch {
	case t == timeType, ptr.Implements(cborMarshaler), ptr.Implements(binaryMarshaler), ptr.Implements(textMarshaler):
		b.WriteString(t.String()) // stores itself
		return nil
	case seen[t]:
		b.WriteString("^" + t.String())
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		seen[t] = true
		defer delete(seen, t)
		b.WriteString("struct{")
		for i := range t.NumField() {
			f := t.Field(i)
			name := strings.TrimPrefix(path+"."+f.Name, ".")
			tag := f.Tag.Get("cbor")
			if tag == "" {
				tag = f.Tag.Get("json")
			}
			if tag == "-" {
				continue // left out on purpose
			}
			if !f.IsExported() && (!f.Anonymous || f.Type.Kind() != reflect.Struct) {
				return fmt.Errorf("%w state: a snapshot would lose the unexported field %s of %s: export it, tag it `cbor:\"-\"`, or give the type MarshalBinary", ErrInvalid, name, t)
			}
			b.WriteString(f.Name + " " + tag + " ")
			if err := describe(b, f.Type, name, seen); err != nil {
				return err
			}
			b.WriteString(";")
		}
		b.WriteString("}")
		return nil
	case reflect.Map:
		b.WriteString("map[")
		if err := describe(b, t.Key(), path+"[key]", seen); err != nil {
			return err
		}
		b.WriteString("]")
		return describe(b, t.Elem(), path+"[]", seen)
	case reflect.Slice, reflect.Array, reflect.Pointer:
		fmt.Fprintf(b, "%s ", t.Kind())
		return describe(b, t.Elem(), path, seen)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Interface, reflect.Uintptr:
		return fmt.Errorf("%w state: a snapshot cannot give back %s of type %s", ErrInvalid, strings.TrimPrefix(path, "."), t)
	default:
		b.WriteString(t.Kind().String())
		return nil
	}
}
