package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/grant"
)

func (a *app) grantBreakGlass() *cobra.Command {
	var s admin.EmergencySpec
	var r rightFlags
	c := a.command("break-glass AGENT SERVER TOOL", "Give an agent a right alone, in an emergency", "rutile grant break-glass bot pay refund --reason 'nobody of finance can be reached'", calling(), func(ctx context.Context, words []string) error {
		s.Agent, s.Server, s.Tool = words[0], words[1], words[2]
		var err error
		if s.Args, s.Limits, s.Seconds, err = r.read(); err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		g, err := client.BreakGlass(ctx, s)
		if err != nil {
			return err
		}
		a.say("the owner of entitlement %s is told; somebody else must review this by %s: rutile grant review %s", g.Entitlement, when(g.Created.Add(grant.ReviewTime)), g.ID)
		return a.printGrant(g, nil, g)
	})
	c.Long = `Give an agent at once what its entitlement lets it ask for, without those who must
approve, for at most 15 minutes. It is for a registered user (RUTILE_URL and
RUTILE_TOKEN_FILE); the socket is not enough. Whoever has a passkey signs it: the
command gives nothing then, and prints the page where the browser asks for it. Whoever
has none gives it with the personal token of this very command, unless
approvals.breakGlass says otherwise. It lifts no rule: what policy forbids, or wants
more than one person for, stays so. At tier 3 the agent may not act for you.

The owner of the entitlement is told. Somebody else must review it within 24 hours
(rutile grant review); until then you cannot do it again for that entitlement. After
24 hours nothing more is granted under the entitlement, and you cannot break the
glass anywhere, until it is reviewed.`
	f := c.Flags()
	f.StringVar(&s.Reason, "reason", "", "what happened, for those who review it; required")
	f.StringVar(&s.Entitlement, "entitlement", "", "`entitlement` it is taken under, where several cover it")
	r.add(f, true, 0, "how long it lives, at most and if not given 15m, or what the entitlement allows", "; those of the entitlement if not given")
	f.Int64Var(&s.Uses, "uses", 0, "how many calls it covers; as many as the entitlement allows if not given")
	f.StringVar(&s.Task, "task", "", "open `task` of the agent it ends with")
	f.StringVar(&s.Subject, "subject", "", "`person` the agent acts for; without it, only what it does for nobody")
	f.StringVar(&s.Issuer, "issuer", "", "`issuer` that knows the person; this gateway if not given")
	return c
}

func (a *app) grantReview() *cobra.Command {
	var s admin.ReviewSpec
	var bad bool
	c := a.command("review GRANT", "Review what somebody else took alone", "rutile grant review grt_… --reason 'the outage was real, one refund'", calling(), func(ctx context.Context, args []string) error {
		if s.Comment != "" {
			a.say("--comment is deprecated: write --reason")
		}
		s.Verdict = grant.Justified
		if bad {
			s.Verdict = grant.Unjustified
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		r, err := client.ReviewGrant(ctx, args[0], s)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "break-glass %s is reviewed: %s\n", r.Grant, r.Verdict) })
	})
	c.Long = `Review a break-glass of somebody else, once its grant has ended. Look at it first:
rutile grant show GRANT says what it was used for, and rutile audit search --text GRANT
what happened. What was locked because nobody did is free again.`
	c.Flags().StringVar(&s.Reason, "reason", "", "what you found, for the evidence; required")
	c.Flags().StringVar(&s.Comment, "comment", "", "what you found")
	c.Flags().Lookup("comment").Hidden = true
	c.Flags().BoolVar(&bad, "unjustified", false, "it should not have been done")
	return c
}

func (a *app) grantReviews() *cobra.Command {
	var o api.HistoryOptions
	c := a.command("reviews", "List what was taken alone and whether it was reviewed, newest first", "rutile grant reviews --state overdue", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Reviews(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nobody broke the glass")
				return
			}
			t := a.table("GRANT", "REVIEW", "ENTITLEMENT", "OWNER", "BY", "AGENT", "FOR", "COVERED", "DUE", "REVIEWED BY", "VERDICT")
			for _, r := range page.Items {
				t.add(r.Grant, string(r.State), r.Entitlement, r.Owner, r.Person, r.Party.Agent, r.Party.Subject, r.Target.Action(), when(r.Due), r.By, r.Verdict)
			}
			t.write(w)
		})
	})
	f := c.Flags()
	f.StringVar(&o.State, "state", "", "only those in this `state`: due, overdue, reviewed")
	f.IntVar(&o.Limit, "limit", 100, "at most so many, up to 1000")
	f.StringVar(&o.Cursor, "cursor", "", "go on after this `entry`")
	return c
}
