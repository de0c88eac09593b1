// Reading the tables of names.

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/evento-go/evento/internal/examine"
)

// Names calls each for every row of the tables of names whose name is not one, or whose type is
// missing: also for those that no event has. Which is the row, for people.
func (t *Tables) Names(ctx context.Context, each func(which, fault string) error) error {
	for _, table := range []struct {
		letter, column, typeID string
		part                   examine.Part
	}{{"t", "name", "", examine.Type}, {"k", "name", "k.type_id", examine.Name}, {"r", "key", "", examine.RoutingKey}, {"a", "id", "a.type_id", examine.Aggregate}} {
		if table.letter == "a" && !t.in.Layout.Aggregates {
			continue
		}
		if err := t.namesIn(ctx, table.letter, table.column, table.typeID, table.part, each); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tables) namesIn(ctx context.Context, letter, column, typeID string, part examine.Part, each func(which, fault string) error) error {
	table, number := byLetter(letter), ".id"
	if letter == "a" {
		number = ".key"
	}
	s := t.choose(letter)
	if typeID != "" {
		s.join("kt", "id", typeID)
		s.add(letter+number, letter+"."+column, typeID, "kt.id")
	} else {
		s.add(letter+number, letter+"."+column)
	}
	if _, there := t.schema["table "+t.in.Layout.Prefix+table]; !there {
		return nil
	}
	return t.in.query(ctx, s.text(), func(rows *sql.Rows) error {
		v, err := s.values(rows)
		if err != nil {
			return err
		}
		which := fmt.Sprintf("%s %s in the table %s", t.in.Layout.column(table, number[1:]), strings.TrimPrefix(describe(v[0]), "the number "), t.in.Layout.Prefix+table)
		if fault := t.in.nameFault(v[1], part); fault != "" && s.columns[1] != "NULL" {
			if err := each(which, fault); err != nil {
				return err
			}
		}
		if typeID != "" && s.columns[2] != "NULL" && s.columns[3] != "NULL" && v[3] == nil {
			return each(which, fmt.Sprintf("its aggregate type, %s, is not in the table %stype", describe(v[2]), t.in.Layout.Prefix))
		}
		return nil
	})
}

// nameFault says what is wrong with a name; "": nothing.
func (in *Inspector) nameFault(v any, part examine.Part) string {
	text, ok := in.textOf(v)
	if !ok {
		return fmt.Sprintf("it is %s and no text", describe(v))
	}
	return examine.NameFault(part, text)
}
