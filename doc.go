// Package evento is event sourcing: an application records what happened as
// immutable events, and computes everything else from them.
//
// Its nouns:
//
//   - An event is a fact about an aggregate, the entity that it happened to:
//     an account, an order. [Payload] is what an application says of it,
//     [RawEvent] what is stored, [Event] the two together.
//   - An aggregate's events carry the versions 1, 2, 3, …; a commit names the
//     version that it was decided on, and is refused with [ErrConflict] when
//     another was faster (optimistic concurrency). [Create] and [Aggregate]
//     begin a commit, [CommitAll] makes several one.
//   - A [Projection] replays events into a state; a snapshot stores that state
//     so that the next replay is short. [Projection.Update] decides on it.
//   - A subscription processes events continuously, in order, at least once,
//     and stores its cursor: [NewSubscription].
//   - An [Executor] is where all of it is stored. The packages under executor
//     have one a storage; executor/sqlite is the one to begin with.
//
// Every event of a store has a position in one total order that no writer can
// add to below a place that somebody has read: a subscription that went past
// a position has missed nothing before it. How the executors keep that is in
// docs/ordering.md.
//
// The package is not a message queue between applications, nor a database for
// state that needs no history.
package evento
