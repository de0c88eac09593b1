package eventotest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// recorder is a testing.TB that records reports and their place, found as package
// testing finds it: the first caller that is not a helper.
type recorder struct {
	testing.TB
	helpers  map[string]bool
	reports  []string
	files    []string
	cleanups []func()
}

func caller(skip int) runtime.Frame {
	pc := make([]uintptr, 1)
	runtime.Callers(skip+2, pc)
	f, _ := runtime.CallersFrames(pc).Next()
	return f
}

func (r *recorder) Helper()           { r.helpers[caller(1).Function] = true }
func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }
func (r *recorder) Failed() bool      { return len(r.reports) > 0 }
func (r *recorder) Errorf(format string, args ...any) {
	f := caller(1)
	for skip := 2; r.helpers[f.Function]; skip++ {
		f = caller(skip)
	}
	r.files = append(r.files, f.File)
	r.note(fmt.Sprintf(format, args...))
}
func (r *recorder) Log(args ...any) { r.note(fmt.Sprint(args...)) }

// note reverses the random spaces in go-cmp's output.
func (r *recorder) note(text string) {
	r.reports = append(r.reports, strings.Join(strings.Fields(strings.ReplaceAll(text, "\u00a0", " ")), " "))
}

// record runs a test, and its cleanup, with a recorder.
func record(t *testing.T, test func(testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t, helpers: map[string]bool{}}
	test(r)
	for _, fn := range r.cleanups {
		fn()
	}
	return r
}

// wantPass checks that a test that uses the package passes.
func wantPass(t *testing.T, test func(testing.TB)) {
	t.Helper()
	if r := record(t, test); r.Failed() {
		t.Errorf("it failed, want a pass:\n%s", strings.Join(r.reports, "\n"))
	}
}

// wantFail checks that a test that uses the package fails, once, at a line of a
// test, and that its report has these texts.
func wantFail(t *testing.T, test func(testing.TB), texts ...string) {
	t.Helper()
	r := record(t, test)
	if len(r.reports) != 1 {
		t.Errorf("%d reports, want 1: %q", len(r.reports), r.reports)
		return
	}
	for _, text := range texts {
		if !strings.Contains(r.reports[0], text) {
			t.Errorf("it says\n%s\nwant in it\n%s", r.reports[0], text)
		}
	}
	if !strings.HasSuffix(r.files[0], "_test.go") {
		t.Errorf("reported at %s, want a line of the test", r.files[0])
	}
}
