package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/credential"
)

func (a *app) credential() *cobra.Command {
	return a.group("credential", "Upstream credentials, sealed and minted", "rutile credential set github-token < token.txt",
		a.credentialSet(), a.credentialList(), a.credentialShow(), a.credentialRotate(), a.credentialRewrap(), a.credentialRemove(), a.credentialLinks(), a.credentialDisconnect())
}

// secretValue reads a value from a file, standard input, or a terminal without
// echo. One newline at its end belongs to the file and not to the value.
func (a *app) secretValue(id, file string) ([]byte, error) {
	var b []byte
	var err error
	switch {
	case file != "":
		b, err = readFile(file, credential.MaxValue+2)
	case isTerminal(a.in):
		fmt.Fprintf(a.err, "value of %s (not shown): ", id)
		b, err = term.ReadPassword(int(a.in.(*os.File).Fd()))
		fmt.Fprintln(a.err)
	default:
		b, err = io.ReadAll(io.LimitReader(a.in, credential.MaxValue+3))
	}
	if err != nil {
		return nil, err
	}
	if rest, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b = bytes.TrimSuffix(rest, []byte("\r"))
	}
	if len(b) == 0 {
		return nil, access.Errorf(access.CodeUsage, "the value of %s is empty: give it on standard input or with --file", id)
	}
	return b, nil
}

func fileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "file", "", "`file` that holds the value; without it, it is read from standard input")
}

func (a *app) credentialSet() *cobra.Command {
	var spec api.CredentialSpec
	var file string
	tier := 3
	c := a.command("set CREDENTIAL", "Seal a new credential", "rutile credential set github-token --server github < token.txt", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if spec.Value, err = a.secretValue(args[0], file); err != nil {
			return err
		}
		defer clear(spec.Value)
		spec.MaxTier = &tier
		s, err := client.SetCredential(ctx, args[0], spec)
		if err != nil {
			return err
		}
		return a.sealed(s)
	})
	c.Long = `Seal a new credential. Its value is read from standard input or from a file, never
from an argument, and never comes out again but towards the servers it is for.`
	fileFlag(c, &file)
	c.Flags().StringArrayVar(&spec.Servers, "server", nil, "`server` it may be used for; may be repeated (default: whichever manifest names it)")
	c.Flags().StringArrayVar(&spec.Origins, "origin", nil, "scheme://host:port it may be sent to; may be repeated (default: bound at first use)")
	c.Flags().IntVar(&tier, "max-tier", 3, "highest tier of tool it may be used for, 0 to 3")
	return c
}

func (a *app) sealed(s api.Sealed) error {
	a.warn(s.Warnings)
	return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "credential %s is sealed, version %d\n", cell(s.ID), s.Version) })
}

func (a *app) credentialList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List credentials without their values", "rutile credential list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Credentials(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no credentials; seal one with: rutile credential set ID < FILE")
				return
			}
			t := a.table("CREDENTIAL", "KIND", "STATE", "VERSION", "MAX TIER", "SERVERS", "ORIGINS", "SET", "CHANGED", "LAST USED", "EXPIRES")
			for _, s := range page.Items {
				t.add(s.ID, s.Kind, s.State, credentialVersion(s), itoa(s.MaxTier), strings.Join(s.Servers, " "), strings.Join(s.Origins, " "), when(s.Created), when(s.Rotated), when(s.LastUsed), when(s.Expires))
			}
			t.write(w)
		})
	})
	c.Long = `List the sealed and the declared credentials. STATE is ready, or what is missing:
unbound (it goes nowhere yet), incomplete (a seed is not sealed), elsewhere (a server
is where it does not go) or unused; show says more. The version and the end of a
minted one are those of the last that was minted.`
	paging(c, &o)
	return c
}

// credentialVersion is the number of a sealed one, and of another the version of what
// was minted last.
func credentialVersion(c admin.Credential) string {
	if c.Kind == admin.KindSealed {
		return itoa(c.Version)
	}
	return c.Minted
}

func (a *app) credentialShow() *cobra.Command {
	return a.command("show CREDENTIAL", "Show one credential without its value", "rutile credential show crm-token", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.Credential(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			links := ""
			if s.Links > 0 {
				links = itoa(s.Links)
			}
			fields(w, "credential", s.ID, "kind", s.Kind, "owner", s.Owner, "state", s.State, "why", s.Why, "version", credentialVersion(s.Credential),
				"servers", strings.Join(s.Servers, " "), "origins", strings.Join(s.Origins, " "), "max tier", itoa(s.MaxTier), "used by", strings.Join(s.UsedBy, " "),
				"seeds", strings.Join(s.Seeds, " "), "set", when(s.Created), "changed", when(s.Rotated), "last used", when(s.LastUsed), "expires", when(s.Expires),
				"links", links, "callbacks", strings.Join(s.Callbacks, " "))
		})
	})
}

func (a *app) credentialRotate() *cobra.Command {
	var file string
	c := a.command("rotate CREDENTIAL", "Seal a new value; calls in flight keep the old one", "rutile credential rotate github-token < new.txt", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		value, err := a.secretValue(args[0], file)
		if err != nil {
			return err
		}
		defer clear(value)
		s, err := client.RotateCredential(ctx, args[0], value)
		if err != nil {
			return err
		}
		return a.sealed(s)
	})
	fileFlag(c, &file)
	return c
}

func (a *app) credentialRemove() *cobra.Command {
	c := a.command("remove CREDENTIAL", "Remove a credential; servers that need it cannot be called", "rutile credential remove github-token", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		removed, err := client.RemoveCredential(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(removed, func(w io.Writer) {
			fmt.Fprintf(w, "credential %s is removed\n", cell(args[0]))
			if removed.Revoked > 0 {
				fmt.Fprintf(w, "%d of what was minted or connected with it is revoked\n", removed.Revoked)
			}
			for _, left := range removed.Left {
				fmt.Fprintf(w, "not revoked: %s\n", cell(left))
			}
		})
	})
	c.Long = `Remove a sealed or declared credential. From then on nothing is opened or minted of
it. What was minted of a declared one is revoked where its issuer can, also where a
call is using it, and the connections of people are ended. That is tried for 15
seconds, and further in the background; what is not revoked by then is listed, with
how long it is valid, and is evidence.`
	return c
}

func (a *app) credentialRewrap() *cobra.Command {
	c := a.command("rewrap", "Seal all credentials anew under the vault's key", "rutile credential rewrap", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		out, err := client.RewrapCredentials(ctx)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "sealed anew under the vault's key: %s\n", access.Count(out.Sealed, "credential"))
		})
	})
	c.Long = `Make a new root key, seal it with the vault's key of the configuration, and seal
every credential anew under it, as a new version. To change the vault's key, name
the new one under vault and the earlier one under vault.previous, start, and run
this; then vault.previous can go from the configuration. It may be ended at any
time and run again: nothing that is sealed is ever without a key that opens it.
Processes of servers that hold a credential are started again at their next call.`
	return c
}
