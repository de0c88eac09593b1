package evento

import (
	"bytes"
	"fmt"
	old "math/rand"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/quick"
	"time"
)

// Types with names, for states.
type (
	celsius    float64
	fahrenheit float64
	label      string
	point      struct{ X, Y int }
	Span       struct{ From, To int8 }
)

// stateTypes makes types of states.
type stateTypes struct{ *rand.Rand }

func (r stateTypes) basic() reflect.Type {
	all := []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[uint16](),
		reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[celsius](), reflect.TypeFor[fahrenheit](),
		reflect.TypeFor[label](), reflect.TypeFor[time.Duration](), reflect.TypeFor[point](), reflect.TypeFor[Span](),
	}
	return all[r.IntN(len(all))]
}

func (r stateTypes) any(depth int) reflect.Type {
	if depth == 0 {
		return r.basic()
	}
	switch r.IntN(8) {
	case 0:
		return reflect.SliceOf(r.any(depth - 1))
	case 1:
		return reflect.ArrayOf(1+r.IntN(3), r.any(depth-1))
	case 2:
		return reflect.MapOf(reflect.TypeFor[string](), r.any(depth-1))
	case 3:
		return reflect.PointerTo(r.any(depth - 1))
	case 4, 5:
		return r.structure(depth - 1)
	}
	return r.basic()
}

func (r stateTypes) structure(depth int) reflect.Type {
	fields := make([]reflect.StructField, 1+r.IntN(4))
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: r.any(depth)}
		switch r.IntN(6) {
		case 0:
			fields[i].Tag = reflect.StructTag(fmt.Sprintf(`json:"f_%d"`, i))
		case 1:
			if k := fields[i].Type.Kind(); k == reflect.Pointer || k == reflect.String || k == reflect.Int {
				fields[i].Tag = `cbor:",omitempty"`
			}
		}
	}
	return reflect.StructOf(fields)
}

// bend changes one thing of a struct, of which a snapshot depends.
func (r stateTypes) bend(t reflect.Type) reflect.Type {
	fields := make([]reflect.StructField, t.NumField())
	for i := range fields {
		fields[i] = t.Field(i)
		fields[i].Offset, fields[i].Index = 0, nil
	}
	f := &fields[r.IntN(len(fields))]
	switch r.IntN(7) {
	case 0:
		f.Name += "x"
	case 1:
		f.Type = reflect.PointerTo(f.Type)
	case 2:
		f.Type = reflect.SliceOf(f.Type)
	case 3:
		f.Type = r.any(1)
	case 4:
		*f = reflect.StructField{Name: "Span", Type: reflect.TypeFor[Span](), Anonymous: r.IntN(2) == 0}
	case 5:
		if f.Type.Kind() == reflect.Array {
			f.Type = reflect.ArrayOf(f.Type.Len()+1, f.Type.Elem())
		}
	case 6:
		f.Tag = `json:"another"`
	}
	return reflect.StructOf(fields)
}

// Two types of one shape are one type, and what is stored of a state comes back.
func TestShapesTellTypesApart(t *testing.T) {
	t.Parallel()
	const seed = 1
	r := stateTypes{rand.New(rand.NewPCG(seed, 0))}
	random := old.New(old.NewSource(seed)) // as testing/quick needs it
	differ := 0
	for i := range 1500 {
		a := r.structure(3)
		b := r.bend(a)
		shapeA, errA := describe(a)
		shapeB, errB := describe(b)
		if errA != nil || errB != nil { // such as pointers to pointers
			continue
		}
		if (a == b) != (shapeA == shapeB) {
			t.Fatalf("number %d: the shapes are %q and %q, of\n%s\n%s", i, shapeA, shapeB, a, b)
		}
		if a != b {
			differ++
		}
		comesBack(t, random, a)
		comesBack(t, random, b)
	}
	if differ < 500 {
		t.Errorf("only %d pairs differed", differ)
	}
}

func comesBack(t *testing.T, random *old.Rand, typ reflect.Type) {
	t.Helper()
	v, ok := quick.Value(typ, random)
	if !ok {
		t.Fatalf("no value of %s", typ)
	}
	stored := reflect.New(typ)
	stored.Elem().Set(v)
	data, err := marshalCBOR(stateEncoding, stored.Interface())
	if err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	back := reflect.New(typ)
	if err := cborDecoding.Unmarshal(data, back.Interface()); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	again, err := marshalCBOR(stateEncoding, back.Interface())
	if err != nil || !bytes.Equal(again, data) || !reflect.DeepEqual(stored.Interface(), back.Interface()) {
		t.Fatalf("%s: %+v came back as %+v, %v", typ, stored.Elem(), back.Elem(), err)
	}
}
