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
//   - A decision is a function that reads and commits: [Decide] stores its commits only
//     if what it has read still holds, and runs it again otherwise.
//   - A subscription processes events continuously, in order, at least once, and
//     stores its cursor: [NewSubscription].
//   - An [Executor] is the storage. There is one package for each storage under
//     executor; executor/sqlite is the one to begin with.
//
// All events of a store are in one total order, each at its position. No writer can
// add an event below a position that somebody has read, so a subscription that has
// passed a position has missed nothing before it. docs/ordering.md explains how the
// executors keep this promise.
//
// The package is not a message queue between applications, nor a database for
// state that needs no history.
package evento
