package executortest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Config says how to open the stores that are tested, and what they are.
type Config struct {
	// Open returns an executor on a new, empty store. It fails t when it
	// cannot, and leaves what is to be removed afterwards to t.Cleanup. The
	// suite closes the executor before that. It is called from many tests
	// at once.
	Open func(t testing.TB) evento.Executor

	// Reopen closes ex, which Open or Reopen returned, as an orderly shutdown
	// would, and opens the same store again. ex may be closed already. The
	// suite closes what is returned. nil: the store does not outlive its
	// executor, and what is about reopening is left out.
	Reopen func(t testing.TB, ex evento.Executor) evento.Executor

	// Share opens another executor on the store of ex, as another instance
	// of the application would; ex stays open. The suite closes what is
	// returned. nil: a store has one executor at a time, and what is about
	// several is left out.
	Share func(t testing.TB, ex evento.Executor) evento.Executor

	// Beyond returns a well-formed cursor of the store of ex for a place
	// after its last event, which has the cursor last. nil: the store's
	// cursors are those of [cursor.Positions], and the suite makes it.
	Beyond func(t testing.TB, ex evento.Executor, last cursor.Value) cursor.Value

	// Gaps says that positions rise, but may leave numbers out. The zero
	// value holds the store to 1, 2, 3, …
	Gaps bool

	// NoPositions says that the events of one cursor have positions in
	// several stores: CursorAt refuses every position but 0. The zero value
	// holds the store to have the cursor of each.
	NoPositions bool

	// Transactor says that the executors are those of an
	// [evento.Transactor]. The zero value holds them to refuse InTx with
	// [errors.ErrUnsupported], if they have it.
	Transactor bool

	// OneWriter says that a transaction keeps every other writer waiting
	// until its end.
	OneWriter bool

	// Spoil has ways to spoil a transaction, by name: each does something in
	// that of ctx, and returns nil, after which it cannot be committed. Such
	// are a deferred constraint that does not hold, and to pass over the error
	// of a statement that ends the transaction. nil: what is about spoiled
	// transactions is left out.
	Spoil map[string]func(ctx context.Context) error

	// Without names topics that are left out: for an executor made of another
	// one, which another run of the suite on an executor of the same kind holds
	// to them. nil: none.
	Without []string

	// Patience bounds each test: how long it waits for what has to happen
	// before it fails. 0: two minutes. A store that keeps the contract never
	// makes a test wait it out.
	Patience time.Duration
}

// Test runs the suite, a subtest for each topic of the contract, and returns
// when all are done.
func Test(t *testing.T, c Config) {
	t.Helper()
	c = c.withDefaults(t)
	type topic struct {
		name string
		test func(*testing.T, Config)
	}
	topics := []topic{
		{"Append", testAppend},
		{"Conflict", testConflict},
		{"Atomic", testAtomic},
		{"Retry", testRetry},
		{"Conditions", testConditions},
		{"Order", testOrder},
		{"Pages", testPages},
		{"Filters", testFilters},
		{"Tags", testTags},
		{"Routing", testRouting},
		{"Cursors", testCursors},
		{"Places", testPlaces},
		{"Iteration", testIteration},
		{"Names", testNames},
		{"Payloads", testPayloads},
		{"Timestamps", testTimestamps},
		{"Snapshots", testSnapshots},
		{"Records", testRecords},
		{"WithRecords", testWithRecords},
		{"Deadlines", testDeadlines},
		{"Changed", testChanged},
		{"Follow", testFollow},
		{"Contexts", testContexts},
		{"Close", testClose},
		{"Library", testLibrary},
		{"Delivery", testDelivery},
		{"Staged", testStaged},
		{"InTx", testInTx},
		{"Import", testImport},
		{"History", testHistory},
	}
	if c.Reopen != nil {
		topics = append(topics, topic{"Reopen", testReopen})
	}
	for _, name := range c.Without {
		if !slices.ContainsFunc(topics, func(t topic) bool { return t.name == name }) {
			t.Fatalf("executortest: Config.Without: there is no topic %s", name)
		}
	}
	for _, topic := range topics {
		if slices.Contains(c.Without, topic.name) {
			continue
		}
		// A topic waits for its parallel subtests, and so Test for all.
		t.Run(topic.name, func(t *testing.T) { topic.test(t, c) })
	}
}

func (c Config) withDefaults(t testing.TB) Config {
	t.Helper()
	if c.Open == nil {
		t.Fatal("executortest: Config.Open is nil")
	}
	if c.Beyond == nil {
		c.Beyond = beyondPositions
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	return c
}

// run is a subtest on a store of its own.
func (c Config) run(t *testing.T, name string, test func(context.Context, *testing.T, Config, evento.Executor)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), c.Patience)
		defer cancel()
		test(ctx, t, c, c.open(t))
	})
}

// open opens a store that the end of the test closes.
func (c Config) open(t testing.TB) evento.Executor {
	t.Helper()
	return closing(t, c.Open(t))
}

func (c Config) reopen(t testing.TB, ex evento.Executor) evento.Executor {
	t.Helper()
	return closing(t, c.Reopen(t, ex))
}

func (c Config) share(t testing.TB, ex evento.Executor) evento.Executor {
	t.Helper()
	return closing(t, c.Share(t, ex))
}

// all are the executors on a store: ex, and another one where it can be shared.
func (c Config) all(t testing.TB, ex evento.Executor) []evento.Executor {
	t.Helper()
	if c.Share == nil {
		return []evento.Executor{ex}
	}
	return []evento.Executor{ex, c.share(t, ex)}
}

// another is another executor on the store of ex, or ex where it is the only one.
func (c Config) another(t testing.TB, ex evento.Executor) evento.Executor {
	t.Helper()
	exs := c.all(t, ex)
	return exs[len(exs)-1]
}

func closing(t testing.TB, ex evento.Executor) evento.Executor {
	t.Helper()
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return ex
}
