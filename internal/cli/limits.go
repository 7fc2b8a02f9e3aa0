package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// limitFlags are what bounds a grant besides its life and the number of its uses.
type limitFlags struct {
	budget, window string
	idle           time.Duration
	limits         grant.Limits
}

// add declares the flags. An answer, which narrows, names only the amount of a budget.
func (l *limitFlags) add(f *pflag.FlagSet, narrows bool) {
	budget := "what all calls may take together: `UNIT:AMOUNT:ARGUMENT`, for example EUR-cent:50000:/amount"
	if narrows {
		budget = "`amount` all calls may take together, at most what was asked for"
	}
	f.StringVar(&l.budget, "budget", "", budget)
	f.Int64Var(&l.limits.Concurrency, "concurrency", 0, "how many calls may be under way at once")
	f.StringVar(&l.window, "window", "", "how many calls in a stretch of time: `N/TIME`, for example 10/1h")
	f.Int64Var(&l.limits.BytesOut, "bytes-out", 0, "how many bytes all results may have together")
	f.DurationVar(&l.idle, "idle", 0, "how long after the last use it ends")
}

func (l *limitFlags) read() (grant.Limits, error) {
	out := l.limits
	out.Idle = int64(l.idle / time.Second)
	if l.budget != "" {
		amount := l.budget
		if unit, rest, whole := strings.Cut(l.budget, ":"); whole {
			out.Budget.Unit = unit
			amount, out.Budget.Arg, _ = strings.Cut(rest, ":")
		}
		n, err := strconv.ParseInt(amount, 10, 64)
		if err != nil || n < 1 {
			return out, access.Errorf(access.CodeUsage, "--budget: the amount must be a whole number from 1 on")
		}
		out.Budget.Amount = n
	}
	if l.window != "" {
		uses, per, _ := strings.Cut(l.window, "/")
		n, err := strconv.ParseInt(uses, 10, 64)
		d, derr := time.ParseDuration(per)
		if err != nil || derr != nil || n < 1 || d < time.Second {
			return out, access.Errorf(access.CodeUsage, "--window: write N/TIME, for example 10/1h")
		}
		out.Window = grant.Window{Uses: n, Seconds: int64(d / time.Second)}
	}
	return out, nil
}

// rightFlags are what bounds a right somebody gives.
type rightFlags struct {
	limitFlags
	ttl  time.Duration
	args string
}

// add declares the flags; ttl is how long it lives if nothing is said, with its help,
// and otherwise what of arguments holds then.
func (r *rightFlags) add(f *pflag.FlagSet, narrows bool, ttl time.Duration, life, otherwise string) {
	f.DurationVar(&r.ttl, "ttl", ttl, life)
	r.limitFlags.add(f, narrows)
	f.StringVar(&r.args, "args", "", "`constraints` on the arguments as JSON"+otherwise)
}

// read returns the constraints, nil if nothing is said, the limits and the life in
// seconds.
func (r *rightFlags) read() (c grant.Constraints, l grant.Limits, seconds int64, err error) {
	if r.args != "" {
		if c, err = grant.ParseConstraints([]byte(r.args)); err != nil {
			return nil, l, 0, access.Errorf(access.CodeUsage, "--args: %v", err)
		}
	}
	l, err = r.limitFlags.read()
	return c, l, int64(r.ttl / time.Second), err
}
