package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
)

func (a *app) auditRetention() *cobra.Command {
	var in api.RetentionSpec
	var yes bool
	c := a.command("retention", "Show how long evidence is kept and what is due", "rutile audit retention", calling(), func(ctx context.Context, _ []string) error {
		if yes && in.DryRun {
			return access.Errorf(access.CodeUsage, "--dry-run and --yes contradict each other")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		var got audit.RetentionPlan
		switch {
		case yes:
			got, err = client.Retain(ctx, in)
		case in.DryRun || in.Clock:
			in.DryRun = true
			got, err = client.Retain(ctx, in)
		default:
			got, err = client.Retention(ctx)
		}
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { writeRetention(w, got, yes) })
	})
	c.Long = `Show how long the gateway keeps evidence (evidence.retention), what is older than
that, and what went before. It deletes by itself, every hour; with --yes it does so
now. Leaves, proofs and checkpoints stay as they are and verify. It cannot be undone.

A clock that goes further than the time that passed is not believed for a week, so
that one that is wrong deletes nothing. --clock says that it is right. Only admins
may run it, or ask what --clock would change.`
	c.Flags().BoolVar(&in.DryRun, "dry-run", false, "ask as an admin what would go, and change nothing")
	c.Flags().BoolVar(&yes, "yes", false, "let go now what is due")
	c.Flags().BoolVar(&in.Clock, "clock", false, "the gateway's clock is right")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the log")
	return c
}

func writeRetention(w io.Writer, p audit.RetentionPlan, done bool) {
	hold := ""
	if p.Policy.Hold {
		hold = "set: nothing goes"
	}
	since := "with the next run"
	if !p.Since.IsZero() {
		since = p.Since.Format(time.RFC3339)
	}
	fields(w, "excerpts", fmt.Sprintf("%d days, by whole months", p.Policy.Payload), "calls", fmt.Sprintf("%d days", p.Policy.Decision), "hold", hold, "in the log", since)
	if p.Doubted {
		fmt.Fprintf(w, "the clock is not believed further than %s: it went further than the time that passed\n", p.Now.Format(time.RFC3339))
	}
	if !p.Lost.IsZero() {
		fmt.Fprintf(w, "retention.json was missing on %s: what was due waited 30 days anew\n", p.Lost.Format(time.DateOnly))
	}
	what := "due"
	if done {
		what = "deleted"
	}
	months := make([]string, len(p.Months))
	for i, m := range p.Months {
		months[i] = monthName(m)
	}
	fmt.Fprintf(w, "%s: %s\n", what, cmp.Or(strings.Join(months, ", "), "nothing"))
	if p.Packs > 0 {
		fmt.Fprintf(w, "  %d files of excerpts\n", p.Packs)
	}
	fmt.Fprintf(w, "leaves of calls below %d are gone", p.Minimum)
	if p.Next > p.Minimum && done {
		fmt.Fprintf(w, ", and now those below %d", p.Next)
	} else if p.Next > p.Minimum {
		fmt.Fprintf(w, ", and those below %d are due", p.Next)
	}
	fmt.Fprintln(w)
	if p.Waits != "" {
		fmt.Fprintf(w, "  others wait: %s\n", p.Waits)
	}
	for _, g := range p.Gone {
		fmt.Fprintf(w, "gone: excerpts of %s, on %s\n", monthName(g.Month), g.At.Format(time.DateOnly))
	}
}

// monthName writes yyyymm as people do.
func monthName(m int) string { return fmt.Sprintf("%d-%02d", m/100, m%100) }
