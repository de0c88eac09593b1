// Package store is what executors have in common, whatever storage they are on:
//
//	gate.go       whether the executor is open
//	errors.go     texts of errors
//	page.go       reading a page of events: what was asked for, what was found
//	snapshots.go  a page of snapshots
//	import.go     taking over events of another store
//	changed.go    waking those who wait for a change, also of several executors
//	watch.go      asking for commits of other processes
//	merge.go      merging several ways through the events
//	cache.go      a bounded cache
//	raise.go      a mark that only rises
//	slab.go       copies of many small byte slices
//	refusing.go   an executor that refuses everything
//
// What only those on SQL databases share is in internal/sqlstore, and the queue of
// a group commit in internal/appendqueue.
package store
