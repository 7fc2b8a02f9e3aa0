package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/finding"
)

func (a *app) finding() *cobra.Command {
	return a.group("finding", "What is wrong, whoever found it", "rutile finding list --severity high", a.findingList(), a.findingShow(), a.findingAssign(), a.findingSuppress(), a.findingUnsuppress(), a.findingAnswer())
}

func (a *app) findingList() *cobra.Command {
	var count bool
	var o api.FindingOptions
	c := a.command("list", "List findings, the worst first", "rutile finding list --severity high", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Findings(ctx, o)
		if err != nil {
			return err
		}
		if count {
			return total(a, page)
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no findings")
				return
			}
			t := a.table("FINDING", "SEVERITY", "STATE", "RULE", "ABOUT", "OWNER", "DUE", "WHY")
			for i := range page.Items {
				f := &page.Items[i]
				t.add(f.ID, string(f.Severity), string(f.State), f.Rule, f.Subject.ID, f.Owner, a.due(f), f.Why)
			}
			t.write(w)
		})
	})
	f := c.Flags()
	f.StringVar(&o.Severity, "severity", "", "only this `severity` and worse: info, low, medium, high, critical")
	f.StringVar(&o.State, "state", "", "only those in this `state`: open, muted, resolved (default: open and muted)")
	f.StringVar(&o.Rule, "rule", "", "only those of this `rule`")
	f.StringVar(&o.Owner, "owner", "", "only those of this `owner`")
	f.StringVar(&o.Subject, "subject", "", "only those about this `key` or id")
	f.BoolVar(&o.Overdue, "overdue", false, "only those that should have been dealt with by now")
	f.IntVar(&o.Limit, "limit", 100, "at most so many, up to 1000")
	f.StringVar(&o.Cursor, "cursor", "", "go on after this `entry`")
	counting(c, &count)
	return c
}

// due is when a finding should be dealt with.
func (a *app) due(f *finding.Finding) string {
	if f.Overdue(a.now()) {
		return when(f.Due) + " overdue"
	}
	return when(f.Due)
}

func (a *app) findingShow() *cobra.Command {
	return a.command("show FINDING", "Show one finding with its evidence and the next step", "rutile finding show fnd_ffb25e2e97714a38c014", calling(), func(ctx context.Context, args []string) error {
		return a.oneFinding(func(c *api.Client) (finding.Finding, error) { return c.Finding(ctx, args[0]) })
	})
}

func (a *app) oneFinding(get func(*api.Client) (finding.Finding, error)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	f, err := get(client)
	if err != nil {
		return err
	}
	return a.print(f, func(w io.Writer) {
		muted := ""
		if f.Mute != nil {
			muted = fmt.Sprintf("until %s by %s: %s", when(f.Mute.Until), f.Mute.By, f.Mute.Why)
		}
		fields(w, "finding", f.ID, "rule", f.Rule, "severity", string(f.Severity), "state", string(f.State), "about", f.Subject.Kind+" "+f.Subject.ID, "place", f.Place,
			"why", f.Why, "evidence", strings.Join(f.Evidence, "; "), "next", f.Next, "owner", f.Owner, "due", a.due(&f), "muted", muted,
			"first seen", when(f.First), "last seen", when(f.Last), "resolved", when(f.Resolved), "held by", strings.Join(f.Sources, " "))
	})
}

func (a *app) findingAssign() *cobra.Command {
	var owner, due string
	c := a.command("assign FINDING", "Say who answers for a finding, and by when", "rutile finding assign fnd_ffb25e2e97714a38c014 --owner ann --due 2026-12-01", calling(), func(ctx context.Context, args []string) error {
		in := api.AssignSpec{Owner: owner}
		if due != "" {
			day, err := time.Parse(time.DateOnly, due)
			if err != nil {
				return access.Errorf(access.CodeUsage, "--due %s is no day such as 2026-12-01", due)
			}
			in.Due = day.AddDate(0, 0, 1).Add(-time.Second)
		}
		return a.oneFinding(func(c *api.Client) (finding.Finding, error) { return c.Assign(ctx, args[0], in) })
	})
	c.Flags().StringVar(&owner, "owner", "", "the `user` or team; none takes it from whoever has it")
	c.Flags().StringVar(&due, "due", "", "the last `day` to deal with it")
	return c
}

func (a *app) findingSuppress() *cobra.Command {
	var why, until string
	var days int
	c := a.command("suppress FINDING", "Leave a finding alone until a time, for a reason", "rutile finding suppress fnd_ffb25e2e97714a38c014 --days 30 --why \"replaced in December\"", calling(), func(ctx context.Context, args []string) error {
		in := api.MuteSpec{Reason: why, Until: a.now().AddDate(0, 0, days)}
		switch {
		case why == "":
			return access.Errorf(access.CodeUsage, "say why: --why REASON")
		case (until == "") == (days == 0):
			return access.Errorf(access.CodeUsage, "say for how long: --days N or --until DAY")
		case until != "":
			day, err := time.Parse(time.DateOnly, until)
			if err != nil {
				return access.Errorf(access.CodeUsage, "--until %s is no day such as 2026-12-01", until)
			}
			in.Until = day.AddDate(0, 0, 1)
		}
		return a.oneFinding(func(c *api.Client) (finding.Finding, error) { return c.Mute(ctx, args[0], in) })
	})
	c.Long = `Leave a finding alone until a time, for a reason. It stays in the lists as muted,
comes back by itself when the time is over, and is resolved when it is so no more.
Who did it and why is kept in the evidence.`
	c.Flags().StringVar(&why, "why", "", "`reason`, kept in the evidence")
	c.Flags().IntVar(&days, "days", 0, "for so many `days`, at most 365")
	c.Flags().StringVar(&until, "until", "", "until the end of this `day`")
	return c
}

func (a *app) findingUnsuppress() *cobra.Command {
	var why string
	c := a.command("unsuppress FINDING", "End a suppression before its time", "rutile finding unsuppress fnd_ffb25e2e97714a38c014", calling(), func(ctx context.Context, args []string) error {
		return a.oneFinding(func(c *api.Client) (finding.Finding, error) { return c.Unmute(ctx, args[0], why) })
	})
	c.Flags().StringVar(&why, "why", "", "`reason`, kept in the evidence")
	return c
}

func (a *app) findingAnswer() *cobra.Command {
	var why string
	c := a.command("answer FINDING", "End a finding that somebody reported, such as a wrong denial", "rutile finding answer fnd_ffb25e2e97714a38c014 --why \"the rule is changed\"", calling(), func(ctx context.Context, args []string) error {
		return a.oneFinding(func(c *api.Client) (finding.Finding, error) { return c.AnswerReport(ctx, args[0], why) })
	})
	c.Long = `End a finding that a person reported: a denial they say was wrong. What the gateway
found itself ends when it is so no more.`
	c.Flags().StringVar(&why, "why", "", "what came of it, kept in the `evidence`")
	return c
}
