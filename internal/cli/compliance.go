package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/compliance"
)

func (a *app) reportCompliance() *cobra.Command {
	q := api.ComplianceQuery{}
	c := a.command("compliance", "Say what of a framework's controls Rutile does, and what the evidence shows", "rutile report compliance --framework eu-ai-act -o html > report.html", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Compliance(ctx, q)
		if err != nil {
			return err
		}
		if a.format != "html" {
			return a.print(got, func(w io.Writer) { writeCompliance(w, &got) })
		}
		st, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if err := compliance.WriteHTML(a.out, &got, st.Operators); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return a.out.err
	})
	c.Long = `Say what of a framework's controls Rutile does, and what the evidence of a period
shows of it. It helps those who judge, and is no statement that a rule or a law is
met: a control is covered, partly covered or not by Rutile, and what is left to
others is said.

Frameworks: ` + strings.Join(compliance.Frameworks(), ", ") + `.

Every figure comes with the command that prints the same count and the page of the
console that lists what was counted. With -o html the report is one file that loads
nothing and prints well. It holds the signed checkpoint of the log it was made at.`
	c.Annotations[alsoForm] = "html"
	f := c.Flags()
	f.StringVar(&q.Framework, "framework", "", "`id` of the framework (default "+compliance.Frameworks()[0]+")")
	f.StringVar(&q.Since, "since", "2160h", "begun not before this `time`, a day or a duration")
	f.StringVar(&q.Until, "until", "", "begun before this `time`; default now")
	_ = c.RegisterFlagCompletionFunc("framework", cobra.FixedCompletions(compliance.Frameworks(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func writeCompliance(w io.Writer, r *compliance.Report) {
	fields(w, "framework", r.Title, "edition", r.Edition, "since", exactly(r.Since), "until", exactly(r.Until), "leaves", itoa(int(r.Leaves)))
	for _, c := range r.Controls {
		fmt.Fprintf(w, "\n%s  %s  %s\n", c.ID, strings.ToUpper(string(c.State)), c.Title)
		fields(w, "  not by rutile", c.Gap)
		for _, m := range c.Measures {
			fmt.Fprintf(w, "  %s\n", m.Does)
			for _, f := range m.Figures {
				fmt.Fprintf(w, "    %8s  %s\n              %s\n", counted(f.Count, f.More), f.Name, f.Command)
			}
		}
	}
}
