// Package eventotest tests applications of evento: given some events, when
// something is done, then this is the state, or these are the new events. A test
// needs no store; it runs the application's own projections, decisions, commands
// and subscriptions on a private store in memory.
//
//	func TestDeposit(t *testing.T) {
//		eventotest.Project(t, accounts).
//			Given(AccountOpened{Owner: "Ann"}, MoneyDeposited{Amount: 5}).
//			Then(Account{Owner: "Ann", Balance: 5})
//	}
//
// Its nouns:
//
//   - [Project] tests a projection: the state that it computes from events. With
//     When it tests a decision of [evento.Projection.Update]: the events that
//     follow from the state.
//   - [Command] tests a function that commits events itself or, with Decide, one of
//     [evento.Decide].
//   - [Subscribe] tests a subscription: what its handlers commit and do, which
//     events are parked, and that handling an event twice does no harm. With ThenRecords it
//     also tests the records that they keep.
//   - [Event] is a payload with further fields of the event: the aggregate's id,
//     metadata, a time. It can be used wherever a payload can. [Of] is the short
//     form for the id.
//   - [Deadline] is one that was set, or is wanted to be, and [Cleared] one that is
//     not set any more. With At, time passes, and deadlines come true, also while a
//     subscription runs.
//
// Every test ends with a method whose name begins with Then; a test without one
// fails. A failure lists the given events and shows the difference between what was
// wanted (-) and what was found (+).
//
// Payloads are encoded and decoded as in a store, so the test finds a field that
// would be lost there. Empty and nil slices and maps count as equal, and unexported
// fields are compared like others. Times and ids of the given events are the same
// in every run.
//
// The package is not for testing an executor: see executor/executortest. A subscription
// that is Transactional has no transaction of a storage here: test handlers that use it,
// for tables of their own, on that executor.
package eventotest
