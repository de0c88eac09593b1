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
//   - [Command] tests a function that commits events itself.
//   - [Subscribe] tests a subscription: what its handlers commit and do, which
//     events are parked, and that handling an event twice does no harm.
//   - [Event] is a payload with further fields of the event: the aggregate's id,
//     metadata, a time. It can be used wherever a payload can. [Of] is the short
//     form for the id.
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
// The package is not for testing an executor: see executor/executortest. Test a
// subscription that is Transactional on the executor itself, as its handlers need
// that store's transaction.
package eventotest
