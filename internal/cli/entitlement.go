package cli

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/grant"
)

func (a *app) entitlement() *cobra.Command {
	return a.group("entitlement", "Rights agents may ask for", "rutile entitlement list", a.entitlementList(), a.entitlementShow(), a.entitlementConfirm())
}

func (a *app) entitlementList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List entitlements", "rutile entitlement list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Entitlements(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no entitlements; declare one in a manifest of kind Entitlement and run: rutile apply -f FILE")
				return
			}
			t := a.table("ENTITLEMENT", "STATE", "OWNER", "AGENTS", "TOOLS", "MAX TTL", "APPROVE", "CONFIRM", "PURPOSE")
			for _, e := range page.Items {
				t.add(e.ID, e.State, e.Owner, strings.Join(who(e), " "), strings.Join(e.Tools, " "), maxTTL(e), e.Approve.String(), confirm(e, a.now()), e.Purpose)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

// confirm says when an entitlement is to be confirmed.
func confirm(e grant.Entitlement, now time.Time) string {
	day := e.Due().UTC().Format(time.DateOnly)
	switch {
	case e.State != grant.EntitlementActive:
		return ""
	case !e.Overdue(now):
		return "by " + day
	case e.Confirm.Refuse:
		return "overdue since " + day + ", refused"
	default:
		return "overdue since " + day
	}
}

func (a *app) entitlementConfirm() *cobra.Command {
	var why string
	c := a.command("confirm ENTITLEMENT", "Say that an entitlement is still wanted", "rutile entitlement confirm release", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		e, err := client.ConfirmEntitlement(ctx, args[0], why)
		if err != nil {
			return err
		}
		return a.print(e, func(w io.Writer) {
			fields(w, "entitlement", e.ID, "confirmed by", e.ConfirmedBy, "again", confirm(e, a.now()))
		})
	})
	c.Long = `Say that an entitlement is still wanted. Its owner says it, every quarter or as often
as its manifest says (confirm.every): the person it names, or a member of the team.
Where neither is registered, whoever may change the rules does. One that is overdue
is shown by entitlement list and doctor, and with confirm.overdue: refuse nobody can
ask for anything under it until it is confirmed.`
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	return c
}

// who names whom an entitlement is for.
func who(e grant.Entitlement) []string {
	out := append([]string{}, e.Agents...)
	for _, c := range e.Classes {
		out = append(out, "class:"+c)
	}
	return out
}

func maxTTL(e grant.Entitlement) string {
	if e.Ceiling.Seconds == 0 {
		return "1h0m0s"
	}
	return (time.Duration(e.Ceiling.Seconds) * time.Second).String()
}

func (a *app) entitlementShow() *cobra.Command {
	return a.command("show ENTITLEMENT", "Show one entitlement", "rutile entitlement show release", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		e, err := client.Entitlement(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(e, func(w io.Writer) {
			uses := ""
			if e.Ceiling.Uses > 0 {
				uses = itoa(int(e.Ceiling.Uses))
			}
			var constraints []string
			for _, c := range e.Args {
				constraints = append(constraints, strings.TrimSpace(c.At()+" "+string(c.Op())+" "+string(c.Operand())))
			}
			fields(w, "entitlement", e.ID, "state", e.State, "owner", e.Owner, "purpose", e.Purpose, "agents", strings.Join(who(e), " "), "tools", strings.Join(e.Tools, " "),
				"arguments", cell(strings.Join(constraints, ", ")), "at most lives", maxTTL(e), "at most uses", uses, "limits", e.Ceiling.Describe(), "approve", e.Approve.String(), "confirm", confirm(e, a.now()), "changed", when(e.Changed))
		})
	})
}
