// Package eventotel makes OpenTelemetry traces and metrics of commits and
// subscriptions. It uses the API alone; an application chooses what becomes of
// them with the SDK.
//
//	tel, err := eventotel.New(nil)
//	if err != nil {
//		return err
//	}
//	ex := tel.Executor(store)
//	sub, err := evento.NewSubscription("mails").Hooks(tel.Hooks()).Handler(…).Start(ctx, ex)
//
// A commit is a span, whose context travels in the metadata of its events (as
// W3C traceparent and tracestate in Metadata.Values). Handling an event is a
// span too, which links to that of its commit. Names and attributes are those of
// the semantic conventions for messaging, where they have one:
// https://opentelemetry.io/docs/specs/semconv/messaging/
//
// Of a subscription with a routing key, spans and metrics have
// evento.subscription.routing_key beside its key.
//
// The metrics:
//
//   - messaging.client.operation.duration, in seconds: how long commits take;
//   - messaging.client.sent.messages: committed events;
//   - messaging.process.duration, in seconds: how long handlers take;
//   - messaging.client.consumed.messages: events handled, those that failed
//     included;
//   - evento.commit.events: how many events a commit has;
//   - evento.commit.conflicts: commits that met another writer;
//   - evento.subscription.retries, evento.subscription.failures: handlers to be
//     called again, and events whose retries ran out;
//   - evento.subscription.lag, in seconds: how old an event is when its handler
//     begins;
//   - evento.subscription.owned: how many partitions this process has.
package eventotel
