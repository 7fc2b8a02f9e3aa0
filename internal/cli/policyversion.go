package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
)

func (a *app) policyVersions() *cobra.Command {
	var limit int
	var cursor string
	c := a.command("versions", "List the generations of the rules, newest first", "rutile policy versions", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Versions(ctx, api.ListOptions{Limit: limit, Cursor: cursor})
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) {
			t := a.table("GENERATION", "AT", "ACTOR", "POLICIES", "ENTITLEMENTS", "LISTS", "DIGEST", "EVIDENCE", "NOTE")
			for _, v := range got.Items {
				note := v.Why
				if v.From > 0 {
					note = strings.TrimSuffix(fmt.Sprintf("brings back %d: %s", v.From, v.Why), ": ")
				}
				t.add(strconv.FormatUint(v.N, 10), when(v.At), v.Actor, itoa(v.Counts.Policies), itoa(v.Counts.Entitlements), itoa(v.Counts.Lists), short(v.Digest), v.Change, note)
			}
			t.write(w)
		}); err != nil {
			return err
		}
		a.more(got.More, got.Next)
		return nil
	})
	c.Long = `List the generations of the rules, newest first.

The rules are the policies, the entitlements and the agents' allow-lists. Every
change of one of them makes a generation; an apply that changes nothing makes
none. rutile audit show EVIDENCE shows what was recorded of it.`
	c.Flags().IntVar(&limit, "limit", 0, "at most this `many` (default 100)")
	c.Flags().StringVar(&cursor, "cursor", "", "go on after a `page`")
	return c
}

// short is the beginning of a digest, enough to tell two apart.
func short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return hex[:12]
}

func generationOf(s string) (uint64, error) {
	if s == "live" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return 0, access.Errorf(access.CodeUsage, "%q is not a generation: give a number of rutile policy versions, or live", s)
	}
	return n, nil
}

func (a *app) policyDiff() *cobra.Command {
	c := a.command("diff [FROM] [TO]", "Show what differs between two generations of the rules", "rutile policy diff 3 live", append(calling(), access.CodeFindings), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		sides := [2]uint64{}
		for i, s := range args {
			if sides[i], err = generationOf(s); err != nil {
				return err
			}
		}
		if len(args) == 0 {
			last, err := client.Versions(ctx, api.ListOptions{Limit: 2})
			if err != nil {
				return err
			}
			if len(last.Items) < 2 {
				return access.Errorf(access.CodeNotFound, "there is no generation before this one: rutile policy versions lists them")
			}
			sides[0] = last.Items[1].N
		}
		got, err := client.DiffVersions(ctx, sides[0], sides[1])
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) {
			for _, o := range got.Objects {
				fmt.Fprint(w, lines(o.Diff))
			}
			if len(got.Objects) == 0 {
				fmt.Fprintln(w, "nothing differs")
			}
		}); err != nil {
			return err
		}
		if len(got.Objects) > 0 {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = `Show what differs between two generations of the rules, one unified diff for
each policy, entitlement and allow-list. TO is what is in force if it is left out;
without both, what the newest generation changed. The status is 3 if something
differs.`
	return c
}

func (a *app) policyRollback() *cobra.Command {
	var why string
	var dryRun bool
	c := a.command("rollback GENERATION", "Bring back an older generation of the rules", "rutile policy rollback 3 --why 'generation 4 denied the release'", calling(), func(ctx context.Context, args []string) error {
		n, err := generationOf(args[0])
		if err != nil || n == 0 {
			return access.Errorf(access.CodeUsage, "%q is not a generation to bring back: give a number of rutile policy versions", args[0])
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.RollBack(ctx, api.RollBack{Generation: n, Why: why, DryRun: dryRun})
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { a.plan(w, got) })
	})
	c.Long = `Bring back an older generation of the rules.

Policies and entitlements become what they were and those written since are
removed; every agent's allow-list becomes what it was, and an agent registered
since has none. Agents, servers, pins and people stay as they are, and a retired
agent stays retired. What was is checked against what is registered now: if it
does not fit, nothing changes and every mistake is named. Bringing back is a
change like an apply: the same roles may, it is recorded, and it makes a new
generation.`
	c.Flags().StringVar(&why, "why", "", "`reason`, kept in the evidence")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and do nothing")
	return c
}
