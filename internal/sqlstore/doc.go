// Package sqlstore is what the executors on SQL databases do alike, whatever the
// database:
//
//	dictionary.go  names that tables hold as numbers, and those of a transaction
//	plan.go        a query with its names looked up
//	append.go      a write in a transaction: accepted, refused, or stored already
//	tx.go          the caller's transaction in a context
//	pending.go     the writes of that, until its commit
//	columns.go     rows of events, and their columns
//	records.go     pages of records and snapshots
//	migrations.go  the files that make the tables
//	inspect.go     what tools ask of a store
//
// It has no driver, and no SQL but that of inspecting, which is the same for all.
package sqlstore
