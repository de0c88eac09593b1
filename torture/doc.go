// Package torture holds the fault runs of subscriptions: processes that share
// one store are killed, halted and joined by others while they work, and what
// they did is compared with the log. There is nothing in it but tests.
package torture
