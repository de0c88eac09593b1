// evento torture: the promises, proved on a store of one's own.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/torture"
)

// tortureVariable tells a process that it is a worker: a tortureWorker as JSON. The store is that
// of storeVariable.
const tortureVariable = "EVENTO_TORTURE_WORKER"

// tortureWorker is what a worker's process is told.
type tortureWorker struct {
	Beside string // the name of the store that is tortured
	Worker torture.Worker
}

func tortureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "torture",
		Short: "Prove on a storage of yours that nothing is lost, doubled or reordered",
		Long: `Prove on a storage of yours that nothing is lost, doubled or reordered.

Several processes write to a new store beside the one of --store: a file or directory beside it,
a schema or database of the same server, streams of the same servers. They follow it, handle its
events and set deadlines, and are killed (SIGKILL) again and again. In the end what they saw is
compared with the log: what was acknowledged is there, once, where it was said to be; what was
refused is not; everybody saw the same order. Then the new store is removed. The store of --store
is not opened, and need not be there.

Meanwhile you may kill or cut off the server: the same has to hold. The database needs room, and
the user the right to make a schema or a database.

Exit codes: 0 all promises were kept, 1 they were not, or it failed, 2 called wrongly, 130 interrupted.`,
		Example: `  evento torture --store app.db
  evento torture --store postgres://app@db/shop --for 10m --kills 500`,
		Args: arguments(0, 0, "no arguments"),
	}
	f := cmd.Flags()
	f.String("store", "", storeUsage)
	f.Duration("for", 20*time.Second, "how long processes work at least")
	f.Int("kills", 20, "how many processes are killed")
	f.Int("workers", 3, "how many processes work at the same time; on Pebble one")
	f.Uint64("seed", 0, "seed of all that is chosen at random; 0: another one each time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if text := os.Getenv(tortureVariable); text != "" {
			return tortureWork(cmd, text)
		}
		return tortureStore(cmd)
	}
	return cmd
}

// tortureOptions are the options that flags set.
func tortureOptions(cmd *cobra.Command) (o torture.Options, err error) {
	f := cmd.Flags()
	o.For, _ = f.GetDuration("for")
	o.Kills, _ = f.GetInt("kills")
	o.Halts = o.Kills / 10
	o.Workers, _ = f.GetInt("workers")
	if o.Seed, _ = f.GetUint64("seed"); o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	o.Again = fmt.Sprintf("evento torture --for %s --kills %d --workers %d --seed %d, on the same --store", o.For, o.Kills, o.Workers, o.Seed)
	if o.For < 0 || o.Kills < 0 || o.Workers < 1 || o.Workers > 64 {
		return o, usagef("--for and --kills are not negative, and --workers is 1 to 64")
	}
	return o, nil
}

// tortureStore makes a store beside the one that is named, and tortures it.
func tortureStore(cmd *cobra.Command) error {
	o, err := tortureOptions(cmd)
	if err != nil {
		return err
	}
	address, err := storeOf(cmd)
	if err != nil {
		return err
	}
	name := "evento_torture_" + strings.ToLower(evento.NewID().String())
	own, err := address.beside(name)
	if err != nil {
		return err
	}
	if own.kind == pebbleStore {
		o.Workers = 1
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	o.Name = own.String()
	o.Open = func(ctx context.Context) (evento.Executor, error) { return own.open(ctx, creating) }
	o.Start = func(w torture.Worker) *exec.Cmd {
		text, _ := json.Marshal(tortureWorker{name, w}) // texts and numbers
		c := exec.CommandContext(context.WithoutCancel(cmd.Context()), program, "torture")
		c.Env = append(os.Environ(), tortureVariable+"="+string(text), storeVariable+"="+storeText(cmd))
		return c
	}
	if err := address.makeBeside(cmd.Context(), own, name); err != nil {
		return err
	}
	cmd.Printf("Processes work on %s and are killed; it is removed in the end.\n", own)
	report, err := torture.Run(cmd.Context(), o)
	if report != nil && !report.OK() {
		cmd.Println(report)
		return errors.Join(fmt.Errorf("promises were broken: the store is kept for you to look at: %s", own), err)
	}
	if err := errors.Join(err, own.removeBeside(cmd.Context())); err != nil {
		return err
	}
	cmd.Println(report)
	cmd.Println("No promise was broken.")
	return nil
}

// storeText is the URL of the store as it was given.
func storeText(cmd *cobra.Command) string {
	if text := cmd.Flag("store").Value.String(); text != "" {
		return text
	}
	return os.Getenv(storeVariable)
}

// tortureWork is a worker's process.
func tortureWork(cmd *cobra.Command, text string) error {
	var w tortureWorker
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return usagef("%s: %v", tortureVariable, err)
	}
	address, err := storeOf(cmd)
	if err != nil {
		return err
	}
	own, err := address.beside(w.Beside)
	if err != nil {
		return err
	}
	err = torture.WorkOn(cmd.Context(), func(ctx context.Context) (evento.Executor, error) { return own.open(ctx, creating) }, w.Worker)
	if err != nil && cmd.Context().Err() != nil {
		cmd.PrintErrln(err) // an error after a signal is not shown otherwise
	}
	return err
}

// beside is the address of a store of a name of its own, beside the one of an address.
func (a address) beside(name string) (address, error) {
	switch a.kind {
	case sqliteStore, pebbleStore:
		if a.fixed || a.path == "" {
			return address{}, usagef("there is no file beside %s: name the store by its path", a)
		}
		return pathOf(a.kind, filepath.Join(filepath.Dir(a.path), name))
	case postgresStore:
		a.schema = name
		a.shown += " in schema " + name
	case mysqlStore:
		var err error
		if a.place, err = mysql.WithDatabase(a.place, name); err != nil {
			return address{}, err
		}
		a.shown = a.shown[:strings.LastIndex(a.shown, "/")+1] + name
	case natsStore:
		a.nats.store, a.nats.dir = name, ""
		a.shown += " in streams " + name
	}
	return a, nil
}

// makeBeside makes a store beside another one, so that processes do not make it at once. After an
// error nothing is left of it, or the error says so.
func (a address) makeBeside(ctx context.Context, own address, name string) error {
	failed := func(err error) error {
		return fmt.Errorf("no store can be made beside %s: %w; %s", a, err, wants[a.kind])
	}
	switch a.kind {
	case sqliteStore, pebbleStore:
		if _, err := os.Stat(filepath.Dir(own.path)); err != nil { // Pebble would make it
			return failed(err)
		}
	case mysqlStore:
		if err := own.statement(ctx, "CREATE DATABASE "+name); err != nil {
			return failed(err)
		}
	}
	ex, err := own.open(ctx, creating)
	if err == nil {
		err = ex.Close()
	}
	if err == nil {
		return nil
	}
	left := own.removeBeside(ctx)
	if a.kind == postgresStore { // it is made as a whole, or not at all
		left = nil
	}
	return errors.Join(failed(err), left)
}

// wants is what has to be so for a store to be made beside another one.
var wants = map[storeKind]string{
	sqliteStore:   "its directory has to be there, and yours to write to",
	pebbleStore:   "its directory has to be there, and yours to write to",
	postgresStore: "the database has to be there, and its user needs the right to make a schema: GRANT CREATE ON DATABASE",
	mysqlStore:    "its user needs the right to make a database, and all rights in it: GRANT ALL ON `evento\\_torture\\_%`.*",
	natsStore:     "its account needs JetStream, and room for the streams",
}

// removeBeside removes a store that [address.beside] has named, or says that it is left.
func (a address) removeBeside(ctx context.Context) error {
	if err := a.remove(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("%s may be left, and you have to remove it: %w", a, err)
	}
	return nil
}

// remove removes a store that [address.beside] has named, with all that is in it.
func (a address) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch a.kind {
	case sqliteStore:
		dir := filepath.Dir(a.path)
		files, err := os.ReadDir(dir)
		for _, file := range files {
			if strings.HasPrefix(file.Name(), filepath.Base(a.path)) { // its journals too
				err = errors.Join(err, os.Remove(filepath.Join(dir, file.Name())))
			}
		}
		return err
	case pebbleStore:
		return os.RemoveAll(a.path)
	case postgresStore:
		return a.statement(ctx, "DROP SCHEMA IF EXISTS "+a.schema+" CASCADE")
	case mysqlStore:
		_, _, database, err := mysql.ParseDSN(a.place)
		if err != nil {
			return err
		}
		return a.statement(ctx, "DROP DATABASE IF EXISTS "+database)
	case natsStore:
		o, err := a.natsOptions(creating)
		if err != nil {
			return err
		}
		return jetstream.Drop(ctx, a.place, o)
	}
	return fmt.Errorf("a store of kind %s cannot be removed", printable.Text(string(a.kind)))
}

// statement runs a statement on the server of a store. Its database need not be there on MySQL.
func (a address) statement(ctx context.Context, text string) (err error) {
	if a.kind == mysqlStore {
		if a.place, err = mysql.WithDatabase(a.place, "information_schema"); err != nil {
			return err
		}
	}
	in, err := a.inspect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	_, err = in.DB.ExecContext(ctx, text)
	return err
}
