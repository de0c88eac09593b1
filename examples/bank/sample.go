// A generator of statements to try the program with.

package main

import (
	"encoding/csv"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento/examples/bank/bank"
)

// Defaults of the sample command.
const (
	sampleLines = 3000
	sampleSeed  = 1
)

// writeSample writes a file of n statements, which is always the same for the same
// n and seed: customers open accounts, pay and are paid, and sometimes request what
// is refused.
func writeSample(w io.Writer, n int, seed uint64) error {
	s := &sampler{
		rand: rand.New(rand.NewPCG(seed, seed)),
		now:  time.Date(2026, time.January, 5, 6, 0, 0, 0, time.UTC),
		step: max(2*time.Second, 60*24*time.Hour/time.Duration(max(n, 1))), // some sixty days in all
		most: max(5, n/20),
	}
	lines := csv.NewWriter(w)
	if err := lines.Write(strings.Split(statementHeader, ",")); err != nil {
		return err
	}
	for range n {
		if err := lines.Write(s.next()); err != nil {
			return err
		}
	}
	lines.Flush()
	return lines.Error()
}

// sampler roughly tracks the balances of what it has written, so that most lines
// are not refused.
type sampler struct {
	rand     *rand.Rand
	now      time.Time
	step     time.Duration
	accounts []*sampleAccount
	most     int
	last     []string
}

type sampleAccount struct {
	number, owner string
	balance       bank.Money
	frozen        bool
	closed        bool
}

// next returns the next line.
func (s *sampler) next() []string {
	s.now = s.now.Add(s.step/2 + time.Duration(s.rand.Int64N(int64(s.step)))).Truncate(time.Second)
	switch p := s.rand.IntN(1000); {
	case len(s.accounts) < 5 || p < 60 && len(s.accounts) < s.most:
		s.last = s.open()
	case p < 70:
		s.last = s.mistake()
	case p < 75:
		// Twice the same line: two statements.
	default:
		s.last = s.pay(s.pick())
	}
	return s.last
}

func (s *sampler) line(a *sampleAccount, kind, amount, counterparty string) []string {
	return []string{s.now.Format(time.RFC3339), a.number, a.owner, kind, amount, counterparty}
}

func (s *sampler) open() []string {
	first := []string{"Ada", "Ben", "Chiara", "Dmitri", "Elif", "Fatou", "Grace", "Hugo", "Inés", "Jun", "Kofi", "Lena", "Mei", "Noor", "Olga", "Pavel"}
	last := []string{"Abel", "Berg", "Costa", "Diallo", "Eriksen", "Fischer", "García", "Horváth", "Ito", "Jensen", "Kaya", "Lopes", "Mbeki", "Novák", "O’Brien", "Park"}
	a := &sampleAccount{
		number:  strconv.Itoa(100_000 + 7*len(s.accounts)),
		owner:   first[s.rand.IntN(len(first))] + " " + last[s.rand.IntN(len(last))],
		balance: bank.Money(s.rand.IntN(2000)) * 100,
	}
	s.accounts = append(s.accounts, a)
	amount := ""
	if a.balance > 0 {
		amount = a.balance.String()
	}
	return s.line(a, "open", amount, "")
}

// pick prefers older accounts: a few customers do much, most do little. It rarely
// returns a closed account.
func (s *sampler) pick() *sampleAccount {
	for {
		x := s.rand.Float64()
		a := s.accounts[int(x*x*float64(len(s.accounts)))]
		if !a.closed || s.rand.IntN(20) == 0 {
			return a
		}
	}
}

func (s *sampler) pay(a *sampleAccount) []string {
	amount := bank.Money(1 + s.rand.IntN(300_00))
	switch p := s.rand.IntN(100); {
	case a.frozen && p < 50:
		a.frozen = false
		return s.line(a, "unfreeze", "", "")
	case p < 1 && !a.frozen:
		a.frozen = true
		return s.line(a, "freeze", "", "")
	case p < 2 && a.balance <= 0:
		a.closed = true
		return s.line(a, "close", "", "")
	case p < 3 && a.balance > 0 && a.balance < 500_00:
		amount, a.balance = a.balance, 0 // so that a close may follow
		return s.line(a, "withdraw", amount.String(), "")
	case p < 5: // the balance may be too low
	case p < 40 || amount > a.balance:
		a.balance += amount
		return s.line(a, "deposit", amount.String(), "")
	case p < 70:
		to := s.pick()
		for to == a {
			to = s.pick()
		}
		a.balance, to.balance = a.balance-amount, to.balance+amount
		return s.line(a, "transfer", amount.String(), to.number)
	}
	a.balance -= amount
	return s.line(a, "withdraw", amount.String(), "")
}

// mistake returns a line that is refused.
func (s *sampler) mistake() []string {
	a := s.pick()
	line := s.line(a, "deposit", "10.00", "")
	switch s.rand.IntN(8) {
	case 0:
		line[0] = s.now.Format("02.01.2006")
	case 1:
		line[1] = "999999" // an account that does not exist
	case 2:
		line[3] = "gift"
	case 3:
		line[4] = "9.999"
	case 4:
		line[4] = "-10.00"
	case 5:
		line[5] = a.number
	case 6:
		line = line[:4]
	case 7:
		line[3], line[5] = "transfer", "999999"
	}
	return line
}
