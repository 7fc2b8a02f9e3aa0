package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/registry"
)

// moved runs a command that changes one server.
func (a *app) moved(use, short, example string, verb registry.Verb, m *api.ServerMove, read func(args []string) error) *cobra.Command {
	c := a.command(use, short, example, calling(), func(ctx context.Context, args []string) error {
		if read != nil {
			if err := read(args); err != nil {
				return err
			}
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.MoveServer(ctx, args[0], verb, *m)
		if err != nil {
			return err
		}
		return a.printMoved(s)
	})
	c.Flags().StringVar(&m.Reason, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) printMoved(s api.ServerChange) error {
	a.warn(s.Warnings)
	return a.print(s, func(w io.Writer) {
		fmt.Fprintf(w, "server %s is %s", cell(s.ID), s.State)
		if len(s.Tools) > 0 {
			fmt.Fprintf(w, "; tools: %s", counts(s.Tools))
		}
		if s.Blocking != nil {
			fmt.Fprintf(w, "; it is blocked once somebody besides %s wants it", cell(s.Blocking.By))
		}
		fmt.Fprintln(w)
	})
}

func (a *app) serverTriage() *cobra.Command {
	m := &api.ServerMove{}
	c := a.moved("triage SERVER", "Say who owns a discovered server and what data it touches", "rutile server triage files --owner team-docs --data-scope source:docs", registry.VerbTriage, m, nil)
	c.Flags().StringVar(&m.Owner, "owner", "", "`team` or person who answers for it")
	c.Flags().StringArrayVar(&m.DataScopes, "data-scope", nil, "`label` of what it may touch, such as source:docs; may be repeated")
	return c
}

func (a *app) serverAsk() *cobra.Command {
	return a.moved("ask SERVER", "Ask for a server to be sanctioned, by somebody else", "rutile server ask files --reason 'needed for the release'", "ask", &api.ServerMove{}, nil)
}

func (a *app) serverApprove() *cobra.Command {
	c := a.moved("approve SERVER", "Sanction a server: what it lists first is approved", "rutile server approve files", registry.VerbApprove, &api.ServerMove{}, nil)
	c.Aliases = []string{"sanction"}
	return c
}

func (a *app) serverOwn() *cobra.Command {
	m := &api.ServerMove{}
	return a.moved("own SERVER OWNER", "Give a server another owner; its sanction is then owed a review", "rutile server own files team-docs", "own", m, func(args []string) error {
		m.Owner = args[1]
		return nil
	})
}

func (a *app) serverTier() *cobra.Command {
	m := &api.ServerMove{}
	c := a.moved("tier SERVER [TIER]", "Raise the risk tier of a server, or lower it until a day", "rutile server tier files 3\nrutile server tier files 1 --until 2027-03-31 --reason 'no data yet'", "tier", m, func(args []string) error {
		if len(args) < 2 {
			return nil
		}
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return access.Errorf(access.CodeUsage, "a risk tier is 0 low to 3 critical, not %q", args[1])
		}
		m.Tier = &n
		return nil
	})
	c.Long = `Raise the risk tier of a server, or lower it until a day.

The tier is computed from what the server can do, which data it touches, its
credential, who reaches it, where it comes from and how many use it; server show
prints the points. A tier alone is the least it may be, 0 for none. With --until
it counts instead of the computed one, as an exception that ends by itself and
needs a reason. Without a tier the exception ends now.`
	c.Flags().StringVar(&m.Until, "until", "", "last `day` of the exception, for example 2027-03-31")
	return c
}

func (a *app) serverDeprecate() *cobra.Command {
	m := &api.ServerMove{}
	c := a.moved("deprecate SERVER", "Say that a server goes away, when, and what to use instead", "rutile server deprecate files --replacement files-two --ends 2027-03-31", registry.VerbDeprecate, m, nil)
	c.Flags().StringVar(&m.Replacement, "replacement", "", "`server` to use instead")
	c.Flags().StringVar(&m.Ends, "ends", "", "last `day`, for example 2027-03-31 (required)")
	return c
}

func (a *app) agentOwn() *cobra.Command {
	var why string
	c := a.command("own AGENT OWNER", "Give an agent another owner", "rutile agent own reader team-docs", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.OwnAgent(ctx, args[0], args[1], why)
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) { fmt.Fprintf(w, "agent %s is owned by %s\n", cell(x.ID), cell(x.Owner)) })
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

// standing shows where the risk tier of a server comes from, and what stands
// against its next step.
func standing(s api.Server) []string {
	var out []string
	if r := s.Risk; r != nil {
		words := fmt.Sprintf("%d (%d points)", r.Tier, r.Sum)
		switch {
		case r.Lowered != nil:
			words = fmt.Sprintf("%d until %s, by %s: %s; computed %d (%d points)", r.Tier, day(r.Lowered.Until), r.Lowered.By, r.Lowered.Why, r.Computed, r.Sum)
		case r.Raised > 0:
			words = fmt.Sprintf("%d, raised by its owner; computed %d (%d points)", r.Tier, r.Computed, r.Sum)
		}
		out = append(out, "risk tier", words)
		for _, p := range r.Points {
			out = append(out, "  "+p.Factor, fmt.Sprintf("%d  %s", p.Points, p.Source))
		}
	}
	for _, u := range s.Checklist {
		out = append(out, "to do: "+u.Guard, u.Why)
	}
	return out
}
