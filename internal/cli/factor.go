package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rutile/internal/admin"
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

func (a *app) userPassword() *cobra.Command {
	return a.group("password", "Passwords of people, each with one-time codes", "rutile user password set ann < password.txt",
		a.userPasswordSet(), a.userPasswordCodes())
}

func (a *app) userPasswordSet() *cobra.Command {
	var file string
	c := a.command("set USER", "Set a person's password, and print what they need besides, once", "rutile user password set ann < password.txt", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		value, err := a.secretValue("the password", file)
		if err != nil {
			return err
		}
		defer clear(value)
		p, err := client.SetUserPassword(ctx, args[0], value)
		return a.newPassword(p, err)
	})
	c.Long = `Set a person's password, in place of the one there is. It is read from standard input
or a file, never from an argument, and kept as its Argon2id hash. It signs in together
with a code of an authenticator app: the address for the app and ten recovery codes,
each of which counts once instead, are printed once, for the person. People set their
own on their page of the console.`
	fileFlag(c, &file)
	return c
}

func (a *app) userPasswordCodes() *cobra.Command {
	c := a.command("codes USER", "Print a new secret for a person's codes, and new recovery codes, once", "rutile user password codes ann", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		p, err := client.ResetUserCodes(ctx, args[0])
		return a.newPassword(p, err)
	})
	c.Long = `Give a person's password a new secret for codes and new recovery codes, where the
phone is lost. The password stays; the codes of before count no more, and sessions
opened with it end.`
	return c
}

func (a *app) newPassword(p admin.NewPassword, err error) error {
	if err != nil {
		return err
	}
	a.say("for %s alone; it is not shown again", cell(p.User))
	return a.print(p, func(w io.Writer) {
		fmt.Fprintln(w, p.Address)
		for _, code := range p.Recovery {
			fmt.Fprintln(w, code)
		}
	})
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
