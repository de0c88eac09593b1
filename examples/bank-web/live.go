// Live balances. One goroutine follows the events of all accounts; each open page has a
// stream, which is told how its accounts are now.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
)

const (
	mostViewers = 1000
	mostWatched = 100 // accounts of a page
	beatEvery   = 15 * time.Second
	slowest     = 10 * time.Second // a viewer that takes longer has gone
)

// live tells open pages of changes. It is safe for concurrent use: mu guards the viewers
// and their news.
type live struct {
	bank   *bank.Bank
	logger *slog.Logger

	mu      sync.Mutex
	viewers map[*viewer]struct{}
}

// viewer is an open page. A slow one misses states, but never the last.
type viewer struct {
	watched []string              // ids of accounts
	news    map[string]*liveState // not yet sent, by id
	wake    chan struct{}         // has room for one
}

// liveState is how an account is, as a page is told.
type liveState struct {
	ID       string `json:"id"`
	Version  uint64 `json:"version"`
	Status   string `json:"status"`
	Balance  string `json:"balance"`
	InFlight string `json:"inFlight"`
}

func newLive(b *bank.Bank, logger *slog.Logger) *live {
	return &live{bank: b, logger: logger, viewers: map[*viewer]struct{}{}}
}

// run tells viewers of new events until ctx ends.
func (l *live) run(ctx context.Context) error {
	ex := l.bank.Executor()
	last, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		return err
	}
	accounts := evento.Query{Filters: []evento.Filter{evento.ByType(bank.AccountType)}}
	for e, err := range evento.Follow(ctx, ex, accounts, last.PageInfo.EndCursor) {
		if err != nil {
			return err
		}
		if !l.isWatched(e.AggregateID) {
			continue
		}
		state, err := l.load(ctx, e.AggregateID)
		if err != nil { // of this account alone, or Follow ends too
			l.logger.WarnContext(ctx, "an account cannot be shown live", "id", e.AggregateID, "error", err)
			continue
		}
		l.tell(state)
	}
	return nil
}

func (l *live) load(ctx context.Context, id string) (*liveState, error) {
	acc, err := l.bank.ByID(ctx, id)
	if err != nil {
		return nil, err
	}
	a := &acc.State
	return &liveState{ID: id, Version: acc.Version, Status: a.Status(), Balance: a.Balance.String(), InFlight: inFlight(a.MoneyInFlight())}, nil
}

func (l *live) isWatched(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.viewers {
		if slices.Contains(v.watched, id) {
			return true
		}
	}
	return false
}

func (l *live) tell(state *liveState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.viewers {
		if slices.Contains(v.watched, state.ID) {
			v.put(state)
		}
	}
}

// put adds a state to the news, unless there is a newer one. l.mu is held.
func (v *viewer) put(state *liveState) {
	if known := v.news[state.ID]; known != nil && known.Version >= state.Version {
		return
	}
	v.news[state.ID] = state
	select {
	case v.wake <- struct{}{}:
	default: // it is awake
	}
}

func (l *live) join(v *viewer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) >= mostViewers {
		return false
	}
	l.viewers[v] = struct{}{}
	return true
}

func (l *live) leave(v *viewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, v)
}

func (l *live) take(v *viewer) []*liveState {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := make([]*liveState, 0, len(v.news))
	for _, state := range v.news {
		news = append(news, state)
	}
	clear(v.news)
	return news
}

// stream sends server-sent events about the accounts of a page: first how they are, as a
// page may have been made before, and then each change.
func (l *live) stream(w http.ResponseWriter, r *http.Request) {
	ids := r.URL.Query()["account"]
	if len(ids) > mostWatched {
		http.Error(w, fmt.Sprintf("At most %d accounts can be watched.", mostWatched), http.StatusBadRequest)
		return
	}
	v := &viewer{watched: ids, news: map[string]*liveState{}, wake: make(chan struct{}, 1)}
	if !l.join(v) {
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return
	}
	defer l.leave(v)
	for _, id := range ids {
		if state, err := l.load(r.Context(), id); err == nil { // an account that is not there does not change
			l.mu.Lock()
			v.put(state)
			l.mu.Unlock()
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	send := func(text string) error {
		if err := control.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return control.Flush()
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for text := ": the bank is open\n\n"; ; {
		if send(text) != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			text = ": still open\n\n"
		case <-v.wake:
			text = messages(l.take(v))
		}
	}
}

// messages are the server-sent events about some states.
func messages(states []*liveState) (text string) {
	for _, state := range states {
		data, err := json.Marshal(state)
		if err != nil {
			continue // texts and a number always are JSON
		}
		text += "event: account\ndata: " + string(data) + "\n\n"
	}
	return text
}
