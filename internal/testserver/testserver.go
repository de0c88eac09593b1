package testserver

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// had and missed count the tests that got their server, and those that did not.
var had, missed atomic.Int64

// Run is the TestMain of a package whose tests need a server, and exits. When every test
// was left out, go test shows "[no tests to run]" beside the package. Without -v it can
// show nothing else of a package that did not fail.
func Run(m *testing.M) {
	status := m.Run()
	if missed.Load() > 0 && had.Load() == 0 {
		// The line by which go test knows.
		fmt.Println("testing: warning: no tests to run")
	}
	os.Exit(status)
}

// shared returns the address in an environment variable.
func shared(t testing.TB, variable, example string) string {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		leaveOut(t, fmt.Sprintf("no server: set %s to its address, such as %s, or use make test, which starts one", variable, example))
	}
	had.Add(1)
	return address
}

// LeaveOut ends a test that cannot run here: it is skipped or, where CI is set, fails.
func LeaveOut(t testing.TB, why string) {
	t.Helper()
	leaveOut(t, why)
}

// leaveOut ends a test that cannot run here: it is skipped or, where CI is set,
// fails.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	missed.Add(1)
	if os.Getenv("CI") != "" {
		t.Fatal("LEFT OUT: " + why)
	}
	t.Skip("LEFT OUT: " + why)
}
