// Package eventotest tests applications of evento: given what happened, when
// something is done, then this is the state, or these are the new events. A
// test needs no store; what it runs is the application's own projections,
// decisions, commands and subscriptions, on a store in memory that nobody sees.
//
//	func TestDeposit(t *testing.T) {
//		eventotest.Project(t, accounts).
//			Given(AccountOpened{Owner: "Ann"}, MoneyDeposited{Amount: 5}).
//			Then(Account{Owner: "Ann", Balance: 5})
//	}
//
// Its nouns:
//
//   - [Project] tests a projection: the state that it makes of events. With
//     When it tests a decision of [evento.Projection.Update]: the events that
//     follow from the state.
//   - [Command] tests a function that commits by itself.
//   - [Subscribe] tests a subscription: what its handlers commit and do, what
//     is parked, and that handling an event twice does no harm.
//   - [Event] is a payload with what is said beside it: the aggregate's id,
//     metadata, a time. It stands wherever a payload does. [Of] is the short
//     form for the id.
//
// Every test ends with a method that begins with Then; one that has none
// fails. A failure lists the given events and shows a difference of what was
// wanted (-) and what was got (+).
//
// Payloads go through their codec as in a store, so that a field that would be
// lost there is found here. Empty and nil slices and maps count as equal, and
// unexported fields are compared like others. Times and ids of the given events
// are the same in every run.
//
// The package is not for testing an executor: see executor/executortest. For a
// subscription that is Transactional use the executor itself, since its handlers
// need that store's transaction.
package eventotest
