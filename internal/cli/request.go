package cli

import (
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

func (a *app) request() *cobra.Command {
	return a.group("request", "What agents ask to be allowed", "rutile request list --state pending",
		a.requestList(), a.requestShow(), a.requestApprove(), a.requestDeny())
}

// history adds the flags of a list that is kept newest first.
func history(c *cobra.Command, o *api.HistoryOptions, states string) {
	f := c.Flags()
	f.StringVar(&o.State, "state", "", "only those in this `state`: "+states)
	f.StringVar(&o.Agent, "agent", "", "only those of this `agent`")
	f.IntVar(&o.Limit, "limit", 100, "at most so many, up to 1000")
	f.StringVar(&o.Cursor, "cursor", "", "go on after this `entry`")
}

func (a *app) requestList() *cobra.Command {
	var o api.HistoryOptions
	c := a.command("list", "List requests, newest first", "rutile request list --state pending", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Requests(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no requests")
				return
			}
			t := a.table("REQUEST", "STATE", "AGENT", "FOR", "ASKS", "TIER", "NEEDS", "YES", "TASK", "UNTIL")
			for _, r := range page.Items {
				t.add(r.ID, string(r.State), r.Party.Agent, r.Party.Subject, r.Target.Action(), itoa(r.Target.Tier), r.Rule.String(), itoa(len(r.Approvals)), r.Task, when(r.Expires))
			}
			t.write(w)
		})
	})
	history(c, &o, "pending, issued, denied, expired, withdrawn, invalidated")
	c.Flags().StringVar(&o.Task, "task", "", "only those of this `task`")
	return c
}

func (a *app) requestShow() *cobra.Command {
	return a.command("show REQUEST", "Show one request with the exact call it asks for", "rutile request show req_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		r, err := client.Request(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			writeRequest(w, r)
			a.reasons(w, r.Risk)
		})
	})
}

func writeRequest(w io.Writer, r admin.RequestView) {
	uses := "without limit"
	if r.Uses > 0 {
		uses = fmt.Sprint(r.Uses)
	}
	current := "no: the definition changed since"
	if r.Current {
		current = "yes"
	}
	fields(w, "request", r.ID, "state", string(r.State), "because", r.Why, "agent", r.Party.Agent, "acts for", r.Party.Subject, "task", r.Task,
		"asks for", r.Target.Action(), "arguments", cell(string(r.Arguments)), "tier", itoa(r.Target.Tier), "definition is current", current,
		"scope", string(r.Scope), "begins", when(r.NotBefore), "lives", (time.Duration(r.Life) * time.Second).String(), "uses", uses, "limits", r.Describe(), "reason", r.Reason,
		"entitlement", r.Entitlement, "asked by", strings.Join(r.Policies, " "), "needs", r.Rule.String(), "said by", strings.Join(r.RuleBy, " "), "yes from", approvers(r.Approvals),
		"grant", r.Grant, "risk when it asked", riskLine(r.Risk), "asked at", when(r.Created), "waits until", when(r.Expires))
	for i := range r.Flow {
		l := &r.Flow[i]
		fmt.Fprintf(w, "argument %s (%s) stands in %s\n", cell(l.Pointer), l.Role, cell(l.Source()))
	}
}

// ahead is when what was answered at a time begins, "" where it has begun with that.
func ahead(begins, answered time.Time) string {
	if !begins.After(answered) {
		return ""
	}
	return when(begins)
}

func approvers(list []grant.Approval) string {
	var out []string
	for _, a := range list {
		out = append(out, a.By)
	}
	return strings.Join(out, ", ")
}

func (a *app) requestApprove() *cobra.Command {
	var s api.ApproveSpec
	var ttl time.Duration
	var l limitFlags
	var from notBefore
	c := a.command("approve REQUEST", "Say yes to a request", "rutile request approve req_… --ttl 10m", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s.Seconds = int64(ttl / time.Second)
		if s.Limits, err = l.read(); err != nil {
			return err
		}
		if s.NotBefore, err = from.read(time.Now()); err != nil {
			return err
		}
		r, err := client.ApproveRequest(ctx, args[0], s)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			if r.State == grant.RequestIssued {
				if from := ahead(r.NotBefore, r.Changed); from != "" {
					fmt.Fprintf(w, "grant %s stands for request %s from %s on\n", r.Grant, r.ID, from)
					return
				}
				fmt.Fprintf(w, "grant %s stands for request %s\n", r.Grant, r.ID)
				return
			}
			fmt.Fprintf(w, "request %s has %d of %s\n", r.ID, len(r.Approvals), access.Count(r.Rule.People(), "approval"))
		})
	})
	c.Long = `Say yes to a request. Look at it first with rutile request show: it shows the exact
call. What you change may only narrow what was asked for. The time of the grant
starts when the last approval it needs is given, or later, with --not-before.`
	c.Flags().DurationVar(&ttl, "ttl", 0, "how long the grant lives, at most what was asked for")
	c.Flags().Int64Var(&s.Uses, "uses", 0, "how many calls it covers, at most what was asked for")
	from.add(c.Flags(), "with the last approval if not given")
	l.add(c.Flags(), true)
	c.Flags().StringVar(&s.Reason, "reason", "", "why, for the evidence")
	return c
}

func (a *app) requestDeny() *cobra.Command {
	var s api.DenySpec
	c := a.command("deny REQUEST", "Say no to a request", "rutile request deny req_… --reason 'not today'", append(calling(), access.CodePartial), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		r, err := client.DenyRequest(ctx, args[0], s)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			fmt.Fprintf(w, "request %s is denied\n", r.ID)
			if s.SuspendAgent {
				fmt.Fprintf(w, "agent %s is suspended\n", r.Party.Agent)
			}
		})
	})
	c.Flags().BoolVar(&s.SuspendAgent, "suspend-agent", false, "suspend the agent that asks besides; whoever may not do both does neither")
	c.Flags().StringVar(&s.Reason, "reason", "", "why, for the evidence")
	return c
}
