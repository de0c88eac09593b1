// The limits of what is stored. Every store must be able to return it unchanged, so
// all limits are checked here, in one place.

package evento

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Limits of what is stored.
const (
	// MaxName is the most bytes that an aggregate type, aggregate id, event
	// name, routing key, subscription key or projection name may have.
	MaxName = 255
	// MaxPayload is the most bytes of one event's encoded payload.
	MaxPayload = 16 << 20
	// MaxMetadata is the most bytes of one commit's metadata, in all.
	MaxMetadata = 64 << 10
	// MaxCommit is the most bytes of payload in one commit.
	MaxCommit = 64 << 20
	// MaxCommitEvents is the most events in one commit.
	MaxCommitEvents = 10_000
)

// checkName refuses what some store would fold, cut or misread: texts that are
// empty, over [MaxName] bytes, not valid UTF-8, or with control characters. The
// argument what is the kind of name, for the error.
func checkName(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w %s: empty", ErrInvalid, what)
	case len(s) > MaxName:
		return fmt.Errorf("%w %s %s: %d bytes, at most %d are allowed", ErrInvalid, what, shorten(s), len(s), MaxName)
	}
	return checkText(what, s)
}

func checkText(what, s string) error {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("%w %s %s: control character %q at byte %d", ErrInvalid, what, shorten(s), rune(c), i)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w %s %s: not valid UTF-8", ErrInvalid, what, shorten(s))
	}
	for i, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w %s %s: control character %q at byte %d", ErrInvalid, what, shorten(s), r, i)
		}
	}
	return nil
}

// checkValue checks a text of metadata: it may be any valid UTF-8, line breaks
// included, except for NUL, which PostgreSQL cannot store.
func checkValue(what, s string) error {
	for i := range len(s) {
		if s[i] == 0 {
			return fmt.Errorf("%w %s %s: NUL at byte %d", ErrInvalid, what, shorten(s), i)
		}
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w %s %s: not valid UTF-8", ErrInvalid, what, shorten(s))
	}
	return nil
}

// checkAfter checks the texts of the key after which a page begins. It accepts more
// than checkName: other programs may have written names that checkName refuses, and
// a reader must be able to continue after them.
func checkAfter(texts ...string) error {
	for _, s := range texts {
		if err := checkValue("key to begin behind", s); err != nil {
			return err
		}
	}
	return nil
}

func (m Metadata) check() error {
	size := 0
	for _, f := range []struct{ what, s string }{
		{"metadata id", m.ID},
		{"requested-by", m.RequestedBy},
		{"requested-as", m.RequestedAs},
		{"correlation id", m.CorrelationID},
		{"causation id", m.CausationID},
	} {
		size += len(f.s)
		if err := checkValue(f.what, f.s); err != nil {
			return err
		}
	}
	for k, v := range m.Values {
		if err := checkName("metadata key", k); err != nil {
			return err
		}
		if err := checkValue(fmt.Sprintf("metadata value of %q", k), v); err != nil {
			return err
		}
		size += len(k) + len(v)
	}
	if size > MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes, at most %d are allowed", ErrTooLarge, size, MaxMetadata)
	}
	return nil
}

// shorten quotes a text for an error, cut to 64 bytes.
func shorten(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// maxVersion leaves stores room for signed 64-bit columns.
const maxVersion = 1<<62 - 1
