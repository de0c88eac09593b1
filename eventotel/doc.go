// Package eventotel makes OpenTelemetry traces and metrics of commits and
// subscriptions. It uses only the OpenTelemetry API; the application chooses with
// the SDK where they are exported to.
//
//	tel, err := eventotel.New(nil)
//	if err != nil {
//		return err
//	}
//	ex := tel.Executor(store)
//	sub, err := evento.NewSubscription("mails").Hooks(tel.Hooks()).Handler(…).Start(ctx, ex)
//
// A commit is a span. Its context is stored in the metadata of its events, as W3C
// traceparent and tracestate in Metadata.Values. Handling an event is a span too,
// which links to the span of the event's commit. Names and attributes are those of
// the semantic conventions for messaging, where they exist:
// https://opentelemetry.io/docs/specs/semconv/messaging/
// A span's name is its operation, "commit" or "handle", and the aggregate type, unless
// the events are of several.
//
// If a subscription has a routing key, its spans and metrics have the attribute
// evento.subscription.routing_key besides its key.
//
// The metrics:
//
//   - messaging.client.operation.duration, in seconds: how long commits take;
//   - messaging.client.sent.messages: committed events, those of a transaction when it
//     is committed;
//   - messaging.process.duration, in seconds: how long handlers take;
//   - messaging.client.consumed.messages: events handled, including those that
//     failed;
//   - evento.commit.events: how many events a commit has;
//   - evento.commit.conflicts: commits that had a conflict;
//   - evento.subscription.retries: handler calls that failed and will be repeated;
//   - evento.subscription.failures: events that failed after all retries;
//   - evento.subscription.lag, in seconds: how old an event is when its handler
//     begins;
//   - evento.subscription.owned: how many partitions this process owns.
//
// Why: docs/decisions.md, "OpenTelemetry is a package of its own".
package eventotel
