package group_test

import (
	"context"
	"errors"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

// broken is a member that cannot be read, nor closed.
type broken struct{ evento.Executor }

var errBroken = errors.New("evento: pebble: the disk is broken")

func (broken) Read(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return nil, errBroken
}
func (broken) Close() error { return errBroken }

// Errors say which member failed, and evento: once, at the front.
func TestErrors(t *testing.T) {
	t.Parallel()
	ex := group.New(broken{memory.New(nil)}, broken{memory.New(nil)})
	_, readErr := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
	for _, tt := range []struct {
		what string
		err  error
		want string
	}{
		{"Read", readErr, "evento: member 1 of the group: pebble: the disk is broken"},
		{"Close", ex.Close(), "evento: member 1 of the group: pebble: the disk is broken\nmember 2 of the group: pebble: the disk is broken"},
	} {
		if !errors.Is(tt.err, errBroken) || tt.err.Error() != tt.want {
			t.Errorf("%s = %v, want %s", tt.what, tt.err, tt.want)
		}
	}
}

// The members are closed after a mistake too, which is told of in words.
func TestMistake(t *testing.T) {
	t.Parallel()
	member := memory.New(nil)
	ex := group.New(member, nil)
	for what, err := range map[string]error{
		"Import": ex.Import(t.Context(), nil), "InTx": ex.InTx(t.Context(), func(context.Context) error { return nil }),
	} {
		if want := "evento: invalid group: member 2 is nil"; !errors.Is(err, evento.ErrInvalid) || err.Error() != want {
			t.Errorf("%s = %v, want %s", what, err, want)
		}
	}
	if err := ex.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if _, err := member.CursorAt(1); !errors.Is(err, evento.ErrClosed) {
		t.Errorf("the first member is not closed: %v", err)
	}
}
