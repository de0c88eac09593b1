package evento_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/group"
)

// mailbox is what the handlers of these tests commit to.
const mailbox evento.AggregateType = "bank/Mailbox"

type letterSent struct{ About string }

func (letterSent) AggregateType() evento.AggregateType { return mailbox }
func (letterSent) EventName() string                   { return "LetterSent" }

// inbox is what was sent to an account.
type inbox struct{ Letters []string }

var inboxes = evento.NewProjection[inbox]("inboxes", mailbox).Handler(
	evento.Apply(func(i *inbox, e evento.Event[letterSent]) error {
		i.Letters = append(i.Letters, e.Data.About)
		return nil
	}))

func label(e evento.RawEvent) string { return fmt.Sprint(e.AggregateID, e.Version) }

// letter is a commit of a letter about an event, to the account of the event.
func letter(e evento.RawEvent) *evento.CommitBuilder {
	return evento.Aggregate(e.AggregateID).AnyVersion().Event(letterSent{label(e)})
}

// send commits a letter about each event, as a handler does.
func send(ctx context.Context, es ...evento.RawEvent) error {
	for _, e := range es {
		if _, err := letter(e).Commit(ctx, evento.ExecutorFrom(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// letters lists all letters.
func letters(ctx context.Context, t *testing.T, ex evento.Executor) (all []string) {
	t.Helper()
	for e, err := range evento.Events(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByType(mailbox)}}) {
		noErr(t, err)
		l, err := evento.Decode[letterSent](e)
		noErr(t, err)
		all = append(all, l.Data.About)
	}
	return all
}

func wantLetters(t *testing.T, what string, ex evento.Executor, wanted ...string) {
	t.Helper()
	want(t, what+": letters", letters(t.Context(), t, ex), wanted...)
}

// wantDone checks that the place of the subscription is behind all accounts' events.
func wantDone(t *testing.T, what string, ex evento.Executor) {
	t.Helper()
	s, err := evento.ControlOf(ex, "s").Status(t.Context())
	noErr(t, err)
	if s.Behind != 0 {
		t.Errorf("%s: %d events behind, want none", what, s.Behind)
	}
}

// staging is a subscription of accounts, whose handler gets one event or several.
func staging(batch bool, handle func(ctx context.Context, es ...evento.RawEvent) error) *evento.SubscriptionBuilder {
	h := evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error { return handle(ctx, e) })
	if batch {
		h = evento.HandleAllBatch(Account, func(ctx context.Context, es []evento.RawEvent) error { return handle(ctx, es...) })
	}
	return evento.NewSubscription("s").Transactional().Logger(silent).Handler(h)
}

// badProcess is a process whose writes fail too.
type badProcess struct {
	process
	fault func(evento.Write) string
}

func newBadProcess(ex evento.Executor, fault func(evento.Write) string) *badProcess {
	return &badProcess{process{Executor: ex}, fault}
}

func (f *badProcess) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := f.step(ctx); err != nil {
		return nil, err
	}
	fault := f.fault(w)
	switch fault {
	case "refused":
		return nil, errLost
	case "not stored":
		return nil, evento.ErrOutcomeUnknown
	case "late":
		time.AfterFunc(50*time.Millisecond, func() { _, _ = f.Executor.Write(context.WithoutCancel(ctx), w) })
		return nil, evento.ErrOutcomeUnknown
	}
	receipts, err := f.Executor.Write(ctx, w)
	if err == nil && fault == "stored" {
		return nil, evento.ErrOutcomeUnknown
	}
	return receipts, err
}

// isOf reports whether a write has a letter about an event.
func isOf(w evento.Write, event string) bool {
	return slices.ContainsFunc(w.Appends, func(a evento.Append) bool {
		return slices.ContainsFunc(a.Events, func(e evento.NewEvent) bool { return strings.Contains(string(e.Data), event) })
	})
}

// Whatever fails, the letters are about the events, each once, and in order.
func TestStagedExactlyOnce(t *testing.T) {
	t.Parallel()
	var refused, unknown, parked, conflicts atomic.Int64
	for seed := range uint64(16) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 4))
			roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
			var calm atomic.Bool
			chance := func(n int) bool { return !calm.Load() && roll(n) == 0 }
			store := newStore(t)
			ex := newBadProcess(store, func(evento.Write) string {
				switch {
				case chance(10):
					refused.Add(1)
					return "refused"
				case chance(6):
					unknown.Add(1)
					return []string{"stored", "not stored", "late"}[roll(3)]
				}
				return ""
			})
			batch, partitions := seed%2 == 1, 1+int(seed/2%2)*2
			b := staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
				d := evento.ExecutorFrom(ctx)
				for _, e := range es {
					if err := send(ctx, e); err != nil {
						return err
					}
					// One mailbox for all partitions, at a version that others move.
					if _, err := inboxes.Update(ctx, d, "everybody", func(*evento.Loaded[inbox]) ([]evento.Payload, error) {
						return []evento.Payload{letterSent{label(e)}}, nil
					}, evento.OrNew()); err != nil {
						return err
					}
					if chance(25) || e.Version%7 == 0 && !calm.Load() && roll(4) > 0 {
						return errPoor
					}
				}
				time.Sleep(time.Duration(roll(1000)) * time.Microsecond)
				return nil
			}).AcceptFailure().Lease(500 * time.Millisecond).Retry(2).ChunkSize(1 + roll(12)).Partitions(partitions).
				Hooks(evento.SubscriptionHooks{
					Retry: func(_ context.Context, _ string, _ evento.RawEvent, _ int, err error) {
						if errors.Is(err, evento.ErrConflict) {
							conflicts.Add(1)
						}
					},
					GaveUp: func(context.Context, string, evento.RawEvent, int, error) { parked.Add(1) },
				})
			trouble(t, seed, &ex.process, ex, store, b, chance, roll)
			calm.Store(true)
			ex.lossy.Store(false)
			start(t, ex, b)
			time.Sleep(20 * time.Second)
			for tries := 0; tries < 50 && len(parkedOf(t, store)) > 0; tries++ { // they may conflict with each other
				noErr(t, evento.ControlOf(store, "s").RetryParked(t.Context(), evento.AllParked()))
				time.Sleep(time.Second)
			}
			synctest.Wait()
			wanted := map[string][]string{}
			for _, e := range events(t, store) {
				if e.AggregateType == Account {
					wanted[e.AggregateID] = append(wanted[e.AggregateID], label(e))
					wanted["everybody"] = append(wanted["everybody"], label(e))
				}
			}
			for id, wanted := range wanted {
				l, err := inboxes.Load(t.Context(), store, id)
				noErr(t, err)
				if id == "everybody" { // the order is that of each account
					slices.Sort(wanted)
					slices.Sort(l.State.Letters)
				}
				want(t, fmt.Sprintf("seed %d: letters of %s", seed, id), l.State.Letters, wanted...)
			}
			want(t, "parked", parkedOf(t, store))
		})
	}
	if refused.Load() == 0 || unknown.Load() == 0 || parked.Load() == 0 || conflicts.Load() == 0 {
		t.Errorf("%d writes refused, %d outcomes unknown, %d events parked, %d conflicts: the test tests nothing", refused.Load(), unknown.Load(), parked.Load(), conflicts.Load())
	}
}

// A write whose outcome was lost is looked for: by the write again, by the place, by the next
// worker after a Shutdown, and when it is stored long after.
func TestStagedLostOutcome(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"refused", "not stored", "stored", "late"} {
		for _, answers := range []int{1, 3, 4, 9} {
			for _, shutdown := range []bool{false, true} {
				for _, batch := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						store := newStore(t)
						deposits(t, store, "a", 5)
						lost, calls := 0, 0
						ex := newBadProcess(store, func(w evento.Write) string {
							if !isOf(w, "a2") {
								return ""
							}
							switch lost++; {
							case lost == 1:
								return fault
							case lost > answers:
								return ""
							case fault == "refused":
								return fault
							}
							return "not stored"
						})
						b := staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
							if calls++; lost > 0 {
								time.Sleep(200 * time.Millisecond) // meanwhile what is late is stored
							}
							return send(ctx, es...)
						}).ChunkSize(2).Lease(500 * time.Millisecond)
						sub := start(t, ex, b)
						synctest.Wait()
						if shutdown {
							noErr(t, sub.Shutdown(t.Context()))
							start(t, ex, b)
						}
						time.Sleep(20 * time.Second)
						synctest.Wait()
						what := fmt.Sprintf("%s, %d answers, shutdown %t, batch %t", fault, answers, shutdown, batch)
						wantLetters(t, what, store, "a1", "a2", "a3", "a4", "a5")
						wantDone(t, what, store)
						if lost < 2 {
							t.Errorf("%s: the write was tried %d times", what, lost)
						}
						if wanted := map[bool]int{false: 5, true: 3}[batch]; strings.HasSuffix(fault, "stored") && answers < 4 && calls != wanted {
							t.Errorf("%s: the handler was called %d times, want %d", what, calls, wanted)
						}
					})
				}
			}
		}
	}
}

// The same without a place that tells: what a decision commits at any version is stored once.
func TestStagedLostOutcomeOfDecision(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"not stored", "stored"} {
		store := newStore(t)
		tries := 0
		ex := newBadProcess(store, func(evento.Write) string {
			if tries++; tries == 1 {
				return fault
			}
			return ""
		})
		_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
			_, err := evento.Aggregate("a").AnyVersion().Event(letterSent{"a1"}).Commit(ctx, d)
			return err
		})
		noErr(t, err)
		wantLetters(t, fault, store, "a1")
		if tries != 2 {
			t.Errorf("%s: %d tries, want 2", fault, tries)
		}
	}
}

// One whose process was halted after its handler has returned stores nothing when it goes on
// and another has taken over.
func TestStagedFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 4)
		none := func(evento.Write) string { return "" }
		older, newer := newBadProcess(store, none), newBadProcess(store, none)
		b := func(ex *badProcess) *evento.SubscriptionBuilder {
			return staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
				if ex == older && es[0].Version == 2 {
					ex.halt()
				}
				return send(ctx, es...)
			}).Lease(time.Second)
		}
		first := start(t, older, b(older))
		synctest.Wait()
		wantLetters(t, "halted", store, "a1")
		start(t, newer, b(newer))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantLetters(t, "taken over", store, "a1", "a2", "a3", "a4")
		older.resume()
		ended(t, first, evento.ErrTakenOver)
		wantLetters(t, "going on", store, "a1", "a2", "a3", "a4")
		wantDone(t, "going on", store)
	})
}

// A handler reads what it has committed, and nobody else does; of one that fails nothing is
// left.
func TestStagedSeesItself(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t)
			deposits(t, store, "a", 4)
			calls := 0
			b := staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
				d := evento.ExecutorFrom(ctx)
				before := letters(ctx, t, store)
				want(t, "before", letters(ctx, t, d), before...)
				has, err := evento.HasEvent[letterSent](ctx, d, "a")
				if noErr(t, err); has != (len(before) > 0) {
					t.Errorf("HasEvent before: %t, with %v", has, before)
				}
				for i, e := range es {
					r, err := letter(e).Commit(ctx, d)
					if noErr(t, err); r.Version != uint64(len(before)+i+1) || r.Position != 0 {
						t.Errorf("the receipt is %+v after %v", r, before)
					}
				}
				after := slices.Clone(before)
				for _, e := range es {
					after = append(after, label(e))
				}
				want(t, "after", letters(ctx, t, d), after...)
				l, err := inboxes.Load(ctx, d, "a")
				if noErr(t, err); l.Version != uint64(len(after)) {
					t.Errorf("Load() at version %d, want %d", l.Version, len(after))
				}
				want(t, "Load", l.State.Letters, after...)
				if has, err := evento.HasEvent[letterSent](ctx, d, "a"); err != nil || !has {
					t.Errorf("HasEvent after: %t, %v", has, err)
				}
				want(t, "the store meanwhile", letters(ctx, t, store), before...)
				if calls++; calls%3 == 1 {
					return errPoor
				}
				if calls%3 == 2 {
					panic(errPoor)
				}
				return nil
			}).ChunkSize(2)
			noErr(t, b.Execute(t.Context(), store))
			wantLetters(t, fmt.Sprint("batch ", batch), store, "a1", "a2", "a3", "a4")
			if wanted := map[bool]int{false: 12, true: 6}[batch]; calls != wanted {
				t.Errorf("batch %t: %d calls, want %d", batch, calls, wanted)
			}
		})
	}
}

// What one call commits is one write, with one append for each aggregate.
func TestStagedIsOneWrite(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 2)
	deposits(t, store, "b", 2)
	for _, batch := range []bool{false, true} {
		var writes []evento.Write
		ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			writes = append(writes, w)
			return store.Write(ctx, w)
		}}
		noErr(t, staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
			if err := send(ctx, es...); err != nil {
				return err
			}
			return send(ctx, es...)
		}).Execute(t.Context(), ex))
		noErr(t, evento.ControlOf(store, "s").Remove(t.Context()))
		var got []string
		for _, w := range writes {
			text := ""
			for _, a := range w.Appends {
				text += fmt.Sprint(a.AggregateID, " ", len(a.Events), " ")
			}
			got = append(got, fmt.Sprint(text, len(w.Swap.Changes)))
		}
		if batch {
			want(t, "writes", got, "a 4 b 4 1")
		} else {
			want(t, "writes", got, "a 2 1", "a 2 1", "b 2 1", "b 2 1")
		}
	}
	wantLetters(t, "at the end", store, "a1", "a1", "a2", "a2", "b1", "b1", "b2", "b2", "a1", "a2", "a1", "a2", "b1", "b2", "b1", "b2")
}

// An event that no handler is for takes no write; the place is stored with the next, or at the
// end.
func TestStagedPassesOver(t *testing.T) {
	t.Parallel()
	for _, last := range []bool{false, true} {
		store := newStore(t)
		deposits(t, store, "a", 500)
		commit(t, store, evento.Aggregate("b").Event(AccountOpened{}))
		if !last {
			deposits(t, store, "a", 500)
		}
		writes, swaps, opened := 0, 0, 0
		ex := &hooked{
			Executor: store,
			write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				writes++
				return store.Write(ctx, w)
			},
			swap: func(ctx context.Context, s evento.Swap) error {
				swaps++
				return store.Swap(ctx, s)
			},
		}
		b := evento.NewSubscription("s").Transactional().SafetyCheck().Skip(MoneyDeposited{}).Handler(
			evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
				if opened++; opened == 1 {
					return errPoor
				}
				return send(ctx, e.RawEvent)
			})).Logger(silent)
		for range 2 {
			noErr(t, b.Execute(t.Context(), ex))
			wantLetters(t, "passed over", store, "b1")
			wantDone(t, "passed over", store)
		}
		if writes != 1 || swaps > 12 {
			t.Errorf("%d writes and %d changes of records, want one write and a few changes", writes, swaps)
		}
	}
}

// A conflict is the event's failure, if the handler does not know better, and also when it is
// found at the end: the event is handled again, on the present, or parked.
func TestStagedConflict(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		for _, batch := range []bool{false, true} {
			for _, retries := range []int{0, 1} {
				synctest.Test(t, func(t *testing.T) { stagedConflict(t, late, batch, retries) })
			}
		}
	}
}

func stagedConflict(t *testing.T, late, batch bool, retries int) {
	store := newStore(t)
	deposits(t, store, "a", 3)
	interfered := false
	interfere := func(e evento.RawEvent, now bool) {
		if e.Version == 2 && now && !interfered {
			interfered = true
			commit(t, store, evento.Aggregate("a").AnyVersion().Event(letterSent{"other"}))
		}
	}
	var failures []string
	b := staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
		for _, e := range es {
			l, err := inboxes.Load(ctx, evento.ExecutorFrom(ctx), "a", evento.OrNew())
			if err != nil {
				return err
			}
			interfere(e, !late)
			_, err = l.Aggregate().Event(letterSent{label(e)}).Commit(ctx, evento.ExecutorFrom(ctx))
			if told := !late && !batch && e.Version == 2 && l.Version == 1; errors.Is(err, evento.ErrConflict) != told {
				t.Errorf("Commit() = %v, with a conflict %t", err, told)
			}
			if err != nil {
				return err
			}
			interfere(e, late)
		}
		return nil
	}).Retry(retries).AcceptFailure().Hooks(evento.SubscriptionHooks{
		Retry: func(_ context.Context, _ string, e evento.RawEvent, attempt int, err error) {
			failures = append(failures, fmt.Sprint(label(e), " ", attempt, " ", errors.Is(err, evento.ErrConflict)))
		},
	})
	noErr(t, b.Execute(t.Context(), store))
	what := fmt.Sprintf("late %t, batch %t, %d retries", late, batch, retries)
	switch {
	case batch:
		wantLetters(t, what, store, "other", "a1", "a2", "a3")
	case retries == 1:
		wantLetters(t, what, store, "a1", "other", "a2", "a3")
		want(t, what+": failures", failures, "a2 1 true")
	default:
		wantLetters(t, what, store, "a1", "other")
		want(t, what+": parked", parkedOf(t, store), `a2 1 evento: conflict: bank/Mailbox "a" is at version 2, not 1`, "a3 0 ")
		noErr(t, evento.ControlOf(store, "s").RetryParked(t.Context(), evento.AllParked()))
		noErr(t, b.Execute(t.Context(), store))
		wantLetters(t, what+", retried", store, "a1", "other", "a2", "a3")
	}
	want(t, what+": parked", parkedOf(t, store))
}

// A handler that commits what is there already is told so at once, and may go on.
func TestStagedConflictAtOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 2)
	conflicts := 0
	noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
		if err := send(ctx, es...); err != nil {
			return err
		}
		for range 2 {
			_, err := evento.Aggregate("welcome").Event(letterSent{"welcome"}).Commit(ctx, evento.ExecutorFrom(ctx))
			switch {
			case errors.Is(err, evento.ErrConflict):
				conflicts++
			case err != nil:
				return err
			}
		}
		return nil
	}).Retry(0).Execute(t.Context(), store))
	wantLetters(t, "at the end", store, "a1", "welcome", "a2")
	if conflicts != 3 {
		t.Errorf("%d conflicts, want 3", conflicts)
	}
}

// A receipt within a handler is relied on, if the handler commits at its version: then it holds
// at the end, too.
func TestStagedReceiptHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 1)
		calls := 0
		noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			d := evento.ExecutorFrom(ctx)
			r, err := letter(es[0]).Commit(ctx, d)
			if err != nil {
				return err
			}
			if calls++; calls == 1 {
				commit(t, store, evento.Aggregate("a").Event(letterSent{"other"}))
			}
			_, err = evento.Aggregate("a").OriginalVersion(r.Version).Event(letterSent{fmt.Sprint("at ", r.Version)}).Commit(ctx, d)
			return err
		}).Execute(t.Context(), store))
		wantLetters(t, "at the end", store, "other", "a1", "at 2")
	})
}

// A decision within a handler is part of what the handler commits, with its conditions. One
// that fails adds nothing.
func TestStagedDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 3)
		var counts []int
		var over *evento.ConflictError
		b := staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			d := evento.ExecutorFrom(ctx)
			if err := send(ctx, es...); err != nil {
				return err
			}
			l, err := inboxes.Load(ctx, d, "a")
			noErr(t, err)
			decide := func(fails error) error {
				_, err := evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) error {
					n := len(letters(ctx, t, d))
					counts = append(counts, n)
					r, err := evento.Aggregate("a").AnyVersion().Event(letterSent{fmt.Sprint("of ", n)}).Commit(ctx, d)
					if err == nil && r.Version != l.Version+1 {
						t.Errorf("the receipt is %+v, after version %d", r, l.Version)
					}
					return errors.Join(err, fails)
				})
				return err
			}
			if err := decide(errPoor); !errors.Is(err, errPoor) {
				t.Errorf("Decide() of a function that fails = %v", err)
			}
			if err := decide(nil); err != nil {
				return err
			}
			if es[0].Version == 2 && over == nil { // which the decision has read
				commit(t, store, evento.Aggregate("b").AnyVersion().Event(letterSent{"other"}))
			}
			_, err = inboxes.Update(ctx, d, "a", func(l *evento.Loaded[inbox]) ([]evento.Payload, error) {
				return []evento.Payload{letterSent{fmt.Sprint("behind ", len(l.State.Letters))}}, nil
			})
			return err
		}).Retry(1).Hooks(evento.SubscriptionHooks{
			Retry: func(_ context.Context, _ string, _ evento.RawEvent, _ int, err error) {
				if !errors.As(err, &over) || over.Condition == 0 {
					t.Errorf("the handler has failed with %v, want a conflict over a condition", err)
				}
			},
		})
		noErr(t, b.Execute(t.Context(), store))
		wantLetters(t, "decided", store, "a1", "of 1", "behind 2", "other", "a2", "of 5", "behind 5", "a3", "of 8", "behind 8")
		if wanted := []int{1, 1, 4, 4, 5, 5, 8, 8}; !slices.Equal(counts, wanted) {
			t.Errorf("the decisions have read %v letters, want %v", counts, wanted)
		}
		if over == nil {
			t.Error("no decision has conflicted")
		}
	})
}

// A handler pauses and resets its own subscription, with what it commits, or not at all.
func TestStagedControlsItself(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{false, true} {
		for _, partitions := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				deposits(t, store, "a", 4)
				calls := map[string]int{}
				b := func() *evento.SubscriptionBuilder {
					return staging(batch, func(ctx context.Context, es ...evento.RawEvent) error {
						control := evento.ControlOf(evento.ExecutorFrom(ctx), "s")
						stored := letters(ctx, t, store)
						for _, e := range es {
							calls[label(e)]++
							switch again := slices.Contains(stored, label(e)); {
							case e.Version == 2 && !again:
								noErr(t, control.Pause(ctx))
							case e.Version == 3 && !again:
								noErr(t, control.Pause(ctx))
								noErr(t, control.ResetToStart(ctx))
								noErr(t, control.Resume(ctx))
							}
							if err := send(ctx, e); err != nil {
								return err
							}
							if e.Version == 2 && calls["a2"] == 1 {
								return errPoor
							}
						}
						return nil
					}).Partitions(partitions).ChunkSize(2)
				}
				what := fmt.Sprintf("batch %t, %d partitions", batch, partitions)
				for range 2 { // the second time, it is paused
					if err := b().Execute(t.Context(), store); !errors.Is(err, evento.ErrPaused) {
						t.Errorf("%s: Execute() = %v, want %v", what, err, evento.ErrPaused)
					}
					wantLetters(t, what, store, "a1", "a2")
				}
				s, err := evento.ControlOf(store, "s").Status(t.Context())
				noErr(t, err)
				if s.Behind != 2 {
					t.Errorf("%s: %d events behind, want 2", what, s.Behind)
				}
				noErr(t, evento.ControlOf(store, "s").Resume(t.Context()))
				noErr(t, b().Execute(t.Context(), store))
				again := []string{"a1", "a2", "a3", "a1", "a2", "a3", "a4"}
				if batch {
					again = []string{"a1", "a2", "a3", "a4", "a1", "a2", "a3", "a4"}
				}
				wantLetters(t, what+", reset", store, again...)
				noErr(t, b().Execute(t.Context(), store))
				wantLetters(t, what+", at the end", store, again...)
			})
		}
	}
}

// A handler pauses its own subscription though other partitions store their places all the
// time: that is no failure of its event.
func TestStagedPausesBusyPartitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		const accounts, each = 9, 300
		for range each {
			for i := range accounts {
				deposits(t, store, fmt.Sprint("a", i), 1)
			}
		}
		err := staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			if label(es[0]) == "a320" {
				noErr(t, evento.ControlOf(evento.ExecutorFrom(ctx), "s").Pause(ctx))
			}
			return send(ctx, es...)
		}).Partitions(3).Retry(0).Execute(t.Context(), slow(store))
		if !errors.Is(err, evento.ErrPaused) || errors.As(err, new(*evento.HandlerError)) {
			t.Errorf("Execute() = %v, want %v", err, evento.ErrPaused)
		}
		all := letters(t.Context(), t, store)
		if n := len(all); !slices.Contains(all, "a320") || slices.Contains(all, "a321") || n > accounts*each*2/3 {
			t.Errorf("%d of %d events were handled before the pause", n, accounts*each)
		}
		noErr(t, evento.ControlOf(store, "s").Resume(t.Context()))
		noErr(t, staging(true, send).Partitions(3).Execute(t.Context(), store))
		if n := len(letters(t.Context(), t, store)); n != accounts*each {
			t.Errorf("%d letters at the end, want %d", n, accounts*each)
		}
	})
}

// A deadline is set and cleared with what the handler commits, or not at all.
func TestStagedDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 3)
		names := func(ctx context.Context, ex evento.Executor) (all []string) {
			for d, err := range evento.Deadlines(ctx, ex) {
				noErr(t, err)
				all = append(all, d.Name)
			}
			return all
		}
		var before [][]string
		b := staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			d := evento.ExecutorFrom(ctx)
			before = append(before, names(ctx, store))
			want(t, "before, by the handler", names(ctx, d), before[len(before)-1]...)
			c := letter(es[0]).Deadline(label(es[0]), time.Now().Add(time.Hour), letterSent{"overdue " + label(es[0])})
			if es[0].Version == 2 {
				c.ClearDeadline("a1")
			}
			if _, err := c.Commit(ctx, d); err != nil {
				return err
			}
			if len(before)%2 == 1 {
				return errPoor
			}
			want(t, "set, by the handler", names(ctx, d), map[uint64][]string{1: {"a1"}, 2: {"a2"}, 3: {"a2", "a3"}}[es[0].Version]...)
			return nil
		})
		noErr(t, b.Execute(t.Context(), store))
		for i, wanted := range [][]string{nil, nil, {"a1"}, {"a1"}, {"a2"}, {"a2"}} {
			want(t, fmt.Sprint("set before call ", i+1), before[i], wanted...)
		}
		want(t, "set at the end", names(t.Context(), store), "a2", "a3")
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = evento.RunDeadlines(ctx, store) }()
		time.Sleep(2 * time.Hour)
		cancel()
		synctest.Wait()
		wantLetters(t, "two hours later", store, "a1", "a2", "a3", "overdue a2", "overdue a3")
	})
}

// The executor of a handler is of no use when the handler has returned. What one call cannot
// commit as one is refused at once.
func TestStagedRefuses(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 2)
	record := evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "mine", Key: "key"}}}}
	var left []evento.Executor
	calls := 0
	noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
		d := evento.ExecutorFrom(ctx)
		left = append(left, d)
		if err := send(ctx, es...); err != nil {
			return err
		}
		if _, err := letter(es[0]).RequestedBy("ann").Commit(ctx, d); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "other metadata") {
			t.Errorf("Commit() with other metadata = %v", err)
		}
		if calls++; calls == 1 {
			return errPoor
		}
		return nil
	}).Execute(t.Context(), store))
	if len(left) != 3 {
		t.Fatalf("%d calls, want 3", len(left))
	}
	for _, d := range left {
		_, err := evento.Create().Event(letterSent{"late"}).Commit(t.Context(), d)
		for what, err := range map[string]error{"Commit": err, "Swap": d.Swap(t.Context(), record)} {
			if !errors.Is(err, evento.ErrInvalid) || !strings.HasSuffix(err.Error(), "the transaction has ended") {
				t.Errorf("%s() when the handler has returned = %v, want %v and why", what, err, evento.ErrInvalid)
			}
		}
	}
	wantLetters(t, "at the end", store, "a1", "a2")
}

// unable is an executor that has InTx and no transactions.
type unable struct{ evento.Executor }

func (unable) InTx(context.Context, func(context.Context) error) error {
	return fmt.Errorf("unable: %w", errors.ErrUnsupported)
}

func TestStagedWithoutTransactions(t *testing.T) {
	t.Parallel()
	for what, of := range map[string]func(evento.Executor) evento.Executor{
		"a wrapper": func(ex evento.Executor) evento.Executor { return unable{ex} },
		"a group":   func(ex evento.Executor) evento.Executor { return group.New(ex, newStore(t)) },
	} {
		store := newStore(t)
		deposits(t, store, "a", 2)
		calls := 0
		noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			if err := send(ctx, es...); err != nil {
				return err
			}
			if calls++; calls == 1 {
				return errPoor
			}
			return nil
		}).Execute(t.Context(), of(store)))
		wantLetters(t, what, store, "a1", "a2")
	}
}

// A handler that changes a record at a revision that is past, or more of them than one write
// may have, has failed. It is not called for ever, and of a batch the others are handled.
func TestStagedRecordsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 1)
		deposits(t, store, "b", 1)
		mine := func(key string) evento.Change {
			return evento.Change{RecordKey: evento.RecordKey{Kind: "mine", Key: key}}
		}
		noErr(t, store.Swap(t.Context(), evento.Swap{Changes: []evento.Change{mine("stale")}}))
		calls := map[string]int{}
		noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
			if calls[es[0].AggregateID]++; es[0].AggregateID == "a" {
				if err := evento.ExecutorFrom(ctx).Swap(ctx, evento.Swap{Changes: []evento.Change{mine("stale")}}); err != nil {
					return err
				}
			}
			return send(ctx, es...)
		}).Retry(2).AcceptFailure().Execute(t.Context(), store))
		wantLetters(t, "a stale record", store, "b1")
		want(t, "parked", parkedOf(t, store), `a1 3 evento: record was changed meanwhile: mine "stale" "" is at revision 1, not 0`)
		if calls["a"] > 4 {
			t.Errorf("the handler was called %d times", calls["a"])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		for i := range 3 {
			deposits(t, store, fmt.Sprint("account ", i), 20)
		}
		began := time.Now()
		noErr(t, staging(true, func(ctx context.Context, es ...evento.RawEvent) error {
			for _, e := range es { // two records each
				if _, err := letter(e).Deadline(label(e), time.Now().Add(time.Hour), letterSent{"overdue"}).Commit(ctx, evento.ExecutorFrom(ctx)); err != nil {
					return err
				}
			}
			return nil
		}).Execute(t.Context(), store))
		if n := len(letters(t.Context(), t, store)); n != 60 {
			t.Errorf("%d letters, want 60", n)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the batch was tried again for %s, in vain", waited)
		}
	})
}

// States are kept in a transaction too: those of what was deleted are removed, and while the
// store fails no event has failed.
func TestStagedKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		p := erasable()
		process := &process{Executor: store}
		var outage sync.Once
		ex := &hooked{Executor: process, saveSnapshot: func(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
			outage.Do(func() {
				process.failing.Store(true)
				time.AfterFunc(10*time.Minute, func() { process.failing.Store(false) })
			})
			if err := process.step(ctx); err != nil {
				return err
			}
			return store.SaveSnapshot(ctx, key, s)
		}}
		var failed atomic.Int64
		sub := start(t, ex, keeping(p).Transactional().Hooks(evento.SubscriptionHooks{
			Retry: func(context.Context, string, evento.RawEvent, int, error) { failed.Add(1) },
		}))
		deposits(t, store, "a", 1)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if err := sub.Err(); err != nil || failed.Load() > 0 || process.failing.Load() {
			t.Errorf("after an outage: ended with %v, %d failures", err, failed.Load())
		}
		wantKept(t, "after an outage", store, p, "a")
		deposits(t, store, "a", 1)
		deposits(t, store, "b", 3)
		time.Sleep(time.Second)
		synctest.Wait()
		wantKept(t, "more", store, p, "a", "b")
		commit(t, store, evento.Aggregate("a").OriginalVersion(2).Event(accountErased{}))
		time.Sleep(time.Second)
		synctest.Wait()
		wantKept(t, "deleted", store, p, "b")
	})
}

// A deadline that one call sets, moves and clears several times comes true once, when it was
// set last.
func TestStagedDeadlineMovesInOneCall(t *testing.T) {
	t.Parallel()
	const clears = 0
	for _, before := range []bool{false, true} {
		for _, hours := range [][]int{{1, 2}, {2, 2, 2}, {clears, 2}, {2, clears, 2}, {1, 2, 1, 2}} {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				began := time.Now()
				deadline := func(b *evento.CommitBuilder, hours int) *evento.CommitBuilder {
					if hours == clears {
						return b.ClearDeadline("x")
					}
					return b.Deadline("x", began.Add(time.Duration(hours)*time.Hour), letterSent{"overdue"})
				}
				if before {
					commit(t, store, deadline(evento.Aggregate("a").Event(letterSent{"before"}), 2))
				}
				deposits(t, store, "a", 1)
				noErr(t, staging(false, func(ctx context.Context, es ...evento.RawEvent) error {
					for _, h := range hours {
						if _, err := deadline(letter(es[0]), h).Commit(ctx, evento.ExecutorFrom(ctx)); err != nil {
							return err
						}
					}
					return nil
				}).Execute(t.Context(), store))
				ctx, cancel := context.WithCancel(t.Context())
				go func() { _ = evento.RunDeadlines(ctx, store) }()
				for _, after := range []struct {
					wait time.Duration
					want int
				}{{90 * time.Minute, 0}, {time.Hour, 1}} {
					time.Sleep(after.wait)
					n := 0
					for _, l := range letters(t.Context(), t, store) {
						if l == "overdue" {
							n++
						}
					}
					if n != after.want {
						t.Errorf("set before %t, then %v: came true %d times after %s, want %d", before, hours, n, time.Since(began), after.want)
					}
				}
				cancel()
				synctest.Wait()
			})
		}
	}
}
