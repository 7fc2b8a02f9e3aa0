package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rutile/internal/api"
)

func (a *app) userFactor() *cobra.Command {
	c := a.group("factor", "What people sign in to the console with", "rutile user factor list ann",
		a.userFactorList(), a.userFactorRemove())
	c.Long = `What people sign in to the console with: passkeys, and passwords with one-time codes.
People add their own on their page of the console (docs/people.md). An admin removes
what was lost; whoever has nothing left signs in with a personal token or a link and
adds another.`
	return c
}

func (a *app) userFactorList() *cobra.Command {
	return a.command("list USER", "List what a person signs in with", "rutile user factor list ann", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		list, err := client.UserFactors(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) {
			if len(list.Items) == 0 {
				a.say("%s has no passkey and no password", cell(args[0]))
				return
			}
			t := a.table("FACTOR", "KIND", "NAME", "CREATED", "BY", "LAST USED")
			for _, x := range list.Items {
				t.add(x.ID, string(x.Kind), x.Name, when(x.Created), x.By, when(x.Used))
			}
			t.write(w)
		})
	})
}

func (a *app) userFactorRemove() *cobra.Command {
	var why string
	c := a.command("remove USER ID", "Remove what a person signs in with; sessions opened with it end at once", "rutile user factor remove ann fac_01J9ZK3V5N8Q2R4T6W8Y0A1B2C", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if err := client.RemoveUserFactor(ctx, args[0], args[1], why); err != nil {
			return err
		}
		return a.print(api.Done{Done: true}, func(w io.Writer) { fmt.Fprintf(w, "factor %s is removed\n", cell(args[1])) })
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) userSignOut() *cobra.Command {
	var why string
	c := a.command("sign-out USER", "End a person's sessions at the console, on every node", "rutile user sign-out ann --reason 'laptop lost'", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if err := client.SignOutUser(ctx, args[0], why); err != nil {
			return err
		}
		return a.print(api.Done{Done: true}, func(w io.Writer) { fmt.Fprintf(w, "%s is signed out of the console everywhere\n", cell(args[0])) })
	})
	c.Long = `End a person's sessions at the console, on every node, at once. Their personal tokens
and what they sign in with stay: suspend them to keep them out.`
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}
