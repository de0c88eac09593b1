package executortest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/executortest"
)

// mutant is an executor with a fault, and the subtests that must notice it.
type mutant struct {
	name     string
	caughtBy []string // with a "?" in front: by chance, at least one of them
	bend     func(*bent)
}

// bent is a sound executor of which some methods are replaced; nil is not.
type bent struct {
	*handle
	write           func(context.Context, evento.Write) ([]evento.Receipt, error)
	imports         func(context.Context, []evento.RawEvent) error
	read            func(context.Context, evento.Query, cursor.Args) (*page, error)
	changed         func() <-chan struct{}
	feed            func() *evento.Feed
	cursorAt        func(uint64) (cursor.Value, error)
	earlier         func(a, b cursor.Value) (cursor.Value, error)
	records         func(context.Context, evento.RecordQuery) (*evento.RecordPage, error)
	swap            func(context.Context, evento.Swap) error
	snapshot        func(context.Context, evento.SnapshotKey) (evento.Snapshot, error)
	saveSnapshot    func(context.Context, evento.SnapshotKey, evento.Snapshot) error
	snapshots       func(context.Context, evento.SnapshotQuery) (*evento.SnapshotPage, error)
	removeSnapshots func(context.Context, []evento.SnapshotKey) error
	inTx            func(context.Context, func(context.Context) error) error
	shut            func() error
}

type page = cursor.Page[evento.RawEvent]

// bend returns an executor with the methods of the handle, but for those that
// with replaces.
func bend(h *handle, with func(*bent)) *bent {
	b := &bent{
		handle: h,
		write:  h.Write, imports: h.Import, read: h.Read, changed: h.Changed, feed: h.Feed,
		cursorAt: h.CursorAt, earlier: h.Earlier,
		records: h.Records, swap: h.Swap,
		snapshot: h.Snapshot, saveSnapshot: h.SaveSnapshot, snapshots: h.Snapshots, removeSnapshots: h.RemoveSnapshots, inTx: unsupported, shut: h.Close,
	}
	with(b)
	return b
}

func (b *bent) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	return b.write(ctx, w)
}

func (b *bent) Import(ctx context.Context, events []evento.RawEvent) error {
	return b.imports(ctx, events)
}

func (b *bent) Read(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
	return b.read(ctx, q, args)
}

func (b *bent) Changed() <-chan struct{} { return b.changed() }

func (b *bent) CursorAt(position uint64) (cursor.Value, error) { return b.cursorAt(position) }

func (b *bent) Earlier(first, second cursor.Value) (cursor.Value, error) {
	return b.earlier(first, second)
}

func (b *bent) Feed() *evento.Feed { return b.feed() }

func (b *bent) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	return b.records(ctx, q)
}

func (b *bent) Swap(ctx context.Context, s evento.Swap) error { return b.swap(ctx, s) }

func (b *bent) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	return b.snapshot(ctx, key)
}

func (b *bent) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	return b.saveSnapshot(ctx, key, s)
}

func (b *bent) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	return b.snapshots(ctx, q)
}

func (b *bent) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	return b.removeSnapshots(ctx, keys)
}

func (b *bent) InTx(ctx context.Context, fn func(context.Context) error) error {
	return b.inTx(ctx, fn)
}

func unsupported(context.Context, func(context.Context) error) error { return errors.ErrUnsupported }

func (b *bent) Close() error { return b.shut() }

// mutantEnv names the mutant that a child process tests.
const mutantEnv = "EVENTO_TEST_MUTANT"

func mutants() []mutant {
	return slices.Concat(writeMutants(), conditionMutants(), recordMutantsOfWrites(), importMutants(), readMutants(), placeMutants(), recordMutants(), snapshotMutants(), stateMutants())
}

// TestMutants runs the suite on each mutant in a child process, as a test
// cannot fail and be counted as good within its own.
func TestMutants(t *testing.T) {
	t.Parallel()
	if os.Getenv(mutantEnv) != "" {
		return // the child's part is TestMutant
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var topics, subtests []string
			for _, path := range m.caughtBy {
				topic, subtest, _ := strings.Cut(strings.TrimPrefix(path, "?"), "/")
				topics, subtests = append(topics, topic), append(subtests, subtest)
			}
			pattern := "^TestMutant$/^(" + strings.Join(topics, "|") + ")$/^(" + strings.Join(subtests, "|") + ")$"
			cmd := exec.CommandContext(t.Context(), self, "-test.run", pattern, "-test.timeout", "1m")
			cmd.Env = append(os.Environ(), mutantEnv+"="+m.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("%s passed, want it caught:\n%s", pattern, out)
			}
			for _, path := range m.caughtBy {
				if !strings.HasPrefix(path, "?") && !strings.Contains(string(out), "--- FAIL: TestMutant/"+path+" (") {
					t.Errorf("%s did not catch it:\n%.3000s", path, out)
				}
			}
			if strings.Contains(string(out), "panic: ") || strings.Contains(string(out), "DATA RACE") {
				t.Errorf("it failed for another reason:\n%.3000s", out)
			}
		})
	}
}

// TestMutant is the child of TestMutants.
func TestMutant(t *testing.T) {
	t.Parallel()
	name := os.Getenv(mutantEnv)
	for _, m := range mutants() {
		if m.name == name {
			c := handles(func(h *handle) evento.Executor { return bend(h, m.bend) })
			c.Patience = 2 * time.Second // as some make a test wait for nothing
			executortest.Test(t, c)
		}
	}
}
