package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
)

func (a *app) credentialLinks() *cobra.Command {
	var o api.ListOptions
	mine := false
	c := a.command("links", "List what people connected", "rutile credential links", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		list := client.Links
		if mine {
			list = client.OwnLinks
		}
		page, err := list(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nobody has connected a server; people do when a call of their agent needs it")
				return
			}
			t := a.table("LINK", "PERSON", "SERVER", "CREDENTIAL", "STATE", "ISSUER", "SCOPES", "MADE", "REFRESHED")
			for _, l := range page.Items {
				t.add(l.ID, l.Subject.ID, l.Server, l.Credential, string(l.State), l.Issuer, strings.Join(l.Scopes, " "), when(l.Made), when(l.Refreshed))
			}
			t.write(w)
		})
	})
	c.Long = `List the connections of people to servers that act for them. A broken one is of no
use until its person connects anew. No token is ever shown. With --mine a person sees
their own, whatever their roles.`
	paging(c, &o)
	c.Flags().BoolVar(&mine, "mine", false, "only what you connected yourself")
	return c
}

func (a *app) credentialDisconnect() *cobra.Command {
	mine := false
	c := a.command("disconnect LINK", "End a connection and revoke its tokens", "rutile credential disconnect lnk_0123456789abcdef0123456789", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		disconnect := client.Disconnect
		if mine {
			disconnect = client.DisconnectOwn
		}
		d, err := disconnect(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(d, func(w io.Writer) {
			fmt.Fprintf(w, "link %s is gone\n", cell(args[0]))
			if d.Left != "" {
				fmt.Fprintf(w, "%s\n", cell(d.Left))
			}
		})
	})
	c.Long = `End a person's connection to a server. Its tokens are deleted here whatever happens,
and revoked at the authorization server where that offers it (RFC 7009); what could
not be revoked is said, with how long it stays valid. With --mine a person ends one
of their own, whatever their roles.`
	c.Flags().BoolVar(&mine, "mine", false, "the connection is your own")
	return c
}
