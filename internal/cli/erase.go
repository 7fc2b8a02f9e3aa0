package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
)

func (a *app) auditErase() *cobra.Command {
	var in api.EraseSpec
	c := a.command("erase PERSON", "Destroy the keys of what the evidence holds of a person", "rutile audit erase alice --reason 'request 4711' --dry-run", calling(), func(ctx context.Context, args []string) error {
		in.Person = args[0]
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Erase(ctx, in)
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { writeErased(w, got) })
	})
	c.Long = `Destroy the keys under which the evidence seals arguments, results and names of a
person (GDPR Art. 17), and make the search index anew without them. It cannot be
undone. Leaves, proofs and checkpoints stay as they are and verify.

PERSON is the id that "rutile audit search" shows of calls. The reason is kept, so
it must not name the person. Only admins may. While evidence.retention.hold is
set nothing is erased.`
	c.Flags().StringVar(&in.Issuer, "issuer", "", "issuer of the person's account, where several have that id")
	c.Flags().StringVar(&in.Reason, "reason", "", "why: the number of the request")
	c.Flags().BoolVar(&in.DryRun, "dry-run", false, "show what would go and change nothing")
	return c
}

func writeErased(w io.Writer, e api.Erased) {
	months := make([]string, len(e.Months))
	for i, m := range e.Months {
		months[i] = monthName(m)
	}
	of := fmt.Sprintf("%d keys (data of %s); the index shows the person in %s events of this node", e.Keys, cmp.Or(strings.Join(months, ", "), "no month"), counted(e.Events, e.Events == 1_000_000))
	if e.DryRun {
		fmt.Fprintf(w, "nothing was changed; it would destroy %s\n", of)
	} else {
		fmt.Fprintf(w, "%s: destroyed %s, and no longer does\n", e.ID, of)
	}
	fmt.Fprintln(w, "what stays:")
	for _, s := range e.Stays {
		fmt.Fprintln(w, "  "+s)
	}
}
