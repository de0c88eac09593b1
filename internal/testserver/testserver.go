package testserver

import (
	"fmt"
	"os"
	"testing"
)

// Run runs the tests of a package that needs the server of an environment
// variable, and exits. Without the server they are left out, loudly; when CI is
// set that is a failure.
func Run(m *testing.M, variable string) {
	if os.Getenv(variable) != "" {
		os.Exit(m.Run())
	}
	fmt.Fprintf(os.Stderr, "\n*** LEFT OUT: the tests of this package need a server in %s; make test starts one ***\n\n", variable)
	if os.Getenv("CI") != "" {
		os.Exit(1)
	}
	os.Exit(0)
}
