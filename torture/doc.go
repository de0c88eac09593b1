// Package torture has fault tests of subscriptions, decisions and deadlines: processes that
// share one store are killed, halted and joined by others while they work, and their results
// are compared with the log. It contains only tests.
package torture
