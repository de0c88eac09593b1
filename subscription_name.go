// What tells a subscription from others: its key and its routing key.

package evento

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// subscriptionName tells a subscription from others. Its records have its key,
// and parts that begin with a prefix, which is that of its routing key.
type subscriptionName struct {
	key, routingKey string
	prefix          string // "": without a routing key
}

const routePrefix = "route-"

func nameOf(key, routingKey string) subscriptionName {
	n := subscriptionName{key: key, routingKey: routingKey}
	if routingKey != "" {
		hash := sha256.Sum256([]byte(routingKey))
		n.prefix = fmt.Sprintf("%s%x-", routePrefix, hash[:16])
	}
	return n
}

// String is what errors say.
func (n subscriptionName) String() string {
	if n.routingKey == "" {
		return shorten(n.key)
	}
	return shorten(n.key) + " of routing key " + shorten(n.routingKey)
}

func (n subscriptionName) check() error {
	if err := checkName("subscription key", n.key); err != nil || n.routingKey == "" {
		return err
	}
	return checkName("routing key", n.routingKey)
}

// shared is the record of the whole subscription.
func (n subscriptionName) shared() RecordKey {
	if n.prefix == "" {
		return RecordKey{Kind: subscriptionKind, Key: n.key}
	}
	return RecordKey{subscriptionKind, n.key, n.prefix + "shared"}
}

func (n subscriptionName) partition(p int) RecordKey {
	return RecordKey{subscriptionKind, n.key, fmt.Sprintf("%s%04d", n.prefix, p)}
}

func (n subscriptionName) instance(part string) RecordKey {
	return RecordKey{subscriptionKind, n.key, n.prefix + part}
}

// before is a key before all records of a kind that are the subscription's, and
// behind those of the subscriptions before.
func (n subscriptionName) before(kind string) RecordKey {
	if n.prefix == "" {
		return RecordKey{}
	}
	return RecordKey{kind, n.key, strings.TrimSuffix(n.prefix, "-")}
}

// owns cuts the prefix from a part, and reports whether it is the subscription's.
func (n subscriptionName) owns(part string) (rest string, ok bool) {
	if n.prefix == "" {
		return part, !strings.HasPrefix(part, routePrefix)
	}
	return strings.CutPrefix(part, n.prefix)
}

// each calls fn with the subscription's records of a kind, in order, with the
// parts without their prefix, and returns the time of the store.
func (n subscriptionName) each(ctx context.Context, ex Executor, kind string, limit int, fn func(part string, r Record) error) (now time.Time, err error) {
	for q := (RecordQuery{Kind: kind, Key: n.key, After: n.before(kind), Limit: limit}); ; {
		page, err := ex.Records(ctx, q)
		if err != nil {
			return now, err
		}
		now = page.Now
		for _, r := range page.Records {
			part, ok := n.owns(r.Part)
			if !ok {
				return now, nil
			}
			if err := fn(part, r); err != nil {
				return now, err
			}
			q.After = r.RecordKey
		}
		if !page.More {
			return now, nil
		}
	}
}
