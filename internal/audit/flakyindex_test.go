package audit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
)

// flaky is an index that fails now and then: before a change, after it without
// saying so, or in the middle of a dropping.
type flaky struct {
	*memory
	rand *rand.Rand
	off  bool
}

var errFlaky = errors.New("the connection was lost")

func (f *flaky) fails(in int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.off && f.rand.IntN(in) == 0
}

func (f *flaky) PutRows(ctx context.Context, origin string, rows []audit.Row, mark uint64) error {
	if f.fails(4) {
		return errFlaky
	}
	if err := f.memory.PutRows(ctx, origin, rows, mark); err != nil {
		return err
	}
	if f.fails(4) {
		return errFlaky
	}
	return nil
}

func (f *flaky) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if f.fails(6) {
		return nil, errFlaky
	}
	return f.memory.Search(ctx, q)
}

func (f *flaky) DropRows(ctx context.Context, origin string) error {
	if !f.fails(2) {
		return f.memory.DropRows(ctx, origin)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark = 0
	for i := range f.rows {
		if f.rand.IntN(2) == 0 {
			delete(f.rows, i)
		}
	}
	return errFlaky
}

// Whatever fails on the way, in the end the index says what the log says.
func TestTheIndexEndsUpAsTheLogWhateverFails(t *testing.T) {
	seeds, steps := uint64(4), 250
	if testing.Short() { // retries take their time
		seeds, steps = 1, 60
	}
	for seed := range seeds {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			cfg := config(t.TempDir())
			f := &flaky{memory: newMemory(), rand: rand.New(rand.NewPCG(seed, 1))}
			r := rand.New(rand.NewPCG(seed, 2))
			open := func() *audit.Log {
				t.Helper()
				l, err := audit.Open(ctx, cfg, f, newSealer(), f)
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			l := open()
			var begun []audit.Ref
			for n := range steps {
				switch r.IntN(40) {
				case 0:
					wait, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
					_ = l.Reindex(wait)
					cancel()
				case 1:
					wait, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
					_ = l.Close(wait)
					cancel()
					l = open()
				case 2, 3, 4:
					req := request(t, len(begun))
					ref, err := l.Intent(ctx, audit.Intent{Request: req, Decision: permit(req)})
					if err != nil {
						t.Fatal(n, err)
					}
					begun = append(begun, ref)
				case 5, 6, 7, 8, 9:
					wait, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
					_ = l.AwaitIndex(wait)
					cancel()
				default:
					if len(begun) == 0 {
						continue
					}
					i := max(0, len(begun)-4) + r.IntN(min(4, len(begun)))
					o := outcomeOf(request(t, i), begun[i])
					o.Status = []audit.Status{audit.StatusOK, audit.StatusInputRequired, audit.StatusLateResult}[r.IntN(3)]
					if _, err := l.Outcome(ctx, o); err != nil {
						t.Fatal(n, err)
					}
				}
			}
			f.mu.Lock()
			f.off = true
			f.mu.Unlock()
			if err := l.AwaitIndex(ctx); err != nil {
				t.Fatal(err)
			}
			rows := f.all()
			everyLeafOnce(t, rows, l.Size())
			if err := l.Reindex(ctx); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rows, f.all()); diff != "" {
				t.Errorf("a whole rebuild changes rows (-before +after):\n%s", diff)
			}
			if !testing.Short() && !slices.ContainsFunc(rows, func(r audit.Row) bool { return len(r.Ends) > 1 }) {
				t.Error("no call ended twice")
			}
			stop(t, l)
		})
	}
}
