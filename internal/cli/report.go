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
	"rutile/internal/privilege"
)

func (a *app) report() *cobra.Command {
	return a.group("report", "What agents could do and did, and what that is to a framework", "rutile report privileges --since 720h", a.reportPrivileges(), a.reportCompliance())
}

func (a *app) reportPrivileges() *cobra.Command {
	q := api.PrivilegeQuery{}
	in := api.Shrink{}
	var apply bool
	c := a.command("privileges", "Say what agents could do, what they did, and what can be taken away", "rutile report privileges --since 720h", append(calling(), access.CodeFindings), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if apply {
			return a.takeAway(ctx, client, q, in)
		}
		if in.Digest != "" || in.Why != "" || in.DryRun {
			return access.Errorf(access.CodeUsage, "--digest, --why and --dry-run go with --apply")
		}
		got, err := client.Privileges(ctx, q)
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) { a.privileges(w, &got) }); err != nil {
			return err
		}
		if len(got.Proposals()) > 0 {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = `Say what agents could do, what they did, and what can be taken away.

For every agent: its allow-list and how often each entry was used, everything else
it could do and by which policy, what it may ask for, what it was granted, and the
credentials its calls are made with. A right that is younger than the period is not
called unused, and neither is any where the evidence or the rules do not go back
that far. The status is 3 if something can be taken away.

--apply --digest DIGEST takes away what the report with this digest proposed: the
allow-lists shrink in one recorded change, or none does. It is refused where what
is registered or used has changed since; --since is the time the report began, as
it prints it. --dry-run shows what would be done.`
	f := c.Flags()
	f.StringVar(&q.Since, "since", "720h", "a `time`, a day or a duration")
	f.StringVar(&q.Agent, "agent", "", "only this `agent`")
	f.BoolVar(&apply, "apply", false, "take away what a report proposed")
	f.StringVar(&in.Digest, "digest", "", "the `digest` of that report")
	f.StringVar(&in.Why, "why", "", "`reason`, kept in the evidence")
	f.BoolVar(&in.DryRun, "dry-run", false, "say what would be taken away and do nothing")
	return c
}

func (a *app) takeAway(ctx context.Context, client *api.Client, q api.PrivilegeQuery, in api.Shrink) error {
	if in.Digest == "" {
		return access.Errorf(access.CodeUsage, "--apply needs --digest and --since of a report you have read: rutile report privileges prints them")
	}
	if _, err := time.Parse(time.RFC3339Nano, q.Since); err != nil {
		return access.Errorf(access.CodeUsage, "--apply needs the time the report began as it prints it, such as --since 2026-11-01T10:00:00Z, not %q", q.Since)
	}
	in.Since, in.Agent = q.Since, q.Agent
	plan, err := client.Shrink(ctx, in)
	if err != nil {
		return err
	}
	got := api.Applied{Plan: plan}
	return a.print(got, func(w io.Writer) { a.plan(w, got) })
}

func (a *app) privileges(w io.Writer, r *privilege.Report) {
	fields(w, "since", exactly(r.Since), "until", when(r.Until), "young", r.Young, "digest", r.Digest)
	proposed := 0
	for _, x := range r.Agents {
		fmt.Fprintf(w, "\n%s  %s, owner %s\n", cell(x.ID), x.Status, cell(x.Owner))
		fields(w, "  orphaned", x.Orphaned, "  may ask", strings.Join(x.Entitlements, " "), "  credentials", strings.Join(x.Credentials, " "))
		t := a.table("  ALLOW-LIST", "COVERS", "USED", "CALLS", "LAST", "VERDICT")
		for _, s := range x.Standing {
			t.add("  "+s.Pattern, itoa(s.Covers), itoa(s.Used), itoa(s.Calls), when(s.Last), string(s.Verdict))
		}
		if len(x.Standing) > 0 {
			t.write(w)
		}
		t = a.table("  COULD", "TIER", "OUTCOME", "CALLS", "LAST", "BY")
		for _, c := range x.Can {
			if c.Calls > 0 || a.verbose || c.Tier >= 2 {
				t.add("  "+c.Action, itoa(c.Tier), c.Outcome, itoa(c.Calls), when(c.Last), strings.Join(c.By, " "))
			}
		}
		if len(t.rows) > 1 {
			t.write(w)
		}
		if hidden := len(x.Can) + 1 - len(t.rows); hidden > 0 {
			fmt.Fprintf(w, "  and %d more of a low tier that it did not use (-v shows them)\n", hidden)
		}
		for _, g := range x.Grants {
			fmt.Fprintf(w, "  grant %s of %s until %s, %s\n", cell(g.ID), cell(g.Action), when(g.Expires), access.Count(g.Uses, "use"))
		}
		if x.Shrinks {
			proposed++
			fmt.Fprintf(w, "  proposed: %s\n", cell(listed(x.Proposed)))
		}
	}
	if len(r.Unmatched) > 0 {
		fmt.Fprintln(w, "\npolicies that matched nothing:")
		for _, s := range r.Unmatched {
			fmt.Fprintf(w, "  %s (%s)\n", cell(s.ID), cell(place(s.Policy, s.File, s.Line)))
		}
	}
	if proposed > 0 {
		about := ""
		if r.Agent != "" {
			about = " --agent " + shellWord(r.Agent)
		}
		fmt.Fprintf(w, "\n%d allow-lists can shrink: rutile report privileges --apply --since %s%s --digest %s\n", proposed, exactly(r.Since), about, r.Digest)
	}
}

func listed(tools []string) string {
	if len(tools) == 0 {
		return "no tools"
	}
	return strings.Join(tools, " ")
}

// exactly is a time as it must be given back.
func exactly(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (a *app) policySuggest() *cobra.Command {
	q := api.PrivilegeQuery{}
	c := a.command("suggest", "Propose the narrowest rights that cover what was observed", "rutile policy suggest --since 720h > narrower.yaml", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Suggest(ctx, q)
		if err != nil {
			return err
		}
		if got.Young != "" {
			a.say("nothing is called unused: %s", got.Young)
		}
		if got.Agents == 0 {
			a.say("nothing narrower is known that covers what was observed")
		}
		return a.print(got, func(w io.Writer) { _, _ = io.WriteString(w, got.Manifests) })
	})
	c.Long = `Propose the narrowest rights that cover what was observed, as manifests that
rutile apply -f - takes as they are. Nothing is changed.

Each agent's allow-list names what it was permitted and used, one by one: a pattern
would also cover what is approved later. What is of tier 2 or more and was used at
most ` + itoa(privilege.Rare) + ` times becomes something to ask for, unless --keep-standing: those calls then
wait for an approval. Everything else that was permitted stays permitted. What is
younger than the period stays. Comments say how often each entry was used.`
	f := c.Flags()
	f.StringVar(&q.Since, "since", "720h", "a `time`, a day or a duration")
	f.StringVar(&q.Agent, "agent", "", "only this `agent`")
	f.BoolVar(&q.KeepStanding, "keep-standing", false, "propose nothing to be asked for")
	return c
}
