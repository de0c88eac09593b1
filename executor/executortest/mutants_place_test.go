package executortest_test

import (
	"errors"

	"github.com/evento-go/evento/cursor"
)

// placeMutants compare places badly, or find the wrong ones.
func placeMutants() []mutant {
	compare := func(with func(*bent, cursor.Value, cursor.Value) (cursor.Value, error)) func(*bent) {
		return func(b *bent) {
			b.earlier = func(first, second cursor.Value) (cursor.Value, error) { return with(b, first, second) }
		}
	}
	at := func(with func(*bent, uint64) (cursor.Value, error)) func(*bent) {
		return func(b *bent) {
			b.cursorAt = func(position uint64) (cursor.Value, error) { return with(b, position) }
		}
	}
	return []mutant{
		{"the later of two places", []string{"Places/Earlier", "History/Fixed"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			v, err := b.handle.Earlier(first, second)
			if err == nil && v == first {
				return second, nil
			}
			return first, err
		})},
		{"always the first place", []string{"Places/Earlier", "History/Fixed"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			_, err := b.handle.Earlier(first, second)
			return first, err
		})},
		{"always the second place", []string{"Places/Earlier", "History/Fixed"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			_, err := b.handle.Earlier(first, second)
			return second, err
		})},
		{"places compared as texts", []string{"Places/Earlier"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			_, err := b.handle.Earlier(first, second)
			return min(first, second), err
		})},
		{"the beginning after every place", []string{"Places/Earlier"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			v, err := b.handle.Earlier(first, second)
			if v == "" {
				return max(first, second), err
			}
			return v, err
		})},
		{"places of no store compared", []string{"Places/Refused"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			v, err := b.handle.Earlier(first, second)
			if errors.Is(err, cursor.ErrMalformed) {
				return first, nil
			}
			return v, err
		})},
		{"places of another store compared", []string{"Places/Refused"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			v, err := b.handle.Earlier(first, second)
			if errors.Is(err, cursor.ErrForeign) {
				return first, nil
			}
			return v, err
		})},
		{"a place not looked at where the other is the beginning", []string{"Places/Refused"}, compare(func(b *bent, first, second cursor.Value) (cursor.Value, error) {
			if first == "" || second == "" {
				return "", nil
			}
			return b.handle.Earlier(first, second)
		})},
		{"the place before a position", []string{"Places/OfPositions"}, at(func(b *bent, position uint64) (cursor.Value, error) {
			return b.handle.CursorAt(max(position, 1) - 1)
		})},
		{"a place for position 0", []string{"Places/OfPositions"}, at(func(b *bent, position uint64) (cursor.Value, error) {
			v, err := b.handle.CursorAt(max(position, 1))
			return v, err
		})},
		{"no place for what is not reached", []string{"Places/OfPositions"}, at(func(b *bent, position uint64) (cursor.Value, error) {
			if position > 20 {
				return "", cursor.ErrBeyondHead
			}
			return b.handle.CursorAt(position)
		})},
		{"the last place for what is not reached", []string{"Places/OfPositions"}, at(func(b *bent, position uint64) (cursor.Value, error) {
			return b.handle.CursorAt(min(position, 20))
		})},
		{"places compared after Close", []string{"Close/MethodsAfter"}, func(b *bent) { b.earlier = b.store.memory.Earlier }},
		{"places found after Close", []string{"Close/MethodsAfter"}, func(b *bent) { b.cursorAt = b.store.memory.CursorAt }},
	}
}
