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
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/grant"
)

func (a *app) grant() *cobra.Command {
	return a.group("grant", "Rights agents hold for a while", "rutile grant list --state active",
		a.grantList(), a.grantShow(), a.grantCreate(), a.grantDelegate(), a.grantRevoke(),
		a.grantBreakGlass(), a.grantReview(), a.grantReviews())
}

// left says how many calls a grant still covers.
func left(g grant.Grant) string {
	if g.UsesMax == 0 {
		return "no limit"
	}
	return fmt.Sprintf("%d of %d", g.Remaining(), g.UsesMax)
}

// spent says what was used of the limits besides the calls.
func spent(g grant.Grant) string {
	var out []string
	if b := g.Budget; b.Amount > 0 {
		out = append(out, fmt.Sprintf("%d of %d %s left", g.AmountLeft(), b.Amount, b.Unit))
	}
	if g.BytesOut > 0 {
		out = append(out, fmt.Sprintf("%d of %d bytes left", g.BytesLeft(), g.BytesOut))
	}
	return strings.Join(out, "; ")
}

func (a *app) grantList() *cobra.Command {
	var o api.HistoryOptions
	c := a.command("list", "List grants, newest first", "rutile grant list --state active", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Grants(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no grants")
				return
			}
			t := a.table("GRANT", "STATE", "AGENT", "FOR", "COVERS", "LEFT", "TASK", "FROM", "EXPIRES")
			for _, g := range page.Items {
				t.add(g.ID, string(g.State), g.Party.Agent, g.Party.Subject, g.Target.Action(), left(g), g.Task, when(g.NotBefore), when(g.Expires))
			}
			t.write(w)
		})
	})
	history(c, &o, "scheduled, active, suspended, exhausted, expired, completed, withdrawn, revoking, revoke_partial, revoked")
	c.Flags().StringVar(&o.Task, "task", "", "only those of this `task`")
	return c
}

func (a *app) printGrant(g grant.Grant, uses []grant.Use, v any) error {
	return a.print(v, func(w io.Writer) {
		var constraints []string
		for _, c := range g.Args {
			constraints = append(constraints, strings.TrimSpace(c.At()+" "+string(c.Op())+" "+string(c.Operand())))
		}
		var used []string
		for _, u := range uses {
			used = append(used, string(u.State)+" by "+u.Decision)
		}
		fields(w, "grant", g.ID, "mode", strings.ReplaceAll(g.Mode, "_", "-"), "state", string(g.State), "because", g.Why, "not revoked", cell(grant.Remains(g.Left)),
			"agent", g.Party.Agent, "acts for", cmp.Or(g.Party.Subject, "nobody: calls for a person are not covered"), "task", g.Task, "covers", g.Target.Action(), "arguments", cell(strings.Join(constraints, ", ")), "left", left(g), "limits", g.Describe(), "used", spent(g), "from", when(g.NotBefore), "expires", when(g.Expires),
			"request", g.Request, "part of", g.Parent, "entitlement", g.Entitlement, "approved by", approvers(g.Approvals), "reason", g.Reason, "uses", strings.Join(used, ", "))
	})
}

func (a *app) grantShow() *cobra.Command {
	return a.command("show GRANT", "Show one grant with its newest uses", "rutile grant show grt_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		g, err := client.Grant(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printGrant(g.Grant, g.Uses, g)
	})
}

func (a *app) grantCreate() *cobra.Command {
	var s admin.GrantSpec
	var r rightFlags
	var from notBefore
	c := a.command("create AGENT SERVER TOOL", "Give an agent a right for a while, without a request", "rutile grant create bot github create_release --ttl 10m --uses 1", calling(), func(ctx context.Context, words []string) error {
		s.Agent, s.Server, s.Tool = words[0], words[1], words[2]
		var err error
		if s.Args, s.Limits, s.Seconds, err = r.read(); err != nil {
			return err
		}
		if s.NotBefore, err = from.read(time.Now()); err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		g, err := client.CreateGrant(ctx, s)
		if err != nil {
			return err
		}
		return a.printGrant(g, nil, g)
	})
	c.Long = `Give an agent a right for a while. It covers calls of one tool; policy still decides
each of them. Where two people must approve (always at tier 3), or a team you are not
of, let the agent ask. With --not-before it is scheduled: it permits nothing until its
time has come, and can be revoked before.`
	f := c.Flags()
	r.add(f, false, time.Hour, "how long it lives, at most 24h", ", for example '[{\"at\":\"/repo\",\"prefix\":\"acme/\"}]'")
	from.add(f, "at once if not given")
	f.Int64Var(&s.Uses, "uses", 0, "how many calls it covers; 0 is no limit")
	f.StringVar(&s.Task, "task", "", "open `task` of the agent it ends with")
	f.StringVar(&s.Subject, "subject", "", "`person` the agent acts for; without it, only what it does for nobody")
	f.StringVar(&s.Issuer, "issuer", "", "`issuer` that knows the person; this gateway if not given")
	f.StringVar(&s.Reason, "reason", "", "why, for the evidence")
	return c
}

func (a *app) grantDelegate() *cobra.Command {
	var h admin.Handover
	var r rightFlags
	c := a.command("delegate GRANT AGENT", "Hand a part of a grant to another agent", "rutile grant delegate grt_… helper --uses 1 --ttl 10m", calling(), func(ctx context.Context, words []string) error {
		var err error
		h.To = words[1]
		if h.Args, h.Limits, h.Seconds, err = r.read(); err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		g, err := client.DelegateGrant(ctx, words[0], h)
		if err != nil {
			return err
		}
		return a.printGrant(g, nil, g)
	})
	c.Long = `Hand a part of a grant to another agent, for the same person. The entitlement of the
grant says how far and to whom (delegate). It covers nothing that the grant does not, is
taken out of it, ends with it, and what is left of it when it ends comes back.`
	f := c.Flags()
	r.add(f, true, 0, "how long it lives; as long as the grant if not given", "; those of the grant if not given")
	f.Int64Var(&h.Uses, "uses", 0, "how many calls; all that are left if not given")
	f.IntVar(&h.MaxDepth, "max-depth", 0, "how many more times it may be handed on")
	f.StringVar(&h.Reason, "reason", "", "why, for the evidence")
	return c
}

func (a *app) grantRevoke() *cobra.Command {
	var why string
	c := a.command("revoke GRANT", "End a grant", "rutile grant revoke grt_… --reason 'no longer needed'", append(calling(), access.CodePartial), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		g, err := client.RevokeGrant(ctx, args[0], why)
		if err != nil {
			return err
		}
		err = a.print(g, func(w io.Writer) {
			fmt.Fprintf(w, "grant %s is revoked\n", g.ID)
			fields(w, "with it", strings.Join(g.Parts, " "), "calls cut off", itoa(g.Calls))
			for _, l := range g.Left {
				fmt.Fprintf(w, "not revoked: %s\n", cell(grant.Remains([]grant.Left{l})))
			}
		})
		if err == nil && g.State != grant.GrantRevoked {
			if len(g.Left) == 0 {
				a.say("the issuers of credentials made under it have not answered yet: see rutile grant show %s", g.ID)
			}
			return ended(access.CodePartial)
		}
		return err
	})
	c.Long = `End a grant, and every part of it that was handed on. From then on it permits nothing.
Calls that run under it are cut off, and none of their results is released; it says how
many there were on the node that was asked (other nodes cut theirs within two seconds).
Credentials that were made for calls under it are ended at their issuers. Where an
issuer cannot be reached, or cannot do that, the grant is revoke_partial and says which
credentials are left and until when; they are tried again until they have ended.`
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	return c
}
