package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errPool, errSpare = errors.New("pool"), errors.New("spare")

// source gives its name or an error after a while, unless its context ends.
func source(name string, after time.Duration, err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(after):
			if err != nil {
				return "", err
			}
			return name, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Whatever comes first is taken, and nothing is forgotten.
func TestFirst(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	for _, tt := range []struct {
		name        string
		pool, spare func(context.Context) (string, error)
		want        string
		err         error
		took        time.Duration
	}{
		{"the pool at once", source("pool", 0, nil), nil, "pool", nil, 0},
		{"the pool fails at once", source("pool", 0, errPool), nil, "", errPool, 0},
		{"the pool before the reserve", source("pool", 20*time.Millisecond, nil), source("spare", never, nil), "pool", nil, 20 * time.Millisecond},
		{"the reserve before the pool", source("pool", never, nil), source("spare", 0, nil), "spare", nil, patience},
		{"a slow reserve", source("pool", never, nil), source("spare", time.Second, nil), "spare", nil, patience + time.Second},
		{"no reserve", source("pool", time.Minute/2, nil), source("spare", 0, errSpare), "pool", nil, time.Minute / 2},
		{"no pool", source("pool", 20*time.Millisecond, errPool), source("spare", time.Second, nil), "spare", nil, patience + time.Second},
		{"neither", source("pool", 20*time.Millisecond, errPool), source("spare", 0, errSpare), "", errPool, 20 * time.Millisecond},
		{"neither, soon", source("pool", 20*time.Millisecond, errPool), source("spare", time.Second, errSpare), "", errPool, patience + time.Second},
		{"the context ends", source("pool", never, nil), source("spare", never, nil), "", context.DeadlineExceeded, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				got, err := first(ctx, tt.pool, tt.spare, func(s string) { t.Errorf("%s was given back", s) })
				if got != tt.want || !errors.Is(err, tt.err) || time.Since(began) != tt.took {
					t.Errorf("First() = %q, %v after %s, want %q, %v after %s", got, err, time.Since(began), tt.want, tt.err, tt.took)
				}
			})
		})
	}
}

// What came too late is given back, also when the pool panics.
func TestFirstGivesBack(t *testing.T) {
	t.Parallel()
	// Both have something at the same moment, and do not look at their contexts.
	late := func(name string, after time.Duration) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { time.Sleep(after); return name, nil }
	}
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var back atomic.Int64
			defer func() {
				if p := recover(); (p == "mischief") != panics || back.Load() != 1 {
					t.Errorf("panics %t: panic %v, %d given back, want 1", panics, p, back.Load())
				}
			}()
			pool := late("pool", 20*time.Millisecond)
			got, err := first(t.Context(), func(ctx context.Context) (string, error) {
				got, err := pool(ctx)
				if panics {
					panic("mischief")
				}
				return got, err
			}, late("spare", time.Second), func(s string) {
				if back.Add(1); s != "spare" {
					t.Errorf("%s was given back", s)
				}
			})
			if got != "pool" || err != nil {
				t.Errorf("First() = %q, %v", got, err)
			}
		})
	}
}

// A panic of the reserve is the caller's.
func TestFirstPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if p := recover(); p != "mischief" {
				t.Errorf("panic %v", p)
			}
		}()
		_, err := first(t.Context(), source("pool", 20*time.Millisecond, errPool), func(context.Context) (string, error) { panic("mischief") }, func(string) {})
		t.Errorf("First() = %v", err)
	})
}
