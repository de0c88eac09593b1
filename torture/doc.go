// Package torture proves the promises of a store on that store itself. [Run] lets several workers
// write to it, follow it and handle its events, kills them again and again, and compares what they
// were told and given, the history, with the log in the end:
//
//   - Durable: each acknowledged event is in the log, at its version and position, with its content.
//   - NoGhost: what was refused is not in the log; what has an unknown outcome is there as a whole,
//     or not at all.
//   - Once: no event is there twice.
//   - Gapless: the versions of an aggregate are 1, 2, 3, …, and an append is where it expected to be.
//   - RealTime: what was acknowledged before something else began is before it in the log.
//   - Serializable: no event that a condition excludes is between its place and the write; what a
//     decision has read was so when it committed; records change with their events.
//   - SameOrder: everybody who follows the log is given exactly its events, in its order, also those
//     that somebody commits late.
//   - Complete and Ordered: a subscription handles each event, and handles it for the first time in
//     its place; with partitions, in its place of the aggregate.
//   - Fenced: the stored place of a partition never goes back.
//   - OnceDue: a deadline's event appears once, not early, and not after it was cleared.
//   - Reached: when workers are told to end, everybody who follows the log comes to its last position,
//     and so do the subscriptions: none ends on the way or hangs.
//   - Live: after the faults have stopped, a worker that begins then handles all that is left.
//
// The invariants and the way of judging by a history of invocations and answers are those of
// Jepsen (https://jepsen.io); the code is not.
//
// The tests of the package run it on every executor, on memory with bugs put in, each of which it
// must find, and test what it cannot see: transactions, hand-overs, partitions. `evento torture`
// runs it on a store of yours. It is no benchmark: workers pause between operations.
package torture
