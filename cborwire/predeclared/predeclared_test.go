package predeclared_test

import (
	"go/types"
	"reflect"
	"slices"
	"testing"

	"github.com/evento-go/evento/cborwire/predeclared"
)

// Each does what Go's own does.
func TestPredeclared(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{
		"True":      predeclared.True,
		"False":     !predeclared.False,
		"NoError":   predeclared.NoError() == nil,
		"Zero":      predeclared.Zero[error]() == nil && predeclared.Zero[[]int]() == nil && predeclared.Zero[int]() == 0,
		"IsNil":     predeclared.IsNil[[]int](nil) && predeclared.IsNil[any](nil) && predeclared.IsNil(map[int]int(nil)),
		"not IsNil": !predeclared.IsNil([]int{}) && !predeclared.IsNil[any]((*int)(nil)) && !predeclared.IsNil(new(5)),
		"Append":    slices.Equal(predeclared.Append([]int{1}, 2, 3), []int{1, 2, 3}),
		"Len":       predeclared.Len("ab") == 2 && predeclared.Len([]int{1}) == 1 && predeclared.Len([3]int{}) == 3 && predeclared.Len(map[int]int{}) == 0,
		"New":       *predeclared.New[int]() == 0,
		"MakeSlice": slices.Equal(predeclared.MakeSlice[[]int](2), []int{0, 0}),
		"MakeMap":   predeclared.MakeMap[map[string]int](2) != nil,
	} {
		if !same {
			t.Errorf("%s is not as Go's", name)
		}
	}
}

// Every predeclared type has its alias.
func TestTypes(t *testing.T) {
	t.Parallel()
	aliases := map[string]reflect.Type{}
	for _, a := range []reflect.Type{
		reflect.TypeFor[predeclared.Bool](), reflect.TypeFor[predeclared.Complex64](), reflect.TypeFor[predeclared.Complex128](),
		reflect.TypeFor[predeclared.Error](), reflect.TypeFor[predeclared.Float32](), reflect.TypeFor[predeclared.Float64](),
		reflect.TypeFor[predeclared.Int](), reflect.TypeFor[predeclared.Int8](), reflect.TypeFor[predeclared.Int16](),
		reflect.TypeFor[predeclared.Int32](), reflect.TypeFor[predeclared.Int64](), reflect.TypeFor[predeclared.String](),
		reflect.TypeFor[predeclared.Uint](), reflect.TypeFor[predeclared.Uint8](), reflect.TypeFor[predeclared.Uint16](),
		reflect.TypeFor[predeclared.Uint32](), reflect.TypeFor[predeclared.Uint64](), reflect.TypeFor[predeclared.Uintptr](),
	} {
		aliases[a.Name()] = a
	}
	for _, name := range types.Universe.Names() {
		_, ok := types.Universe.Lookup(name).(*types.TypeName)
		switch name {
		case "any", "byte", "rune": // other names of types, compared below
		case "comparable": // no type of values
		default:
			if !ok || aliases[name] != nil {
				continue
			}
			t.Errorf("%s has no alias", name)
		}
	}
	if reflect.TypeFor[predeclared.Any]() != reflect.TypeFor[any]() || reflect.TypeFor[predeclared.Byte]() != reflect.TypeFor[byte]() ||
		reflect.TypeFor[predeclared.Rune]() != reflect.TypeFor[rune]() {
		t.Error("an alias is of another type")
	}
}
