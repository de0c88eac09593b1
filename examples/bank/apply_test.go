package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
	"github.com/evento-go/evento/executor/memory"
)

// rows is the whole read model.
func rows(t *testing.T, s *store) (all []bank.Balance) {
	t.Helper()
	page, err := s.balances.Page(t.Context(), cursor.Forward(cursor.MaxPage, ""))
	must(t, err)
	for _, e := range page.Edges {
		all = append(all, e.Node)
	}
	return all
}

// applyText applies a file in batches of a size, and returns the reasons of
// the lines that were refused.
func applyText(t *testing.T, b *bank.Bank, text string, batch int) (Counts, map[int]string) {
	t.Helper()
	r, err := newStatementReader(strings.NewReader(text))
	must(t, err)
	refused := map[int]string{}
	a := newApplier(b)
	if a.batch = batch; batch == 7 {
		a.keep = 20
	}
	c, err := a.applyAll(t.Context(), r, func(line int, reason string) { refused[line] = reason }, func(Counts) {})
	must(t, err)
	return c, refused
}

// randomFile returns a file with few accounts and many statements.
func randomFile(seed uint64, lines int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var b strings.Builder
	b.WriteString(statementHeader + "\n")
	for range lines {
		day, account := r.IntN(3), pick("1", "2", "3", "4")
		kind := pick("open", "deposit", "deposit", "deposit", "withdraw", "withdraw", "transfer", "transfer", "transfer", "freeze", "unfreeze", "unfreeze", "close")
		amount, counterparty := "", ""
		switch kind {
		case "deposit", "withdraw", "transfer":
			amount = pick("1", "2.50", "40", "700", "3000.07", "6000")
		}
		if kind == "transfer" {
			counterparty = pick("1", "2", "3", "4", "5")
		}
		fmt.Fprintf(&b, "2026-03-%02dT09:00:00Z,%s,Ann,%s,%s,%s\n", 2+day, account, kind, amount, counterparty)
	}
	return b.String()
}

// model is the bank in its simplest form: without events and commits.
type model map[string]*modelAccount

type modelAccount struct {
	frozen, closed bool
	balance        bank.Money
	spent          map[bank.Day]bank.Money
}

// apply reports whether a statement is applied.
func (m model) apply(s Statement) bool {
	a, to := m[s.Account], m[s.Counterparty]
	if s.Kind == "open" && a == nil {
		m[s.Account] = &modelAccount{balance: s.Amount, spent: map[bank.Day]bank.Money{}}
		return true
	}
	if a == nil || a.closed || s.Kind == "open" {
		return false
	}
	day := bank.DayOf(s.At)
	pays := !a.frozen && a.balance >= s.Amount && a.spent[day]+s.Amount <= bank.DefaultDailyLimit
	switch s.Kind {
	case "deposit":
		a.balance += s.Amount
		return true
	case "freeze", "unfreeze":
		was := a.frozen
		a.frozen = s.Kind == "freeze"
		return was != a.frozen
	case "close":
		a.closed = !a.frozen && a.balance == 0
		return a.closed
	case "transfer":
		if pays = pays && to != nil && to != a && !to.closed; pays {
			to.balance += s.Amount
		}
	}
	if pays {
		a.balance -= s.Amount
		a.spent[day] += s.Amount
	}
	return pays
}

func TestApplyAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		text := randomFile(seed, 250)
		m := model{}
		want := map[int]bool{}
		for _, s := range readAll(t, text) {
			want[s.Line] = m.apply(s)
		}
		var first []bank.Account
		for _, batch := range []int{1, 7, 250} {
			b := bank.New(memory.New(nil))
			counts, refused := applyText(t, b, text, batch) // batches of 7 also use little memory
			for line, applied := range want {
				if reason, was := refused[line]; was == applied {
					t.Fatalf("seed %d, batches of %d, line %d: refused for %q, want applied %t", seed, batch, line, reason, applied)
				}
			}
			if counts.Applied != len(want)-len(refused) || counts.Refused != len(refused) || len(refused) == 0 || counts.Applied == 0 {
				t.Errorf("seed %d, batches of %d: %v, want %d of %d refused", seed, batch, counts, len(refused), len(want))
			}
			var states []bank.Account
			for number, a := range m {
				acc, err := b.Load(t.Context(), number)
				must(t, err)
				if acc.State.Balance != a.balance || acc.State.MoneyInFlight() != 0 {
					t.Errorf("seed %d, batches of %d: account %s has %s, want %s", seed, batch, number, acc.State.Balance, a.balance)
				}
			}
			for _, number := range []string{"1", "2", "3", "4"} {
				acc, err := b.Load(t.Context(), number)
				must(t, err)
				states = append(states, acc.State)
			}
			if first == nil {
				first = states
			}
			if !reflect.DeepEqual(states, first) {
				t.Errorf("seed %d: batches of %d gave %+v, of 1 %+v", seed, batch, states, first)
			}
		}
	}
}

func TestApplyAgain(t *testing.T) {
	t.Parallel()
	const (
		open    = "2026-03-02T09:00:00Z,1,Ann,open,,\n"
		deposit = "2026-03-02T10:00:00Z,1,Ann,deposit,5,\n"
		pay     = "2026-03-02T09:30:00Z,1,Ann,withdraw,3,\n"
	)
	b := bank.New(memory.New(nil))
	steps := []struct {
		what, lines string
		want        Counts
		refused     []int
	}{
		{"two equal deposits are two", open + pay + deposit + deposit, Counts{Applied: 3, Refused: 1}, []int{3}},
		{"nothing twice, and the refusal stays", open + pay + deposit + deposit, Counts{Already: 3, Refused: 1}, []int{3}},
		{"one more of them is new", open + pay + deposit + deposit + deposit, Counts{Already: 3, Refused: 1, Applied: 1}, []int{3}},
		{"in another order", deposit + open + deposit + pay, Counts{Already: 3, Refused: 1}, []int{5}},
		{"the same question again is new", pay + pay, Counts{Refused: 1, Applied: 1}, []int{2}},
		{"nothing", "", Counts{}, nil},
	}
	for _, step := range steps {
		got, refused := applyText(t, b, statementHeader+"\n"+step.lines, batchLines)
		if got != step.want || len(refused) != len(step.refused) {
			t.Errorf("%s: %v, want %v; refused %v", step.what, got, step.want, refused)
		}
		for _, line := range step.refused {
			if want := "account 1 has 0.00 to spend, not 3.00"; refused[line] != want {
				t.Errorf("%s: line %d refused for %q, want %q", step.what, line, refused[line], want)
			}
		}
	}
	if got := balance(t, b, "1"); got != "12.00 + 0.00" {
		t.Errorf("balance %s", got)
	}
}

// A column that is not looked at tells no statement from another: a line that comes
// again with another owner was applied. It does where it is looked at.
func TestApplyAgainWithAnotherOwner(t *testing.T) {
	t.Parallel()
	const at = "2026-03-02T10:00:00Z,"
	lines := func(owner string) (text string) {
		for _, line := range []string{"1,OWNER,deposit,5,", "1,OWNER,withdraw,3,", "1,OWNER,transfer,1,2", "1,OWNER,freeze,,", "1,OWNER,unfreeze,,", "2,OWNER,withdraw,1,", "2,OWNER,close,,"} {
			text += at + strings.ReplaceAll(line, "OWNER", owner) + "\n"
		}
		return text
	}
	const open = at + "1,Ann,open,,\n" + at + "2,Ben,open,,\n"
	b := bank.New(memory.New(nil))
	for _, step := range []struct {
		what, lines string
		want        Counts
	}{
		{"first", open + lines("Ann"), Counts{Applied: 9}},
		{"another owner", open + lines("Eve"), Counts{Already: 9}},
		{"no owner", lines(""), Counts{Already: 7}},
		{"an owner in quotes", lines(`"Ann, again"`), Counts{Already: 7}},
		{"another owner opens", at + "1,Eve,open,,\n", Counts{Refused: 1}},
		{"two in one file are two", lines("Ann") + at + "1,Eve,deposit,5,\n", Counts{Already: 7, Applied: 1}},
	} {
		got, refused := applyText(t, b, statementHeader+"\n"+step.lines, batchLines)
		if got != step.want {
			t.Errorf("%s: %v, want %v; refused %v", step.what, got, step.want, refused)
		}
	}
	if got := balance(t, b, "1"); got != "6.00 + 0.00" {
		t.Errorf("balance %s, want 6.00", got)
	}
}

// Several programs that apply one file at the same time apply each line once, while
// others use the accounts.
func TestApplyTogether(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := filepath.Join(t.TempDir(), "bank.db")
	var text strings.Builder
	must(t, writeSample(&text, 600, 3))
	stores := make([]*store, 3)
	for i := range stores {
		s, err := openStore(ctx, db)
		must(t, err)
		t.Cleanup(func() { must(t, s.close()) })
		stores[i] = s
	}
	b := stores[0].bank
	must(t, b.Open(ctx, "100000", "Mei", at()))

	done := make(chan struct{})
	deposits := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				deposits <- n
				return
			default:
				if err := b.Deposit(ctx, "100000", 1, at()); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	var wg sync.WaitGroup
	counts := make([]Counts, len(stores))
	for i, s := range stores {
		wg.Go(func() { counts[i], _ = applyText(t, s.bank, text.String(), 50) })
	}
	wg.Wait()
	close(done)
	others := <-deposits

	applied := 0
	for _, c := range counts {
		applied += c.Applied
		if c.Applied+c.Refused+c.Already != 600 {
			t.Errorf("%v: not 600 lines", c)
		}
	}
	if want := 600 - counts[0].Refused; applied != want {
		t.Errorf("%d lines applied, want %d: %v", applied, want, counts)
	}
	judgedStatements(t, stores[0])
	// The money is what was paid in minus what was paid out.
	var want bank.Money
	for _, s := range readAll(t, text.String()) {
		if s.Unreadable != "" {
			continue
		}
		day, err := newLedger().Load(ctx, b.Executor(), string(bank.DayOf(s.At)))
		must(t, err)
		reason, judged := day.State.Outcomes[s.ID]
		switch {
		case !judged:
			t.Errorf("line %d is not in the ledger", s.Line)
		case reason != "":
		case s.Kind == "withdraw":
			want -= s.Amount
		case s.Kind != "transfer":
			want += s.Amount
		}
	}
	must(t, stores[0].balances.Subscription().Execute(ctx, b.Executor()))
	var sum bank.Money
	for _, row := range rows(t, stores[0]) {
		sum += row.Balance + row.InFlight
	}
	if want += bank.Money(others); sum != want {
		t.Errorf("there are %s in all, want %s", sum, want)
	}
}

// meddler is a store in which others are faster, a number of times, and in which as
// many answers do not arrive.
type meddler struct {
	evento.Executor
	faster func() error
	left   int
	lost   int
}

func (m *meddler) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if m.left > 0 {
		m.left--
		if err := m.faster(); err != nil {
			return nil, err
		}
	}
	receipts, err := m.Executor.Write(ctx, w)
	if err == nil && m.lost > 0 {
		m.lost--
		return nil, evento.ErrOutcomeUnknown
	}
	return receipts, err
}

func TestApplyAmongOthers(t *testing.T) {
	t.Parallel()
	text := randomFile(7, 100)
	var opening string
	for _, number := range []string{"1", "2", "3", "4"} {
		opening += "2026-03-02T08:00:00Z," + number + ",Ann,open,,\n"
	}
	quiet := bank.New(memory.New(nil))
	applyText(t, quiet, statementHeader+"\n"+opening, batchLines)
	wantCounts, wantRefused := applyText(t, quiet, text, 16)

	ex := &meddler{Executor: memory.New(nil)}
	others := bank.New(ex.Executor)
	ex.faster = func() error {
		// What they do changes no rule's answer.
		_, err := evento.Aggregate(bank.AccountID("1")).AnyVersion().
			Event(bank.LimitsSet{DailyLimit: bank.DefaultDailyLimit, At: at()}).Commit(context.Background(), others.Executor())
		return err
	}
	busy := bank.New(ex)
	applyText(t, busy, statementHeader+"\n"+opening, batchLines)
	ex.left, ex.lost = 30, 3
	counts, refused := applyText(t, busy, text, 16)
	if ex.left != 0 || ex.lost != 0 {
		t.Errorf("nobody was faster %d times, and %d answers were not lost", ex.left, ex.lost)
	}
	if counts != wantCounts || !maps.Equal(refused, wantRefused) {
		t.Errorf("%v, want %v; refused %v, want %v", counts, wantCounts, refused, wantRefused)
	}
	for _, number := range []string{"1", "2", "3", "4"} {
		if got, want := balance(t, busy, number), balance(t, quiet, number); got != want {
			t.Errorf("account %s: %s, want %s", number, got, want)
		}
	}
}

// Apply and the transfer process treat a transfer in the same way.
func TestApplyLeavesNothingToTheProcess(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), memory.New(nil)
	b := bank.New(ex)
	var text strings.Builder
	must(t, writeSample(&text, 300, 4))
	applyText(t, b, text.String(), batchLines)
	head := func() (n int) {
		for _, err := range evento.Events(ctx, ex, evento.Query{}) {
			must(t, err)
			n++
		}
		return n
	}
	before := head()
	must(t, b.Transfers().Execute(ctx, ex))
	// Nor would there be anything to do without the mark.
	for e, err := range evento.Events(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(bank.TransferSent{})}}) {
		must(t, err)
		if e.Metadata.Values[bank.SettledKey] == "" {
			t.Fatalf("position %d has no mark", e.Position)
		}
	}
	unmarked := evento.NewSubscription("unmarked").Handler(evento.Handle(func(ctx context.Context, e evento.Event[bank.TransferSent]) error {
		e.Metadata.Values = nil
		return b.Settle(ctx, e)
	}))
	must(t, unmarked.Execute(ctx, ex))
	if after := head(); after != before {
		t.Errorf("%d events became %d", before, after)
	}
}

// failing is a file that cannot be read completely.
type failing struct{ r io.Reader }

var errBroken = errors.New("disk on fire")

func (f failing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if errors.Is(err, io.EOF) {
		err = errBroken
	}
	return n, err
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	b := bank.New(memory.New(nil))
	r, err := newStatementReader(failing{strings.NewReader(statementHeader + "\n2026-03-02T09:00:00Z,1,Ann,open,5,\n")})
	must(t, err)
	counts, err := newApplier(b).applyAll(t.Context(), r, func(int, string) {}, func(Counts) {})
	if !errors.Is(err, errBroken) || counts != (Counts{Applied: 1}) {
		t.Errorf("%v, %v, want one line applied and %v", counts, err, errBroken)
	}
}

// An event may come twice; the read model applies it once.
func TestReadModelSeesEventsTwice(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := openStore(ctx, filepath.Join(t.TempDir(), "bank.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.close()) })
	applyText(t, s.bank, randomFile(5, 300), batchLines)
	must(t, s.balances.Subscription().Execute(ctx, s.ex))
	first := rows(t, s)
	// A worker whose cursor was not stored begins at the last stored one.
	must(t, evento.ControlOf(s.ex, "bank-balances").ResetToStart(ctx))
	must(t, s.balances.Subscription().Execute(ctx, s.ex))
	if again := rows(t, s); len(first) < 3 || !reflect.DeepEqual(again, first) {
		t.Errorf("%+v became %+v", first, again)
	}
}
