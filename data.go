// Values that a projection or a subscription hands to its handlers through
// their context.

package evento

import (
	"context"
	"reflect"
)

type (
	dataKey     struct{ t reflect.Type }
	executorKey struct{}
)

// shared is what builders collect with their Data methods.
type shared []any

func (s shared) into(ctx context.Context) context.Context {
	for _, v := range s {
		ctx = context.WithValue(ctx, dataKey{reflect.TypeOf(v)}, v)
	}
	return ctx
}

// Data returns the value of type T that was given to the Data method of the
// projection or subscription whose handler has this context, and whether
// there is one. T is the type of the value exactly as it was given.
func Data[T any](ctx context.Context) (T, bool) {
	v, ok := ctx.Value(dataKey{reflect.TypeFor[T]()}).(T)
	return v, ok
}

// ExecutorFrom returns the executor on which the subscription whose handler
// has this context runs; nil outside of one.
func ExecutorFrom(ctx context.Context) Executor {
	ex, _ := ctx.Value(executorKey{}).(Executor)
	return ex
}
