// Checking and copying indexes.

package jetstream

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

// Verified is what [VerifyIndex] has compared.
type Verified struct {
	// Sequence is the message of the log up to which the index goes, and Head the last one
	// that the log has.
	Sequence uint64 `json:"sequence"`
	Head     uint64 `json:"head"`
	// Events is how many events the log has up to there.
	Events uint64 `json:"events"`
}

// VerifyIndex decides the log anew, in memory, up to where the index in Options.Dir is, and
// calls found for everything in which the index is another. It needs the memory of the whole
// store, and changes nothing. No executor may have the index open.
//
// Errors: those of [Open]; [fs.ErrNotExist] when there is no index; [evento.ErrDamaged] for a
// log that cannot be decided.
func VerifyIndex(ctx context.Context, url string, opts *Options, found func(detail string) error) (v Verified, err error) {
	err = onIndex(ctx, url, opts, func(ex *Executor, id [16]byte) (err error) {
		in, err := inspectIndex(&ex.opts, id)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		v, err = ex.verify(ctx, in, id, found)
		return err
	})
	return v, err
}

// CopyIndex makes a directory, for its owner alone, with a copy of the index in Options.Dir. An
// executor that is opened with it goes on where the index is. No other executor may have the
// index open; [Executor.CopyIndex] is for the one that has.
//
// When ctx ends while files are copied, the call ends once they are, and makes no directory.
//
// Errors: those of [VerifyIndex]; [fs.ErrExist]; [evento.ErrInvalid] for a directory within the index.
func CopyIndex(ctx context.Context, url string, opts *Options, to string) error {
	return onIndex(ctx, url, opts, func(ex *Executor, id [16]byte) (err error) {
		if err := mayCopy(ctx, ex.opts.Dir, to); err != nil {
			return err // before the index is opened
		}
		in, err := inspectIndex(&ex.opts, id)
		if err != nil {
			return err
		}
		if err := in.Close(); err != nil {
			return err
		}
		index, err := pebble.OpenIndex(ctx, ex.opts.Dir, id, &pebble.Options{CacheSize: ex.opts.CacheSize, Logger: ex.opts.Logger})
		if err != nil {
			return err
		}
		return errors.Join(copyIndex(ctx, index, ex.opts.Dir, to), index.Close())
	})
}

// CopyIndex is [CopyIndex] for an executor that is open. It may be in use meanwhile: the copy
// is the index at some moment during the call.
func (ex *Executor) CopyIndex(ctx context.Context, to string) error {
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	return failure(copyIndex(ctx, ex.index, ex.opts.Dir, to))
}

// mayCopy refuses to copy an index to where something is, or into its own directory, which Pebble would not
// open any more.
func mayCopy(ctx context.Context, dir, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if dir != "" && isWithin(to, dir) {
		return fmt.Errorf("%w directory %s: it is in the index itself; give one outside of it", evento.ErrInvalid, to)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &fs.PathError{Op: "copy", Path: to, Err: fs.ErrExist}
		}
		return err
	}
	return nil
}

// isWithin reports whether a path that need not be there is in a directory, or is it.
func isWithin(path, dir string) bool {
	inside, err := os.Stat(dir)
	if err != nil {
		return false
	}
	path, err = filepath.Abs(path)
	for err == nil {
		if at, err := os.Stat(path); err == nil && os.SameFile(at, inside) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			break
		}
		path = parent
	}
	return false
}

// copyIndex makes the copy under another name, in a directory that only its owner may enter.
func copyIndex(ctx context.Context, index *pebble.Index, dir, to string) (err error) {
	if err := mayCopy(ctx, dir, to); err != nil {
		return err
	}
	private, err := os.MkdirTemp(filepath.Dir(to), ".evento-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	made := filepath.Join(private, "index")
	if err := index.Copy(made); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Chmod(made, 0o700); err != nil { //nolint:gosec // it is a directory
		return err
	}
	return os.Rename(made, to)
}

// onIndex connects to a store without opening its index.
func onIndex(ctx context.Context, url string, opts *Options, do func(ex *Executor, id [16]byte) error) error {
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	if o.Dir == "" {
		return fmt.Errorf("%w jetstream options: no Dir of an index", evento.ErrInvalid)
	}
	o.NoCreate = true
	return connected(ctx, url, &o, func(ex *Executor) error {
		id, err := ex.streams(ctx, &o)
		if err != nil {
			return failure(err)
		}
		return do(ex, id)
	})
}

// connected calls do with an executor that has only a connection.
func connected(ctx context.Context, url string, o *Options, do func(ex *Executor) error) error {
	nc, denied, err := connect(ctx, url, o.Logger, o.Connect)
	if err != nil {
		return connectFailure(url, err)
	}
	defer nc.Close()
	return do(&Executor{
		connection: &connection{
			nc: nc, denials: denied, names: namesOf(o.Name), logger: o.Logger, timeout: requestTimeout, failed: make(chan struct{}), closing: make(chan struct{}),
		},
		opts: *o,
	})
}

func inspectIndex(o *Options, id [16]byte) (*pebble.Inspector, error) {
	in, err := pebble.InspectIndex(o.Dir, &pebble.Options{CacheSize: o.CacheSize, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	is, err := in.Identity()
	if err == nil && is != id {
		err = fmt.Errorf("%w index %s: it is the index of another store", evento.ErrInvalid, o.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// verify compares an index with the log.
func (ex *Executor) verify(ctx context.Context, in *pebble.Inspector, id [16]byte, found func(detail string) error) (v Verified, err error) {
	sequence, hash, err := placeIn(in)
	if err != nil {
		return v, err
	}
	v.Sequence = sequence
	var info streamInfo
	if err := ex.ask(ctx, "STREAM.INFO."+ex.names.log, nil, &info); err != nil {
		return v, failure(err)
	}
	if v.Head = info.State.Last; v.Head < v.Sequence {
		return v, found(fmt.Sprintf("it goes up to message %d, and the log to %d: the log was restored from a backup", v.Sequence, v.Head))
	}
	index, err := pebble.OpenIndex(ctx, "", id, &pebble.Options{Logger: ex.logger})
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	d, err := newDecider(index, func(uint64, uint64, []outcome) {})
	if err != nil {
		return v, err
	}
	if err := ex.replay(ctx, d, v.Sequence); err != nil {
		return v, failure(err)
	}
	v.Events, _ = index.Last()
	if d.place.hash != hash {
		if err := found(fmt.Sprintf("its hash of what was decided up to message %d is %016x, that of the log is %016x", v.Sequence, hash, d.place.hash)); err != nil {
			return v, err
		}
	}
	should := index.Inspect()
	return v, errors.Join(in.Differences(ctx, should, found), should.Close())
}

// unsent is how long no message may come before a replay is given up: longer than an election.
const unsent = 30 * time.Second

// replay decides the log up to a message.
func (ex *Executor) replay(ctx context.Context, d *decider, upTo uint64) error {
	f, err := newFollower(ex.connection, d)
	if err != nil {
		return err
	}
	f.until = upTo
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- f.run(following)
		stop()
	}()
	for at := uint64(0); at < upTo && err == nil; at = f.applied.Load() {
		late, cancel := context.WithTimeout(following, unsent)
		err = f.await(late, at+1)
		cancel()
		if err != nil && following.Err() == nil {
			err = fmt.Errorf("no server gives the message %d of the log", at+1)
		}
	}
	stop()
	return cmp.Or(<-ended, ctx.Err(), err)
}

// placeIn is up to which message of the log an index goes, and the hash of what was decided.
func placeIn(in *pebble.Inspector) (sequence, hash uint64, err error) {
	v, err := in.Entry([]byte(placeEntry))
	if err != nil || v == nil {
		return 0, 0, err
	}
	if len(v) < 16 {
		return 0, 0, fmt.Errorf("%w: the index's place in the log has %d bytes", evento.ErrDamaged, len(v))
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), nil
}
