package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/rehearsal"
)

func (a *app) explain() *cobra.Command {
	var report string
	c := a.command("explain DECISION", "Say why a recorded call was permitted or denied, and what would change it", "rutile explain dec_01KB…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if report != "" {
			f, err := client.ReportDenial(ctx, args[0], api.DenialReport{Comment: report})
			if err != nil {
				return err
			}
			return a.print(f, func(w io.Writer) {
				fmt.Fprintf(w, "reported: finding %s, with %s\n", f.ID, cell(cmp.Or(f.Owner, "nobody yet")))
			})
		}
		x, err := client.Decision(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) {
			writeDecision(w, &x)
			a.reasons(w, x.Risk)
		})
	})
	c.Long = `Say why a recorded call was permitted or denied, and what would change it: the rules
that decided with their text as it was then, what they read, the nearest rules that
would permit it, and the smallest change that would. Arguments are never shown, and
are looked at only for whoever may read evidence.

With --report it says that the denial was wrong: who answers for the rule (@owner) or
for the agent gets a finding with the comment. That changes no rule.`
	c.Flags().StringVar(&report, "report", "", "report the denial as wrong, with this `comment`")
	return c
}

func writeDecision(w io.Writer, x *rehearsal.Explained) {
	fmt.Fprintf(w, "%s  %s\n", x.Outcome, cell(x.Action))
	would, generation := x.Would, ""
	if would == x.Outcome {
		would = ""
	}
	if x.Generation > 0 {
		generation = fmt.Sprint(x.Generation)
	}
	fields(w, "decision", x.Decision, "at", when(x.At), "agent", x.Agent, "for", x.Subject, "enforcing would", would, "because", x.Reason, "what helps", x.Help,
		"task", x.Task, "grant", x.Grant, "risk then", riskLine(x.Risk), "rules of generation", generation, "text not kept", strings.Join(x.Gone, " "), "the rules in force say", x.Now)
	for i := range x.Flows {
		fmt.Fprintf(w, "argument %s stands in %s\n", cell(x.Flows[i].Pointer), cell(x.Flows[i].Source()))
	}
	writeRules(w, x.Rules, x.Nearest, x.Inputs, x.Flip)
}
