// Package docs_test compiles and runs the code in the guides.
package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/sqlite"
)

const account evento.AggregateType = "bank/Account"

type (
	AccountOpened struct{ Owner string }
	MailSent      struct{}
)

func (AccountOpened) AggregateType() evento.AggregateType { return account }
func (AccountOpened) EventName() string                   { return "AccountOpened" }
func (MailSent) AggregateType() evento.AggregateType      { return account }
func (MailSent) EventName() string                        { return "MailSent" }

// Each block of Go in a guide is in the test beside it or, if it has none, in the program of
// the same name, to the letter but for tabs. So is what that program prints, which its comment
// has, and which its test wants.
func TestSnippets(t *testing.T) {
	t.Parallel()
	for name, least := range map[string]int{
		"subscriptions": 6, "deciding": 6, "uniqueness": 8, "process": 7, "readmodel": 10, "moving": 4, "evolution": 8, "jetstream": 5,
	} {
		guide, err := os.ReadFile(name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$").FindAllStringSubmatch(string(guide), -1)
		if len(blocks) < least {
			t.Errorf("%s: %d blocks, want at least %d", name, len(blocks), least)
		}
		code := codeOf(t, name)
		for _, block := range blocks {
			for part := range strings.SplitSeq(block[2], "\n\n") {
				if block[1] != "sh" && !strings.Contains(code, flat(part)) {
					t.Errorf("%s.md has what is in none of its programs:\n%s", name, part)
				}
			}
		}
	}
}

// codeOf is the code of a guide.
func codeOf(t *testing.T, name string) string {
	t.Helper()
	files := []string{name + "_test.go"}
	if _, err := os.Stat(files[0]); err != nil {
		files = nil
		for _, pattern := range []string{"*.go", "*/*.go"} {
			more, err := filepath.Glob(filepath.Join("../examples", name, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, more...)
		}
	}
	var code strings.Builder
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code.WriteString(flat(string(file)))
	}
	return code.String()
}

// flat is code without what lines begin with: tabs, and what makes a line one of a comment's
// preformatted text.
func flat(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		line = strings.TrimLeft(line, "\t")
		b.WriteString(strings.TrimPrefix(line, "//\t"))
	}
	return b.String()
}

func sendMail(ctx context.Context, e evento.Event[AccountOpened]) error {
	d := evento.DeliveryFrom(ctx)
	if d.Replay {
		return nil // the subscription was reset; this mail was sent long ago
	}
	if d.Attempt > 1 {
		slog.WarnContext(ctx, "sending again", "mail", e.ID, "attempt", d.Attempt)
	}
	_, err := evento.Aggregate(e.AggregateID).AnyVersion().Event(MailSent{}).Commit(ctx, evento.ExecutorFrom(ctx))
	return err
}

func followAccount(ctx context.Context, store evento.Executor, id string) error {
	account := evento.Query{Filters: []evento.Filter{evento.ByID("bank/Account", id)}}
	for e, err := range evento.Follow(ctx, store, account, "") {
		if err != nil {
			return err // of ctx, or of a store that was closed
		}
		fmt.Println(e.Name, e.Version)
	}
	return nil
}

// A range that follows ends with its context.
func TestFollowAccount(t *testing.T) {
	t.Parallel()
	store := memory.New(nil)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := evento.Aggregate("a").Event(AccountOpened{Owner: "Ada"}).Commit(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := followAccount(ctx, store, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v, want its context's error", err)
	}
}

func runRegions(ctx context.Context, store evento.Executor) error {
	mails := func(region string) *evento.SubscriptionBuilder {
		return evento.NewSubscription("mails").RoutingKey(region).Handler(evento.Handle(sendMail))
	}
	err := evento.Run(ctx, store, mails("eu"), mails("us"))
	return err
}

func runUntilSignal(store evento.Executor, mails, balances *evento.SubscriptionBuilder) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return evento.Run(ctx, store, mails, balances)
}

func mend(ctx context.Context, store evento.Executor) error {
	c := evento.ControlOf(store, "mails").RoutingKey("eu")
	for p, err := range c.Parked(ctx, evento.AllParked()) {
		if err != nil {
			return err
		}
		fmt.Println(p.Name, "of", p.AggregateID, "failed", p.Attempts, "times:", p.Error)
	}
	return c.RetryParked(ctx, evento.AllParked()) // or ParkedOf an aggregate, or one ParkedEvent
}

func readOwnWrites(ctx context.Context, store evento.Executor) error {
	receipt, err := evento.Create().Event(AccountOpened{Owner: "Ada"}).Commit(ctx, store)
	if err != nil {
		return err
	}
	return evento.WaitFor(ctx, store, "balances", receipt.Position) // Control.WaitFor with a routing key
}

func readModel() *evento.SubscriptionBuilder {
	balances := evento.NewSubscription("balances").Transactional().Handler(
		evento.HandleBatch(func(ctx context.Context, opened []evento.Event[AccountOpened]) error {
			for _, e := range opened {
				if _, err := sqlite.Tx(ctx).ExecContext(ctx, "INSERT INTO balances (id, owner) VALUES (?, ?)", e.AggregateID, e.Data.Owner); err != nil {
					return err
				}
			}
			return nil
		}))
	return balances
}

// Account is the state of one.
type Account struct{ Owner string }

func keepAccounts() (*evento.Projection[Account], *evento.SubscriptionBuilder) {
	accounts := evento.NewProjection[Account]("accounts", account).Handler(
		evento.Apply(func(a *Account, e evento.Event[AccountOpened]) error { a.Owner = e.Data.Owner; return nil }))
	kept := accounts.Keep("kept-accounts") // for Start, Execute or evento.Run
	return accounts, kept
}

func nextPage(ctx context.Context, store evento.Executor, accounts *evento.Projection[Account], lastID string) (page []string, _ string, err error) {
	err = func() error {
		for a, err := range accounts.States(ctx, store, evento.StatesAfter(lastID)) {
			if err != nil {
				return err
			}
			page = append(page, a.State.Owner)
			if lastID = a.ID; len(page) == 20 {
				break
			}
		}
		return nil
	}()
	return page, lastID, err
}

// The pages of a list have every account, in order.
func TestKeptPages(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	accounts, kept := keepAccounts()
	for i := range 50 {
		if _, err := evento.Aggregate(fmt.Sprintf("a%02d", i)).Event(AccountOpened{Owner: fmt.Sprint("owner ", i)}).Commit(ctx, store); err != nil {
			t.Fatal(err)
		}
	}
	if err := kept.Execute(ctx, store); err != nil {
		t.Fatal(err)
	}
	var all []string
	for lastID, n := "", 20; n == 20; {
		page, last, err := nextPage(ctx, store, accounts, lastID)
		if err != nil {
			t.Fatal(err)
		}
		all, n, lastID = append(all, page...), len(page), last
	}
	if len(all) != 50 || all[20] != "owner 20" || all[49] != "owner 49" {
		t.Errorf("%d accounts: %q, want all 50 in order", len(all), all)
	}
}

// Two regions are two subscriptions; a mail is sent once, also after a reset, and
// has the event as its cause.
func TestRegions(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	store := memory.New(nil)
	ended := make(chan error, 1)
	go func() { ended <- runRegions(ctx, store) }()
	for _, region := range []string{"eu", "us"} {
		opened, err := evento.Aggregate(region).Event(AccountOpened{Owner: "Ada"}).RoutingKey(region).Commit(ctx, store)
		if err != nil {
			t.Fatal(err)
		}
		mails := evento.ControlOf(store, "mails").RoutingKey(region)
		if err := errors.Join(mails.WaitFor(ctx, opened.Position), mails.ResetToStart(ctx), mails.WaitFor(ctx, opened.Position)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	var log []evento.RawEvent
	for e, err := range evento.Events(t.Context(), store, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, e)
	}
	if len(log) != 4 || log[1].Name != "MailSent" || log[1].Metadata.CausationID != log[0].ID.String() || log[3].AggregateID != "us" {
		t.Errorf("the log is %+v, want of each region an account and the mail that it caused", log)
	}
}

var silent = slog.New(slog.DiscardHandler)

func TestParked(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	if _, err := evento.Create().Event(AccountOpened{Owner: "Ada"}).RoutingKey("eu").Commit(ctx, store); err != nil {
		t.Fatal(err)
	}
	down := true
	mails := evento.NewSubscription("mails").RoutingKey("eu").AcceptFailure().Retry(0).Logger(silent).Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
			if down {
				return errors.New("no server")
			}
			return sendMail(ctx, e)
		}))
	if err := mails.Execute(ctx, store); err != nil {
		t.Fatal(err)
	}
	down = false
	if err := errors.Join(mend(ctx, store), mails.Execute(ctx, store)); err != nil {
		t.Fatal(err)
	}
	st, err := evento.ControlOf(store, "mails").RoutingKey("eu").Status(ctx)
	if err != nil || st.Parked != 0 || st.Head != 2 {
		t.Errorf("status %+v, %v, want nothing parked and a mail", st, err)
	}
}

func TestReadModel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "events.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	rows := -1
	sql := func(do func(ctx context.Context) error) {
		t.Helper()
		if err := store.InTx(ctx, do); err != nil {
			t.Fatal(err)
		}
	}
	sql(func(ctx context.Context) error {
		_, err := sqlite.Tx(ctx).ExecContext(ctx, "CREATE TABLE balances (id TEXT PRIMARY KEY, owner TEXT)")
		return err
	})
	sub, err := readModel().Start(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(readOwnWrites(ctx, store), readOwnWrites(ctx, store)); err != nil {
		t.Fatal(err)
	}
	sql(func(ctx context.Context) error {
		return sqlite.Tx(ctx).QueryRowContext(ctx, "SELECT count(*) FROM balances").Scan(&rows)
	})
	if rows != 2 {
		t.Errorf("the read model has %d rows, want those of both writes", rows)
	}
	if err := sub.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

var _ = runUntilSignal // nobody sends the tests one
