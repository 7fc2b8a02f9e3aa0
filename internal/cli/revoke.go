package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/revocation"
)

// revokeKinds are the words of rutile revoke KIND.
func revokeKinds() []string {
	var out []string
	for _, k := range revocation.Kinds() {
		out = append(out, string(k))
	}
	return out
}

func (a *app) revoke() *cobra.Command {
	var why string
	var yes, dry bool
	c := a.command("revoke KIND ID", "Revoke an agent, a person, a server, a grant and what hangs on it", "rutile revoke agent release-bot --reason 'leaked token'", append(calling(), access.CodePartial), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		spec := api.RevokeSpec{Kind: args[0], ID: args[1], Reason: why}
		if dry || !yes {
			plan, err := client.PlanRevoke(ctx, spec)
			if err != nil {
				return err
			}
			if dry {
				return a.print(plan, func(w io.Writer) { printPlan(w, plan) })
			}
			if plan.Wide {
				printPlan(a.err, plan)
				if err := a.typed(plan); err != nil {
					return err
				}
			}
		}
		return a.end(ctx, client, spec)
	})
	c.Long = `Revoke something: from the moment the command returns nothing of it is permitted,
on any gateway that shares the database. Calls and streams in flight are cut, and a
result that comes all the same is withheld; what was minted upstream is ended where
its issuer can. The receipt says what ended, how fast, what of it lives and until
when, and how to undo it; it is evidence, and amended when what lived has ended.

  tenant default      everything: every session, grant and call
  user ID             what agents do for a person (ID, or ISSUER|ID)
  agent ID            its sessions, tokens and grants; it may sign in anew
  session ID          one session; rutile session kill does the same
  grant ID            a grant and what was carved out of it
  server ID           it is quarantined, its processes end, and grants for it
  tool SERVER/TOOL    it is quarantined; with @sha256:… only if that is its definition
  credential ID       it is removed, and what was minted of it ended
  approver ID         what a person approved, their personal tokens and sign-ins

Whoever revokes more than one session or grant types its id, or says --yes.`
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return revokeKinds(), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would end, and end nothing")
	c.AddCommand(a.revokeList(), a.revokeShow())
	return c
}

func (a *app) revokeList() *cobra.Command {
	var cursor string
	c := a.command("list", "List what was revoked, newest first", "rutile revoke list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Receipts(ctx, cursor)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nothing was revoked")
				return
			}
			t := a.table("REVOCATION", "EPOCH", "STATE", "WHAT", "WHEN", "BY", "SESSIONS", "GRANTS", "CALLS", "BECAUSE")
			for _, r := range page.Items {
				t.add(r.Revocation, strconv.FormatUint(r.Epoch, 10), r.State, r.Kind+" "+r.ID, when(r.At), r.Actor, itoa(len(r.Sessions)), itoa(len(r.Grants)), itoa(r.Calls), r.Cause)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&cursor, "cursor", "", "go on after this `epoch`")
	return c
}

func (a *app) revokeShow() *cobra.Command {
	return a.command("show REVOCATION", "Show one receipt", "rutile revoke show rev_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		r, err := client.Receipt(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { printReceipt(w, r) })
	})
}

// typed has whoever revokes something wide type what it is.
func (a *app) typed(p admin.RevokePlan) error {
	if !isTerminal(a.in) {
		return access.Errorf(access.CodeUsage, "revoking %s %s ends more than one thing: add --yes to do it without being asked, or --dry-run to see what would end", p.Kind, p.ID)
	}
	fmt.Fprintf(a.err, "type %s to revoke it: ", cell(p.ID))
	answer, err := bufio.NewReader(io.LimitReader(a.in, 1024)).ReadString('\n')
	if strings.TrimSpace(answer) != p.ID {
		return access.Errorf(access.CodeUsage, "that is not what was asked for, so nothing was revoked%s", ending(err))
	}
	return nil
}

func ending(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func printPlan(w io.Writer, p admin.RevokePlan) {
	fields(w, "would revoke", p.Kind+" "+cell(p.ID), "sessions that end", some(p.Sessions), "grants that end", some(p.Grants), "requests that end", some(p.Requests),
		"calls that are cut", strconv.Itoa(p.Calls), "besides", cell(strings.Join(p.Will, "; ")), "to undo", cell(p.Undo))
}

// some names a few and counts the rest.
func some(list []string) string {
	const few = 8
	if len(list) <= few {
		return strings.Join(list, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], " "), len(list)-few)
}

// end revokes what s names and prints the receipt.
func (a *app) end(ctx context.Context, client *api.Client, s api.RevokeSpec) error {
	r, err := client.Revoke(ctx, s)
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { printReceipt(w, r) }); err != nil {
		return err
	}
	if r.State == admin.ReceiptPartial {
		return access.Errorf(access.CodePartial, "what was made upstream lives on in part; it is tried again, and the receipt amended: rutile revoke show %s", r.Revocation)
	}
	return nil
}

func printReceipt(w io.Writer, r admin.Receipt) {
	was := r.State
	if r.Again {
		was += ": it had been revoked before, and nothing was left to end"
	}
	calls := strconv.Itoa(r.Calls)
	if r.Calls > 0 {
		calls = fmt.Sprintf("%s cut off in %s", access.Count(r.Calls, "call"), micros(r.CutUS))
	}
	if r.Running > 0 {
		calls += fmt.Sprintf("; %d had not returned, and their results are withheld", r.Running)
	}
	if r.Late > 0 {
		calls += fmt.Sprintf("; %d answered all the same, withheld", r.Late)
	}
	var nodes []string
	for _, n := range r.Nodes {
		if n.Lapsed {
			nodes = append(nodes, n.Node+" was silent until its lease lapsed: it permits nothing")
		} else {
			nodes = append(nodes, n.Node+" after "+micros(n.US))
		}
	}
	fields(w, "receipt", r.Revocation, "what", r.Verb+" "+r.Kind+" "+cell(r.ID), "state", was, "epoch", strconv.FormatUint(r.Epoch, 10), "because", cell(r.Cause), "by", r.Actor, "at", when(r.At),
		"denied after", micros(r.DeniedUS), "sessions ended", some(r.Sessions), "grants taken back", some(r.Grants), "requests ended", some(r.Requests), "calls cut off", calls,
		"besides", cell(strings.Join(r.Said, "; ")), "upstream", cell(strings.Join(upstream(r.Credentials), "; ")), "gateways", strings.Join(nodes, "; "), "amended", amendments(r.Amended), "to undo", cell(r.Undo))
}

func amendments(n int) string {
	if n == 0 {
		return ""
	}
	return access.Count(n, "time")
}

// upstream says what issuers ended and what lives.
func upstream(list []admin.EndedCredential) []string {
	var out []string
	for _, c := range list {
		line := "credential " + strings.TrimSpace(c.ID+" "+c.Version) + ": " + c.Result
		if !c.Until.IsZero() {
			line += ", lives until " + c.Until.UTC().Format(time.RFC3339)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// micros is a duration of so many microseconds.
func micros(n int64) string {
	d := time.Duration(n) * time.Microsecond
	if d >= 10*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
