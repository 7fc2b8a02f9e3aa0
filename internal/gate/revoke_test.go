package gate_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/registry"
)

// What is revoked at whatever stage of a call sends nothing from then on, and shows
// nothing of what came back. A result that comes all the same is late, and counted.
func TestRevokingRacesWithEveryStageOfACall(t *testing.T) {
	quarantined := func(c *registry.Content) { c.Servers[0].State = registry.ServerQuarantined }
	ofUp := func(r *access.Request, _ string) bool { return r.Server == "up" }
	for name, tt := range map[string]struct {
		before, decided, intended, flying bool // when it is revoked
		answers                           bool // although it was cut
		runs                              bool // something is sent
		status                            audit.Status
	}{
		"before the decision":               {before: true},
		"between decision and dispatch":     {decided: true},
		"between intent and dispatch":       {intended: true, status: audit.StatusRefused},
		"in flight":                         {flying: true, runs: true, status: audit.StatusRevoked},
		"in flight, and it answers at once": {flying: true, answers: true, runs: true, status: audit.StatusLateResult},
		"never":                             {runs: true, answers: true, status: audit.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			m := &moving{}
			m.state.Store(stateWith(t, nil))
			log := &staged{}
			g := m.gate(t, log)
			var cut gate.Cut
			revoke := func() {
				end := g.Catch(ofUp)
				m.state.Store(stateWith(t, quarantined))
				cut = end("the server was revoked", access.ClassServer)
			}
			if tt.before {
				revoke()
			}
			if tt.decided {
				m.once = revoke
			}
			if tt.intended {
				log.once = revoke
			}
			ran := false
			resp, dec, err := g.Do(t.Context(), request(), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
				ran = true
				if tt.flying {
					revoke()
				}
				if tt.answers {
					return access.Response{Body: []byte("late"), Reached: access.ReachYes}, nil
				}
				<-ctx.Done() // else the test hangs
				return access.Response{Reached: access.ReachYes}, context.Cause(ctx)
			})
			if ran != tt.runs {
				t.Errorf("something was sent: %t", ran)
			}
			if out := log.out.Load(); tt.status != "" && (out == nil || out.Status != tt.status) || tt.status == "" && out != nil {
				t.Errorf("the outcome is %+v", out)
			}
			if tt.status == audit.StatusOK {
				if !dec.Allowed() || string(resp.Body) != "late" {
					t.Errorf("it is denied: %+v %v", dec, err)
				}
				return
			}
			if err != nil || dec.Allowed() || dec.Class != access.ClassServer || len(resp.Body) > 0 {
				t.Errorf("the agent gets %q under %+v, %v", resp.Body, dec, err)
			}
			want := 0
			if tt.flying || tt.intended {
				want = 1
			}
			late := 0
			if tt.answers {
				late = 1
			}
			if cut.Calls != want || cut.Wait(t.Context()) != 0 || cut.Late() != late {
				t.Errorf("%d calls were cut, %d late", cut.Calls, cut.Late())
			}
		})
	}
}

// staged is evidence that lets something happen once an intent is written.
type staged struct {
	endings
	once func()
}

func (s *staged) Intent(ctx context.Context, i audit.Intent) (audit.Ref, error) {
	if f := s.once; f != nil {
		s.once = nil
		defer f()
	}
	return s.endings.Intent(ctx, i)
}

// Waiting for calls that were cut ends with whoever waits, and counts those that have
// not returned.
func TestWaitingForWhatWasCutIsBounded(t *testing.T) {
	m := &moving{}
	m.state.Store(stateWith(t, nil))
	g := m.gate(t, &endings{})
	cut, free := make(chan gate.Cut), make(chan struct{})
	var done atomic.Bool
	go func() {
		_, _, _ = g.Do(context.Background(), request(), func(context.Context, *gate.Dispatch) (access.Response, error) {
			cut <- g.Catch(func(*access.Request, string) bool { return true })("enough", access.ClassAgent)
			<-free // it does not listen
			done.Store(true)
			return access.Response{}, errors.New("too late")
		})
	}()
	c := <-cut
	over, stop := context.WithCancel(t.Context())
	stop()
	if left := c.Wait(over); c.Calls != 1 || left != 1 {
		t.Errorf("%d of %d calls have not returned", left, c.Calls)
	}
	close(free)
	if left := c.Wait(t.Context()); left != 0 || !done.Load() {
		t.Errorf("%d calls have not returned", left)
	}
}
