// evento migrate: the tables of stores in SQL databases, and the streams of those on NATS.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/sqlstore"
)

func migrateCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "migrate",
		Short: "Make and update the tables of a store",
	}, migrateUpCommand(), migrateStatusCommand(), migrateSQLCommand())
}

func migrateUpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make a store, or bring it up to date",
		Long: `Make a store, or bring its tables up to this release. What is up to date is left as
it is. Processes may go on using the store meanwhile, and several may migrate it at
once. Of Pebble, which has no tables, the directory is made; on NATS the streams.`,
		Example: `  evento migrate up --store app.db
  evento migrate up --store 'postgres://app@db/shop?schema=events'
  evento migrate up --store nats://n1,n2,n3/shop`,
	}
	return onMigrations(cmd, func(ctx context.Context, a address, o *output) error {
		before, err := a.status(ctx)
		if err != nil {
			return err
		}
		ex, err := a.open(ctx, creating)
		if err != nil {
			return err
		}
		if err := ex.Close(); err != nil {
			return err
		}
		after, err := a.status(ctx)
		if err != nil {
			return err
		}
		after.Applied = after.At - before.At
		if o.json {
			return o.line(after)
		}
		return o.printf("%s: %s, %d applied now\n", a, after, after.Applied)
	})
}

func migrateStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which migrations a store has",
		Long: `Show which migrations a store has and which it lacks. With --check it is a failure
when it lacks one, for scripts that deploy.`,
		Example: `  evento migrate status --store app.db
  evento migrate status --store postgres://app@db/shop --check`,
	}
	cmd.Flags().Bool("check", false, "exit with 1 when the store is not up to date")
	return onMigrations(cmd, func(ctx context.Context, a address, o *output) error {
		status, err := a.status(ctx)
		if err != nil {
			return err
		}
		if o.json {
			err = o.line(status)
		} else {
			err = status.write(o, a)
		}
		if cmd.Flag("check").Value.String() == "true" && status.At != status.Latest {
			err = errors.Join(err, o.flush(), a.checkVersion(status.At, status.Latest))
		}
		return err
	})
}

// onMigrations completes a command on the migrations of a store, which need not
// exist.
func onMigrations(cmd *cobra.Command, do func(context.Context, address, *output) error) *cobra.Command {
	cmd.Flags().String("store", "", storeUsage)
	outputFlag(cmd)
	cmd.Args = arguments(0, 0, "no arguments")
	cmd.Long += "\n\n" + exitCodes
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := newOutput(cmd)
		if err != nil {
			return err
		}
		a, err := storeOf(cmd)
		if err != nil {
			return err
		}
		if err := do(cmd.Context(), a, o); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		return o.flush()
	}
	return cmd
}

// migrationStatus is the state of a store's migrations. The names of its fields are
// stable.
type migrationStatus struct {
	At         int             `json:"at"`
	Latest     int             `json:"latest"`
	Applied    int             `json:"applied,omitempty"`
	Migrations []migrationView `json:"migrations"`
}

type migrationView struct {
	Number    int        `json:"number"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"appliedAt,omitempty"`
}

func (s migrationStatus) String() string {
	if s.Latest == 0 {
		return "a store of Pebble, which has no migrations"
	}
	return fmt.Sprintf("at migration %d of %d", s.At, s.Latest)
}

func (s migrationStatus) write(o *output, a address) error {
	if err := o.printf("%s: %s\n", a, s); err != nil || s.Latest == 0 {
		return err
	}
	rows := [][]string{{"MIGRATION", "APPLIED"}}
	for _, m := range s.Migrations {
		applied := "missing"
		if m.AppliedAt != nil {
			applied = m.AppliedAt.Format(time.RFC3339)
		}
		rows = append(rows, []string{printable.Text(m.Name), applied})
	}
	return o.table(rows)
}

// status reads the state of the migrations. For a file that does not exist, none is
// applied.
func (a address) status(ctx context.Context) (s migrationStatus, err error) {
	s.Migrations = []migrationView{}
	missing := a.checkThere()
	if missing != nil && !errors.Is(missing, errMissing) {
		return s, missing
	}
	switch a.kind {
	case pebbleStore:
		return s, nil
	case natsStore:
		return a.statusNATS(ctx)
	}
	in, err := a.inspect()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	known, err := sqlstore.Migrations(in.Files)
	if err != nil {
		return s, err
	}
	s.Latest = len(known)
	for _, m := range known {
		s.Migrations = append(s.Migrations, migrationView{Number: m.Number, Name: m.Name})
	}
	if missing != nil {
		return s, nil
	}
	applied, err := in.Applied(ctx)
	if err != nil {
		return s, err
	}
	for i := range applied {
		m := &applied[i]
		s.At = max(s.At, m.Number)
		if m.Number >= 1 && m.Number <= s.Latest {
			s.Migrations[m.Number-1].AppliedAt = &m.At
		} else { // of a newer release
			s.Migrations = append(s.Migrations, migrationView{Number: m.Number, Name: fmt.Sprintf("%04d (unknown to this command)", m.Number), AppliedAt: &m.At})
		}
	}
	return s, nil
}

func migrateSQLCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sql sqlite|postgres|mysql",
		Short: "Print the migrations as SQL",
		Long: `Print the migrations of a database as one text of SQL, in their order, for those who
apply them by other means. Each records its number, as the library expects it.
The text is for a database without a store; of one that has some, leave out the
migrations that evento migrate status lists as applied.` + "\n\n" + exitCodes,
		Example: `  evento migrate sql postgres --schema events | psql shop
  evento migrate sql sqlite | sqlite3 app.db`,
		Args:              arguments(1, 1, "one of sqlite, postgres or mysql"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"sqlite", "postgres", "mysql"}, cobra.ShellCompDirectiveNoFileComp),
	}
	cmd.Flags().String("schema", "evento", "PostgreSQL's schema")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		schema := cmd.Flag("schema").Value.String()
		if schema == "" {
			return usagef("--schema: empty")
		}
		text, err := migrationSQL(args[0], schema)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	return cmd
}

func migrationSQL(database, schema string) (string, error) {
	switch database {
	case "sqlite":
		return sqlite.Script()
	case "postgres", "postgresql":
		return postgres.Script(schema)
	case "mysql", "mariadb":
		return mysql.Script()
	}
	return "", usagef("there are no migrations of %s: sqlite, postgres or mysql", printable.Text(database))
}
