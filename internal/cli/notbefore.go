package cli

import (
	"time"

	"github.com/spf13/pflag"

	"rutile/internal/access"
)

// notBefore is a flag that says when something begins.
type notBefore struct{ text string }

func (n *notBefore) add(f *pflag.FlagSet, otherwise string) {
	f.StringVar(&n.text, "not-before", "", "`when` it begins, within 30 days, and its life with it: a time as 2026-12-01T22:00:00Z, or how long from now as 2h; "+otherwise)
}

// read is that time; zero where nothing is said.
func (n *notBefore) read(now time.Time) (time.Time, error) {
	if n.text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(n.text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, n.text)
	switch {
	case err != nil:
		return at, access.Errorf(access.CodeUsage, "--not-before: write a time as 2026-12-01T22:00:00Z, or how long from now as 2h")
	case !at.After(now):
		return at, access.Errorf(access.CodeUsage, "--not-before: %s is over; without it the grant begins at once", at.Format(time.RFC3339))
	}
	return at, nil
}
