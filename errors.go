package evento

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Errors that callers tell apart with [errors.Is].
var (
	// ErrConflict: what the commit was based on has changed: the aggregate is not
	// at the version that it expected, or an event matches one of its conditions.
	// Nothing was stored. [ConflictError] says which.
	ErrConflict = errors.New("evento: conflict")
	// ErrNoEvents: a commit without events.
	ErrNoEvents = errors.New("evento: no events to commit")
	// ErrOutcomeUnknown: the commit may or may not have been stored, because the
	// store's answer did not arrive. Committing the same builder again is safe and
	// finds out the outcome.
	ErrOutcomeUnknown = errors.New("evento: outcome unknown")
	// ErrTxRefused: a transaction was rolled back because of what was done in it,
	// though its function returned nil. Nothing was stored.
	ErrTxRefused = errors.New("evento: the transaction could not be committed because of what was done in it")
	// ErrInvalid: a name, id, key, version or option that is not accepted;
	// the text says which and why. Nothing was stored.
	ErrInvalid = errors.New("evento: invalid")
	// ErrTooLarge: a payload or commit over its limit. Nothing was stored.
	ErrTooLarge = errors.New("evento: too large")
	// ErrNotFound: the aggregate has no events, or not that version.
	ErrNotFound = errors.New("evento: not found")
	// ErrDeleted: the aggregate has had an event that [Projection.Tombstone] names. It
	// is an ErrNotFound too.
	ErrDeleted = fmt.Errorf("%w: deleted", ErrNotFound)
	// ErrUnhandledEvent: with a safety check, an event without a handler.
	ErrUnhandledEvent = errors.New("evento: unhandled event")
	// ErrNotKept: no subscription keeps all states of the projection's present
	// revision and shape.
	ErrNotKept = errors.New("evento: states are not kept")
	// ErrDecode: a stored payload that its codec cannot read. [DecodeError]
	// names the event.
	ErrDecode = errors.New("evento: undecodable event")
	// ErrDamaged: a record, or a file of the store, is not what was written; the text
	// names it.
	ErrDamaged = errors.New("evento: damaged")
	// ErrPaused: the subscription is paused, and the call needs it running.
	ErrPaused = errors.New("evento: subscription is paused")
	// ErrTakenOver: a newer worker took the subscription's key.
	ErrTakenOver = errors.New("evento: subscription taken over by a newer worker")
	// ErrRunning: the subscription has workers, and the call needs it to have none.
	ErrRunning = errors.New("evento: subscription is running")
	// ErrSwapped: a record is not at the revision that a [Swap] expected;
	// nothing was changed.
	ErrSwapped = errors.New("evento: record was changed meanwhile")
	// ErrClosed: the executor was closed, or closed itself after a failure
	// that leaves it unable to keep its promises; open it again.
	ErrClosed = errors.New("evento: executor closed")
	// ErrFull: the disk or the store's quota is full. Nothing was stored.
	ErrFull = errors.New("evento: no space left for the store")
	// ErrReadOnly: the store cannot be written to. Nothing was stored.
	ErrReadOnly = errors.New("evento: read-only store")
	// ErrNewerStore: the store was migrated by a newer release of the library.
	ErrNewerStore = errors.New("evento: store is newer than this library")
)

// ConflictError says at which version an aggregate was when a commit conflicted, or
// which condition did not hold. It matches [ErrConflict].
type ConflictError struct {
	AggregateType AggregateType `json:"aggregateType"`
	AggregateID   string        `json:"aggregateId"`
	// Expected and Actual are versions; 0 is an aggregate without events.
	Expected uint64 `json:"expected"`
	Actual   uint64 `json:"actual"`

	// Condition is which of [Write.Unless] did not hold, counted from 1, and Position
	// that of the first event that it excludes. 0: the conflict is one of versions.
	// Otherwise the fields above are not set.
	Condition int    `json:"condition,omitempty"`
	Position  uint64 `json:"position,omitempty"`
}

func (e *ConflictError) Error() string {
	if e.Condition > 0 {
		return fmt.Sprintf("%v: the event at position %d is one that condition %d of the write excludes", ErrConflict, e.Position, e.Condition)
	}
	return fmt.Sprintf("%v: %s %q is at version %d, not %d",
		ErrConflict, e.AggregateType, e.AggregateID, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// DecodeError names the stored event whose payload could not be decoded. It
// matches [ErrDecode].
type DecodeError struct {
	ID            ID
	Position      uint64
	AggregateType AggregateType
	AggregateID   string
	Version       uint64
	Name          string
	Codec         string
	Err           error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%v: %s %s of %q, version %d, position %d, id %s, codec %q: %s",
		ErrDecode, e.AggregateType, e.Name, e.AggregateID, e.Version, e.Position, e.ID, e.Codec, bare(e.Err))
}

// Is makes errors.Is(err, ErrDecode) hold.
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

// Unwrap returns the codec's error.
func (e *DecodeError) Unwrap() error { return e.Err }

// HandlerError is the error of a subscription that stopped at an event because its
// handler failed at every attempt.
type HandlerError struct {
	// Key and RoutingKey are the subscription's; RoutingKey is "" if the
	// subscription has none, or has All.
	Key, RoutingKey string
	// Event is the event whose handler failed; the subscription's stored cursor is
	// before it.
	Event RawEvent
	// Attempts counts all attempts, the first included.
	Attempts int
	// Err is what the handler returned at the last attempt.
	Err error
}

func (e *HandlerError) Error() string {
	name := strconv.Quote(e.Key)
	if e.RoutingKey != "" {
		name += " of routing key " + strconv.Quote(e.RoutingKey)
	}
	failed := "failed once"
	if e.Attempts != 1 {
		failed = fmt.Sprintf("failed %d times", e.Attempts)
	}
	return fmt.Sprintf("%ssubscription %s: %s %s of %q, version %d, position %d, %s: %s", errorPrefix,
		name, e.Event.AggregateType, e.Event.Name, e.Event.AggregateID, e.Event.Version, e.Event.Position, failed, bare(e.Err))
}

// Unwrap returns the handler's error.
func (e *HandlerError) Unwrap() error { return e.Err }

// errorPrefix begins the text of every error of the library, and is in it only
// once. So use fmt.Errorf only for a text that begins with the prefix, or with %w
// of an error that does; use wrap to put a text before another error.
const errorPrefix = "evento: "

// bare returns an error's text without the prefix, for use within another text.
func bare(err error) string { return strings.TrimPrefix(fmt.Sprint(err), errorPrefix) }

// wrap puts a text before the text of err: the formatted one, and then err's
// without prefix.
func wrap(err error, format string, args ...any) error {
	return &wrappedError{errorPrefix + fmt.Sprintf(format, args...) + ": " + bare(err), err}
}

type wrappedError struct {
	text string
	err  error
}

func (e *wrappedError) Error() string { return e.text }
func (e *wrappedError) Unwrap() error { return e.err }

// join is [errors.Join], with one prefix before all texts.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return &joinedError{errs}
}

type joinedError struct{ errs []error }

func (e *joinedError) Error() string {
	texts := make([]string, len(e.errs))
	for i, err := range e.errs {
		texts[i] = bare(err)
	}
	return errorPrefix + strings.Join(texts, "\n")
}

func (e *joinedError) Unwrap() []error { return e.errs }
