// Standard input and output, and pipes, of which the other side may let a process wait:
// it does not wait for it when it is to end.

package main

import (
	"context"
	"io"
	"os"
	"time"
)

// grace is how long a write goes on when the process is to end: what the reader has
// time for, it gets.
const grace = time.Second

// stream is a file that is read and written until a context ends. One goroutine uses
// it at a time. A call that is given up goes on by itself, on memory of its own, and
// the stream is of no use any more.
type stream struct {
	file   *os.File
	ended  <-chan struct{}
	cause  func() error
	done   chan transferred
	buffer []byte
	lost   bool // a call was given up
}

type transferred struct {
	n   int
	err error
}

func newStream(ctx context.Context, f *os.File) *stream {
	return &stream{file: f, ended: ctx.Done(), cause: ctx.Err, done: make(chan transferred, 1)}
}

// Stat is for atTerminal.
func (s *stream) Stat() (os.FileInfo, error) { return s.file.Stat() }

// Close closes the file.
func (s *stream) Close() error { return s.file.Close() }

func (s *stream) Read(b []byte) (int, error) {
	own := s.own(len(b))
	r, err := s.await(func() (int, error) { return s.file.Read(own) }, 0)
	if err != nil {
		return 0, err
	}
	return copy(b, own[:r.n]), r.err
}

func (s *stream) Write(b []byte) (int, error) {
	own := s.own(len(b))
	copy(own, b)
	r, err := s.await(func() (int, error) { return s.file.Write(own) }, grace)
	if err != nil {
		return 0, err
	}
	return r.n, r.err
}

func (s *stream) own(n int) []byte {
	if cap(s.buffer) < n {
		s.buffer = make([]byte, n)
	}
	return s.buffer[:n]
}

// await makes a call, which may go on for a while when the context has ended. Its own
// error is that of the context.
func (s *stream) await(call func() (int, error), while time.Duration) (transferred, error) {
	if s.lost {
		return transferred{}, s.cause()
	}
	go func() {
		n, err := call()
		s.done <- transferred{n, err}
	}()
	select {
	case r := <-s.done:
		return r, nil
	case <-s.ended:
	}
	select {
	case r := <-s.done:
		return r, nil
	case <-time.After(while):
	}
	s.lost = true
	return transferred{}, s.cause()
}

// openStream opens a file, which of a named pipe waits for the other side.
func openStream(ctx context.Context, path string, flags int) (*stream, error) {
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(path, flags, 0)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		return newStream(ctx, o.file), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var _ io.ReadWriteCloser = (*stream)(nil)
