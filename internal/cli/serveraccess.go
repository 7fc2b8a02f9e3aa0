package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/privilege"
)

func (a *app) serverAccess() *cobra.Command {
	var since string
	c := a.command("access SERVER", "Say which agents may use what a server offers, and what was used", "rutile server access files", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.ServerAccess(ctx, args[0], since)
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { a.writeAccess(w, &got) })
	})
	c.Long = `Say which agents may use what a server offers now: each of its tools, prompts and its
resources with the agents that are permitted it or may ask for it, the rule, allow-list
or entitlement that says so, the grants in force that permit it with the person each is
for, and how often it was used since a time; last, what no agent may use. What is
permitted only for some arguments, persons, sessions or under a grant is "depends".`
	c.Flags().StringVar(&since, "since", "", "count the use from a `time`, a day or a duration on; 2160h (90 days) if not given")
	return c
}

func (a *app) writeAccess(w io.Writer, x *privilege.Access) {
	fields(w, "server", x.Server, "since", when(x.Since), "until", when(x.Until), "young", x.Young)
	if x.Monitor {
		fmt.Fprintln(w, "the gateway observes: calls that rules deny pass; this is what enforcing would permit")
	}
	if len(x.Holders) == 0 {
		fmt.Fprintln(w, "no agent may use anything of it")
		return
	}
	t := a.table("WHAT", "TIER", "AGENT", "OUTCOME", "BY", "GRANTS", "CALLS", "LAST")
	for i := range x.Holders {
		h := &x.Holders[i]
		var by, grants []string
		for _, b := range h.Basis {
			by = append(by, b.Statement)
		}
		for _, g := range h.Grants {
			grants = append(grants, g.ID)
			if g.For != "" {
				grants = append(grants, "for "+g.For)
			}
		}
		t.add(h.Action, itoa(h.Tier), h.Agent, h.Outcome, strings.Join(by, " "), strings.Join(grants, " "), itoa(h.Calls), when(h.Last))
	}
	t.write(w)
	if len(x.Nobody) > 0 {
		fmt.Fprintf(w, "no agent may use: %s\n", cell(strings.Join(x.Nobody, " ")))
	}
}
