package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/revocation"
)

func (a *app) session() *cobra.Command {
	return a.group("session", "Sessions of agents", "rutile session list --held", a.sessionList(), a.sessionShow(), a.sessionRelease(), a.sessionKill())
}

func (a *app) sessionList() *cobra.Command {
	var held bool
	var cursor string
	c := a.command("list", "List sessions, newest first", "rutile session list --held", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Sessions(ctx, held, cursor)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no sessions")
				return
			}
			t := a.table("SESSION", "STATE", "RISK", "AGENT", "FOR", "OPENED", "LAST TOKEN", "BECAUSE")
			for _, s := range page.Items {
				t.add(s.ID, s.State, scored(s.Risk), s.Agent, s.Subject, when(s.Opened), when(s.Last), s.Why)
			}
			t.write(w)
		})
	})
	c.Flags().BoolVar(&held, "held", false, "only those that were quarantined, revoked or terminated")
	c.Flags().StringVar(&cursor, "cursor", "", "go on after this `session`")
	return c
}

func (a *app) sessionShow() *cobra.Command {
	return a.command("show SESSION", "Show one session with what is in use in it", "rutile session show ses_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.Session(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			var running []string
			for _, r := range s.Running {
				running = append(running, cell(r.Action)+" since "+when(r.Since))
			}
			fields(w, "session", s.ID, "state", s.State, "because", s.Why, "agent", s.Agent, "acts for", s.Subject, "opened by", s.Source, "runs in", s.Client, "model", s.Model, "task", s.Task,
				"opened", when(s.Opened), "last token", when(s.Last), "ends", when(s.Ends), "grants", some(s.Grants), "labels", strings.Join(s.Labels, " "), "taint", strings.Join(s.Taint, " "),
				"risk", riskLine(s.Scores), "calls in flight", itoa(len(s.Running)), "running", strings.Join(running, "; "), "what happened", "rutile audit search --session "+s.ID)
			a.reasons(w, s.Scores)
			if len(s.Touched) == 0 {
				return
			}
			t := a.table("TOUCHED", "LABEL", "SERVER", "TOOL", "FIRST BY", "AT")
			for _, m := range s.Touched {
				t.add(m.Side, m.Word, m.Server, m.Tool, m.Decision, when(m.At))
			}
			t.write(w)
		})
	})
}

func (a *app) sessionRelease() *cobra.Command {
	var why string
	c := a.command("release SESSION", "Let a quarantined session go", "rutile session release ses_… --reason 'looked at'", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.ReleaseSession(ctx, args[0], why)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "session %s is %s\n", s.ID, s.State) })
	})
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	return c
}

func (a *app) sessionKill() *cobra.Command {
	var why string
	c := a.command("kill SESSION", "End a session and cut off what runs in it", "rutile session kill ses_… --reason 'leaked token'", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		return a.end(ctx, client, api.RevokeSpec{Kind: string(revocation.Session), ID: args[0], Reason: why, Terminate: true})
	})
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	return c
}
