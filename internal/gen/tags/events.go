// Package tags has events with fields of every kind that can be a tag.
package tags

import (
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento/internal/gen/kinds/other"
)

//go:generate go run ../../../cmd/evento-gen

// CourseDefined is about a course.
//
//evento:aggregate school/Course
type CourseDefined struct {
	Course   string //evento:tag course
	Capacity int
}

// What happens to places. It is about courses and students, and no aggregate is both.
//
//evento:aggregate school/Place
type (
	// Subscribed is about a course and a student.
	Subscribed struct {
		Student string //evento:tag student
		Course  string //evento:tag course
	}
	// Moved is about two courses, and about one of them in a way of its own.
	Moved struct {
		Student string //evento:tag student
		//evento:tag course
		//evento:tag left
		From string
		To   string //evento:tag course // also the one that gets a student
	}
	// Everything has each kind.
	Everything struct {
		Label   Label              //evento:tag label
		Number  int                //evento:tag number
		Small   Small              //evento:tag small
		Letter  rune               //evento:tag letter
		ID      ulid.ULID          //evento:tag id
		Addr    netip.Addr         //evento:tag addr
		IP      net.IP             //evento:tag ip
		Price   other.Decimal      //evento:tag price
		Ref     Ref                //evento:tag ref
		Level   Level              //evento:tag level
		Spell   *Spell             //evento:tag spell
		Maybe   *string            //evento:tag maybe
		Count   *uint16            //evento:tag count
		Owner   *ulid.ULID         //evento:tag owner
		Names   []string           //evento:tag name
		Labels  Labels             //evento:tag labels
		Numbers []int64            //evento:tag numbers
		IDs     []ulid.ULID        //evento:tag ids
		Pair    other.Range[Small] // no tag
	}
	// Left happens no more; what is stored of it has tags.
	//
	//evento:retired
	Left struct {
		Student string //evento:tag student
	}
)

type (
	// Label is a named string.
	Label string
	// Labels is a named slice of them.
	Labels []Label
	// Small is a named integer.
	Small uint8
	// Ref has a String alone.
	Ref struct{ Book, Page int }
	// Level is an integer that is stored as a text.
	Level int
	// Spell is stored as a text, by methods of its pointer.
	Spell struct{ word string }
)

func (r Ref) String() string { return strconv.Itoa(r.Book) + "/" + strconv.Itoa(r.Page) }

// MarshalText writes the level as a letter. Below a there is none.
func (l Level) MarshalText() ([]byte, error) {
	if l < 0 {
		return nil, errors.New("a level below the first")
	}
	return []byte{'a' + byte(l)}, nil
}

// UnmarshalText reads what MarshalText writes.
func (l *Level) UnmarshalText(text []byte) error {
	if len(text) != 1 {
		return errors.New("not a level")
	}
	*l = Level(text[0] - 'a')
	return nil
}

// String is for people: the tag is not made of it.
func (l Level) String() string { return "level " + strconv.Itoa(int(l)) }

// MarshalText writes the word.
func (s *Spell) MarshalText() ([]byte, error) { return []byte(s.word), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Spell) UnmarshalText(text []byte) error {
	s.word = string(text)
	return nil
}
