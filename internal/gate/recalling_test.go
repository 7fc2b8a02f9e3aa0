package gate_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/grant"
)

// Whoever revokes a grant is told how many calls were cut off because of it: those that
// it cut itself, those that the look every quarter of a second cut first, and those
// whose server had answered and nobody gets the answer of. Not one that had ended, and
// not one under another grant.
func TestRevokingCountsWhatItCuts(t *testing.T) {
	for name, tt := range map[string]struct {
		look   bool // somebody looks between the revocation and the count
		answer bool // the server answers before anybody looks
		other  bool // another grant is revoked
		late   bool // the count is asked for after the call has ended
		want   int
	}{
		"cut by who revokes":       {want: 1},
		"cut by who looks":         {look: true, want: 1},
		"answered meanwhile":       {answer: true, late: true, want: 1},
		"cut and gone":             {look: true, late: true, want: 1},
		"another is revoked":       {other: true},
		"another, with everybody":  {other: true, look: true},
		"another, and it is ended": {other: true, answer: true, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, grant.Rule{Quorum: 1})
			g := o.grant(1)
			revoke := g.ID
			if tt.other {
				h, err := o.grants.Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "other"}, By: "user:ann", Target: g.Target})
				if err != nil {
					t.Fatal(err)
				}
				revoke = h.ID
			}
			var end func([]string) int
			_, dec, _ := o.Do(t.Context(), call(t, "bot", afterwards), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
				end = o.Recalling()
				if _, err := o.grants.Revoke(ctx, revoke, "user:ann", "a mistake"); err != nil {
					t.Error(err)
				}
				if tt.look {
					o.Recall(ctx)
				}
				if !tt.late {
					if n := end([]string{revoke}); n != tt.want {
						t.Errorf("%d calls were cut, want %d", n, tt.want)
					}
				}
				if tt.want > 0 && !tt.answer {
					<-ctx.Done() // else the test hangs
				}
				return access.Response{Body: []byte("late"), Reached: access.ReachYes}, ctx.Err()
			})
			if dec.Allowed() != (tt.want == 0) {
				t.Errorf("the call ended with %+v", dec)
			}
			if tt.late {
				if n := end([]string{revoke}); n != tt.want {
					t.Errorf("%d calls were cut, want %d", n, tt.want)
				}
			}
		})
	}
}

// However calls and two revocations of it meet, one of them counts each call that
// nobody gets the answer of, and none that somebody does.
func TestTheCountIsOfWhatNobodyGets(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	for range 10 {
		g := o.grant(0)
		began, goOn := make(chan struct{}, 32), make(chan struct{})
		var cut, counted atomic.Int64
		var calls, ends sync.WaitGroup
		for i := range 32 {
			calls.Go(func() {
				_, dec, _ := o.Do(t.Context(), call(t, "bot", afterwards), func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
					began <- struct{}{}
					<-goOn
					if i%2 == 0 {
						<-ctx.Done() // hangs until it is cut
					}
					return access.Response{Body: []byte("x"), Reached: access.ReachYes}, nil
				})
				if !dec.Allowed() {
					cut.Add(1)
				}
			})
		}
		for range 32 {
			<-began
		}
		for range 2 {
			ends.Go(func() {
				end := o.Recalling()
				<-goOn
				var ids []string
				if _, err := o.grants.Revoke(t.Context(), g.ID, "user:ann", ""); err == nil {
					ids = []string{g.ID}
				}
				counted.Add(int64(end(ids)))
			})
		}
		ends.Go(func() { <-goOn; o.Recall(t.Context()) })
		close(goOn)
		ends.Wait()
		calls.Wait()
		if cut.Load() != counted.Load() || cut.Load() < 16 {
			t.Fatalf("%d calls were cut and %d counted", cut.Load(), counted.Load())
		}
	}
}
