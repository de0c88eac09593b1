package printable

import (
	"errors"
	"testing"
)

// An error is one line, and nothing in it acts on a terminal.
func TestErr(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"open é: a\n\tb": "open é: a; b", "open é:\n\ta\n\tb": "open é: a; b", "open \x9b31m": `open \x9b31m`, "\x1b[2J": `\x1b[2J`, "\u202e": `\u202e`} {
		if got := Err(errors.New(text)); got != want {
			t.Errorf("Err(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": `""`, "a b": "a b", " a": `" a"`, `"a`: `"\"a"`, "\x1b[31m": `"\x1b[31m"`, "a\u202eb": `"a\u202eb"`, "\xff": `"\xff"`, "é": "é", "a\u00a0b": `"a\u00a0b"`, "a\nb": `"a\nb"`,
	} {
		if got := Text(text); got != want {
			t.Errorf("Text(%q) = %s, want %s", text, got, want)
		}
	}
}
