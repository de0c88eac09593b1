package evento_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
)

// Pause, Resume and the resets, of one that runs and of one that does not.
func TestControl(t *testing.T) {
	t.Parallel()
	for _, runs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			w := &ward{}
			control := evento.ControlOf(ex, "s")
			var listed error
			for _, err := range control.Parked(t.Context(), evento.AllParked()) {
				listed = err
			}
			for what, err := range map[string]error{
				"Pause": control.Pause(t.Context()), "ResetToStart": control.ResetToStart(t.Context()), "ResetToPosition": control.ResetToPosition(t.Context(), 3),
				"Repartition": control.Repartition(t.Context(), 2), "Remove": control.Remove(t.Context()), "Parked": listed,
				"RetryParked of an aggregate": control.RetryParked(t.Context(), evento.ParkedOf(Account, "a")),
				"RetryParked":                 control.RetryParked(t.Context(), evento.AllParked()),
				"DropParked":                  control.DropParked(t.Context(), evento.AllParked()),
			} {
				if !errors.Is(err, evento.ErrNotFound) {
					t.Errorf("%s of a subscription that was never started: %v, want ErrNotFound", what, err)
				}
			}
			var times []time.Time
			for range 4 {
				times = append(times, time.Now())
				deposits(t, ex, "a", 1)
				time.Sleep(time.Minute)
			}
			noErr(t, w.builder().Execute(t.Context(), ex))
			if runs {
				start(t, ex, w.builder())
			}
			paused := false
			step := func(what string, err error, wanted ...string) {
				t.Helper()
				noErr(t, err)
				if runs {
					time.Sleep(time.Second)
					synctest.Wait()
				} else if err := w.builder().Execute(t.Context(), ex); paused != errors.Is(err, evento.ErrPaused) || !paused && err != nil {
					t.Errorf("%s: Execute: %v, paused %t", what, err, paused)
				}
				want(t, fmt.Sprint(what, ", running ", runs), w.take(), wanted...)
			}
			step("start", nil, "a1", "a2", "a3", "a4")
			step("reset to start", control.ResetToStart(t.Context()), "a1", "a2", "a3", "a4")
			step("reset to position 2", control.ResetToPosition(t.Context(), 2), "a3", "a4")
			step("reset to the head", control.ResetToPosition(t.Context(), 4))
			step("reset beyond it", control.ResetToPosition(t.Context(), 40))
			step("reset to the time of 2", control.ResetToTime(t.Context(), times[1]), "a2", "a3", "a4")
			step("reset behind the time of 2", control.ResetToTime(t.Context(), times[1].Add(time.Second)), "a3", "a4")
			paused = true
			step("pause", control.Pause(t.Context()))
			deposits(t, ex, "a", 1)
			step("paused", nil)
			step("reset while paused", control.ResetToPosition(t.Context(), 3))
			if s, err := control.Status(t.Context()); err != nil || !s.Partitions[0].Paused || s.Position != 3 || s.Head != 5 || s.Lag < time.Minute {
				t.Errorf("status %+v, %v, want it paused at 3 of 5", s, err)
			}
			paused = false
			step("resume", control.Resume(t.Context()), "a4", "a5")
		})
	}
}

// A reset, or a pause, while a handler is at work is not overwritten by what the
// worker stores next, however long the handler takes.
func TestResetWhileHandling(t *testing.T) {
	t.Parallel()
	for _, long := range []time.Duration{100 * time.Millisecond, time.Second, time.Minute} {
		for _, pause := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ex := newStore(t)
				w := &ward{fails: func(evento.RawEvent) error { time.Sleep(long); return nil }}
				deposits(t, ex, "a", 4)
				start(t, ex, w.builder())
				time.Sleep(2*long + long/2) // the third is in hand
				control := evento.ControlOf(ex, "s")
				if pause {
					noErr(t, control.Pause(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); len(got) > 4 || long >= time.Second && len(got) > 3 {
						t.Errorf("paused within the third event of %s: handled %v", long, got)
					}
					noErr(t, control.Resume(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); len(got) > 1 {
						t.Errorf("resumed: handled %v, want nothing again", got)
					}
				} else {
					noErr(t, control.ResetToStart(t.Context()))
					time.Sleep(10*long + 2*time.Second)
					synctest.Wait()
					if got := w.take(); !slices.Equal(got[len(got)-4:], []string{"a1", "a2", "a3", "a4"}) || len(got) < 7 {
						t.Errorf("reset within an event of %s: handled %v, want all of them again", long, got)
					}
				}
				wantStored(t, ex, "s", 4)
			})
		}
	}
}

func TestControlOfRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		w := &ward{fails: func(evento.RawEvent) error { return errPoor }}
		deposits(t, ex, "a", 1)
		start(t, ex, w.builder().Partitions(2))
		synctest.Wait()
		control := evento.ControlOf(ex, "s")
		if err := control.Repartition(t.Context(), 4); !errors.Is(err, evento.ErrRunning) {
			t.Errorf("Repartition: %v, want ErrRunning", err)
		}
		if err := control.Remove(t.Context()); !errors.Is(err, evento.ErrRunning) {
			t.Errorf("Remove: %v, want ErrRunning", err)
		}
		want(t, "parked", parkedOf(t, ex), "a1 1 "+errPoor.Error()) // still
	})
}
