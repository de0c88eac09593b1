// What doctor asks of a store in an SQL database.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// sqlDoctor examines a store in an SQL database.
type sqlDoctor struct {
	*doctor
	in     *sqlstore.Inspector
	tables *sqlstore.Tables
	log    *logCheck
}

// sql examines a store in an SQL database. There is one if it can be opened but for what was
// found.
func (d *doctor) sql(ctx context.Context) (there bool, err error) {
	in, err := d.s.address.inspect()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	s := &sqlDoctor{doctor: d, in: in}
	if there, err = s.schema(ctx); err != nil || !there {
		return false, err
	}
	s.log = newLogCheck(d, s.tables)
	further := []check{{"names", s.names}}
	if !d.fast {
		further = append(further, check{"tags", s.tags})
	}
	if err := d.each(ctx, check{"settings", s.checks}); err != nil {
		return false, err
	}
	return true, d.contents(ctx, s.tables, s.log, further...)
}

const (
	schemaRemedy = "find out who changed it and what they changed, and make it as evento migrate sql shows; or restore a backup"
	besideRemedy = "whoever added it may have a reason; it may change or refuse what the library writes"
)

// schema compares the tables with what the migrations make, and reports whether there is more
// to examine.
func (s *sqlDoctor) schema(ctx context.Context) (more bool, err error) {
	schema, err := s.in.Schema(ctx)
	switch {
	case err == nil:
	case errors.Is(err, evento.ErrReadOnly) || errors.Is(err, fs.ErrPermission):
		return false, s.found(finding{severe, "store", "", "it cannot be opened: " + strings.TrimPrefix(err.Error(), "evento: "), "examine it as a user who may read it and make files beside it"})
	case ctx.Err() == nil && s.s.address.kind == sqliteStore: // of a server, it may be that it cannot be reached
		return false, s.found(finding{severe, "file", "", "the file cannot be read: " + err.Error(), "see that it is the right file; if it is, restore a backup; sqlite3 FILE .recover saves what can be read"})
	default:
		return false, err
	}
	made, err := s.in.Made(ctx)
	if err != nil {
		return false, err
	}
	s.tables = s.in.TablesOf(schema)
	differences := schema.Differences(made)
	if more, err = s.migrations(ctx, differences, made); err != nil || !more {
		return false, err
	}
	for _, difference := range differences {
		f := finding{severe, "schema", "", difference.String(), schemaRemedy}
		if difference.Beside {
			f.Remedy = besideRemedy
			if !strings.HasPrefix(difference.Part, "column ") {
				f.Severity = warning
			}
		}
		if err := s.found(f); err != nil {
			return false, err
		}
	}
	return true, nil
}

// migrations looks at the numbers of the migrations that were applied. There is nothing more to
// examine in a store that is not there, or is of another release.
func (s *sqlDoctor) migrations(ctx context.Context, differences []sqlstore.Difference, made sqlstore.Schema) (more bool, err error) {
	known, err := sqlstore.Migrations(s.in.Files)
	if err != nil {
		return false, err
	}
	tell := func(detail, remedy string) error {
		return s.found(finding{severe, "schema", "", detail, remedy})
	}
	applied, err := s.in.Applied(ctx)
	if err != nil {
		return true, cmp.Or(ctx.Err(), tell("the table of migrations cannot be read: "+err.Error(), "restore the table from a backup"))
	}
	at, latest := 0, len(known)
	if len(applied) > 0 {
		at = applied[len(applied)-1].Number
	}
	missing, tables := missingTables(differences, made)
	switch {
	case at > latest:
		return false, tell(fmt.Sprintf("the store is at migration %d, this command knows %d", at, latest), "use a newer evento command")
	case at == 0 && missing >= tables-1: // somebody else's table of migrations may be there
		return false, tell("there is no evento store in it", "evento migrate up makes one")
	case at > 0 && at < latest && missing > 0:
		return false, tell(fmt.Sprintf("the store is at migration %d of %d", at, latest), "evento migrate up")
	}
	for n := 1; n <= latest; n++ {
		if n > len(applied) || applied[n-1].Number != n {
			return true, tell(fmt.Sprintf("the table of migrations does not have numbers 1 to %d, as the other tables do: it has %d, the last of which is %d", latest, len(applied), at), "restore the table from a backup")
		}
	}
	return true, nil
}

// missingTables counts the tables that are missing, and all of them.
func missingTables(differences []sqlstore.Difference, made sqlstore.Schema) (missing, all int) {
	for part := range made {
		if strings.HasPrefix(part, "table ") {
			all++
		}
	}
	for _, d := range differences {
		if strings.HasPrefix(d.Part, "table ") && d.Missing {
			missing++
		}
	}
	return missing, all
}

// checks makes the checks of the store's database.
// Why: docs/decisions.md, "Settings are warnings".
func (s *sqlDoctor) checks(ctx context.Context) error {
	for _, c := range s.in.Checks {
		if c.Slow && s.fast {
			continue
		}
		err := s.in.Examine(ctx, c, func(f sqlstore.Finding) error {
			return s.found(finding{severity(f.Severity), c.Name, "", f.Detail, f.Remedy})
		})
		switch {
		case s.broken != nil, ctx.Err() != nil:
			return err
		case err == nil:
			continue
		}
		f := finding{severe, c.Name, "", "could not be examined: " + err.Error(), unexamined}
		if c.Setting { // the account lacks the privilege
			f.Severity, f.Remedy = note, "ask as an account that may see it"
		}
		if err := s.found(f); err != nil {
			return err
		}
	}
	return nil
}

// names examines the tables of names.
func (s *sqlDoctor) names(ctx context.Context) error {
	return s.tables.Names(ctx, func(which, fault string) error {
		return s.found(finding{severe, "names", which, fault, "restore a backup: events that have it cannot be exported"})
	})
}

// tags compares the index of tags with the events that were read. Both are up to the same
// position: an event and its tags are written in one transaction.
func (s *sqlDoctor) tags(ctx context.Context) error {
	if !s.log.whole {
		return errors.New("the events cannot be read to their end")
	}
	last := s.log.last
	if !s.log.reasonable() {
		last = math.MaxInt64 // nothing of the index is beyond the end, which is what the check of the index asks for
	}
	index, err := s.in.TagSums(ctx, last)
	if err != nil || index == s.log.tags {
		return err
	}
	detail := fmt.Sprintf("the index of tags is not that of the events: reads and decisions by tags may miss events; it has %d rows, and the events have %d tags", index.Rows, s.log.tags.Rows)
	if s.log.untagged > 0 {
		detail += fmt.Sprintf("; those of %d events cannot be read", s.log.untagged)
	}
	return s.found(finding{severe, "tags", "", detail, sqlstore.TagsRemedy})
}
