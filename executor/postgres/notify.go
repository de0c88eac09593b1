// Publishing commits to other processes, and listening for theirs.

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// announceEvery bounds how often other processes are told. A NOTIFY in
	// every commit would cost most of the rate: it takes a lock of the whole
	// server until its transaction ends.
	announceEvery = 5 * time.Millisecond
	// probeFor is how long a notification may take to come back. One that
	// does not was lost in a pool such as PgBouncer's, which keeps no session.
	probeFor = 2 * time.Second
	// relistenAfter is the pause after a lost connection.
	relistenAfter = time.Second
	// aliveEvery is how often a silent connection is tried.
	aliveEvery = 30 * time.Second
)

// announce asks publishLate to publish a commit. It does not wait.
func (ex *Executor) announce() {
	select {
	case ex.announced <- struct{}{}:
	default: // this commit is published together with an earlier one
	}
}

// mayPublish reports whether it is time to publish commits again, and nobody else is
// about to. Who gets true publishes. Why: docs/decisions.md, "Others are told on the way
// back".
func (ex *Executor) mayPublish() bool {
	if ex.opts.NoNotify || ex.publishing.Load() {
		return false
	}
	now, last := int64(time.Since(ex.began)), ex.publishedAt.Load()
	return now-last >= int64(announceEvery) && ex.publishedAt.CompareAndSwap(last, now)
}

// publishLate publishes commits that came too soon after another to be published on
// their way back.
func (ex *Executor) publishLate() {
	failing := false
	for {
		select {
		case <-ex.closing.Done():
			return
		case <-ex.announced:
		}
		for !ex.mayPublish() {
			if !ex.pause(announceEvery - (time.Since(ex.began) - time.Duration(ex.publishedAt.Load()))) {
				return
			}
		}
		ex.publishing.Store(true)
		err := ex.notify(ex.sql.publish)
		if err != nil { // of a connection that was cut while it lay in the pool
			err = ex.notify(ex.sql.publish)
		}
		ex.publishing.Store(false)
		if err != nil && !failing && ex.closing.Err() == nil {
			ex.opts.Logger.Warn("evento: postgres: publishing commits to other processes; they find out a little later", "error", err)
		}
		failing = err != nil
	}
}

func (ex *Executor) notify(text string) error {
	conn, err := ex.pool.Acquire(ex.closing)
	if err != nil {
		return err
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(ex.closing, flushTimeout)
	defer cancel()
	_, err = conn.Conn().PgConn().Exec(ctx, text).ReadAll()
	if err != nil {
		rollBack(conn)
	}
	return err
}

// pause waits, and reports whether the executor is still open.
func (ex *Executor) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ex.closing.Done():
		return false
	}
}

// errNoNotification: this executor's own notification did not come back.
var errNoNotification = errors.New("no notification came back")

// listen wakes those who wait when other processes have committed, on a
// connection of its own, from when somebody waits.
func (ex *Executor) listen() {
	select {
	case <-ex.awaited:
	case <-ex.closing.Done():
		return
	}
	for {
		err := ex.listenOnce()
		ex.listening.Store(false)
		switch {
		case ex.closing.Err() != nil:
			return
		case errors.Is(err, errNoNotification):
			ex.opts.Logger.Info("evento: postgres: notifications do not arrive, as behind a pool without sessions; polling instead")
			return
		}
		ex.opts.Logger.Warn("evento: postgres: listening for commits of other processes; polling meanwhile", "error", err)
		if !ex.pause(relistenAfter) {
			return
		}
	}
}

// isPooled reports whether the connection ends at a pool such as PgBouncer, which
// gives its clients process numbers of its own. A LISTEN would stay with one of
// the pool's sessions, whoever has it next, and notifications to a session that
// nobody has have been the end of a PgBouncer.
func isPooled(ctx context.Context, conn *pgx.Conn) (bool, error) {
	results, err := conn.PgConn().Exec(ctx, "SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return false, err
	}
	pid := fmt.Sprint(conn.PgConn().PID())
	return len(results) != 1 || len(results[0].Rows) != 1 || string(results[0].Rows[0][0]) != pid, nil
}

// listenOnce listens until an error.
func (ex *Executor) listenOnce() error {
	conn, err := ex.listener()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := ex.tryListening(conn); err != nil {
		return err
	}
	ex.listening.Store(true)
	ex.changed.Notify() // whatever came before it listened
	for {
		if err := ex.hear(conn); err != nil {
			return err
		}
	}
}

// listener makes a connection with the settings of the pool.
func (ex *Executor) listener() (*pgx.Conn, error) {
	config := ex.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ex.closing, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ex.closing, flushTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}

// tryListening begins to listen. Only what has come back once is relied upon.
func (ex *Executor) tryListening(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ex.closing, flushTimeout)
	defer cancel()
	if pooled, err := isPooled(ctx, conn); err != nil {
		return err
	} else if pooled {
		return errNoNotification
	}
	if _, err := conn.PgConn().Exec(ctx, "LISTEN "+ex.channel).ReadAll(); err != nil {
		return err
	}
	if err := ex.notify("NOTIFY " + ex.channel); err != nil {
		return err
	}
	probe, stop := context.WithTimeout(ex.closing, probeFor)
	defer stop()
	_, err := conn.WaitForNotification(probe)
	if err != nil && probe.Err() != nil {
		return errNoNotification
	}
	return err
}

// hear waits for a notification, and asks whether the connection is alive when none
// comes for long.
func (ex *Executor) hear(conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ex.closing, ex.aliveEvery)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil && n.Payload != ex.self:
		ex.changed.Notify()
	case err == nil: // its own
	case waiting.Err() == nil || ex.closing.Err() != nil:
		return err
	default:
		alive, cancel := context.WithTimeout(ex.closing, probeFor)
		defer cancel()
		return conn.Ping(alive)
	}
	return nil
}
