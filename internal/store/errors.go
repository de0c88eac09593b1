// Texts of errors.

package store

import (
	"fmt"
	"strings"
)

// Errorf is [fmt.Errorf] for public errors: their text begins with "evento: ", and has
// it nowhere else, however many errors of the library are wrapped.
func Errorf(format string, args ...any) error {
	const prefix = "evento: "
	err := fmt.Errorf(format, args...)
	return &prefixed{prefix + strings.ReplaceAll(err.Error(), prefix, ""), err}
}

type prefixed struct {
	text string
	err  error
}

func (e *prefixed) Error() string { return e.text }
func (e *prefixed) Unwrap() error { return e.err }
