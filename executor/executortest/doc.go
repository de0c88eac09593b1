// Package executortest holds an [evento.Executor] to its contract: a test
// suite and a benchmark for everybody who writes one.
//
// Its nouns are [Config], which says how to open a store, [Test], which runs
// the suite on it, and [Benchmark]. A whole test file of an executor is:
//
//	func TestContract(t *testing.T) {
//		executortest.Test(t, executortest.Config{
//			Open: func(t testing.TB) evento.Executor {
//				return open(t, t.TempDir())
//			},
//		})
//	}
//
//	func BenchmarkExecutor(b *testing.B) {
//		executortest.Benchmark(b, executortest.Config{Open: …})
//	}
//
// Run it with -race. What the suite demands is what is written at
// [evento.Executor], [evento.Query] and [cursor.PageInfo], and no more. The
// topics are subtests; those that are alike share a file:
//
//   - Append, Conflict, Atomic, Retry: what one write does, and what it does
//     when it does not fit, spans aggregates, or is made twice;
//   - Conditions: what was read still holds when a write is stored;
//   - Order: the total order under concurrent writers and readers;
//   - Pages, Filters, Tags, Routing, Cursors, Places, Iteration: reading;
//   - Names, Payloads, Timestamps: that bytes come back unchanged;
//   - Snapshots, Records, Changed: what projections and subscriptions are
//     built on;
//   - WithRecords, Deadlines: records, and deadlines, that change with events;
//   - Follow: those who follow queries, and share a feed;
//   - Contexts, Close, Reopen: cancellation, shutdown, and what outlives it;
//   - Library: projections and subscriptions at work on the store;
//   - Delivery, Staged: what subscriptions promise, also transactional ones;
//   - InTx: commits in a transaction of the storage, if it has them;
//   - Import: taking over events of another store, if it is an
//     [evento.Importer];
//   - History: long random histories, compared step by step with
//     executor/memory. A failure prints its seed; EVENTO_SEED=<seed> in the
//     environment plays it again, EVENTO_STEPS=<n> sets the length.
//
// Every subtest opens a store of its own, and those of a topic run in
// parallel. Nothing is skipped: a Config that leaves a field out leaves out
// the subtests that need it, and one may name topics to leave out.
//
// The package cannot crash machines: that what was acknowledged survives a
// power cut is for fault runs to show.
package executortest
