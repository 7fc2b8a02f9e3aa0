package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/admin"
	"rutile/internal/api"
)

func (a *app) inventorySuggest() *cobra.Command {
	var o api.ListOptions
	c := a.command("suggest", "List what may be one server", "rutile inventory suggest", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Suggestions(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nothing looks like one server under two keys")
				return
			}
			t := a.table("MERGE", "INTO", "RULE", "WHY")
			for _, s := range page.Items {
				t.add(s.From, s.Into, s.Rule, s.Why)
			}
			t.write(w)
			a.say("nothing is merged by itself: rutile inventory merge FROM INTO")
		})
	})
	paging(c, &o)
	return c
}

func (a *app) inventoryOwners() *cobra.Command {
	var o api.ListOptions
	c := a.command("owners", "List who may answer for what nobody owns", "rutile inventory owners", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.SuggestedOwners(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nobody can be suggested for what nobody owns")
				return
			}
			t := a.table("KEY", "SERVER", "OWNER", "RULE", "PLACES", "WHY")
			for i := range page.Items {
				s := &page.Items[i]
				owner := s.Owner
				if owner == "" {
					owner = s.Handle + " (not registered)"
				}
				t.add(s.Server, s.Name, owner, s.Rule, itoa(s.Places), s.Why)
			}
			t.write(w)
			a.say("nobody owns anything by this: rutile inventory own KEY --owner OWNER")
		})
	})
	c.Long = `List who may answer for what nobody owns.

A repository's CODEOWNERS names who owns the file a server was seen in; a client's
configuration belongs to an account of the gateway's machine that is called like a
registered user. What a public registry or a server says of itself suggests nobody.
A person accepts a suggestion: rutile inventory own KEY --owner OWNER.`
	paging(c, &o)
	return c
}

func (a *app) inventoryMerge() *cobra.Command {
	in := api.MergeSpec{}
	c := a.command("merge FROM INTO", "Say that two servers are one", "rutile inventory merge https://a.example/sse https://a.example/mcp", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		in.From, in.Into = args[0], args[1]
		m, err := client.Merge(ctx, in)
		if err != nil {
			return err
		}
		return a.print(m, func(w io.Writer) {
			fmt.Fprintf(w, "%s counts as %s; take it back with: rutile inventory split %s\n", cell(m.From), cell(m.Into), m.ID)
		})
	})
	c.Flags().StringVar(&in.Reason, "why", "", "`reason`, kept in the evidence")
	return c
}

func (a *app) inventorySplit() *cobra.Command {
	in := api.SplitSpec{}
	c := a.command("split SERVER", "Take a merge back", "rutile inventory split https://a.example/sse", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		in.Key = args[0]
		m, err := client.Split(ctx, in)
		if err != nil {
			return err
		}
		return a.print(m, func(w io.Writer) { fmt.Fprintf(w, "%s is a server of its own again\n", cell(m.From)) })
	})
	c.Flags().StringVar(&in.Reason, "why", "", "`reason`, kept in the evidence")
	return c
}

func (a *app) inventoryOwn() *cobra.Command {
	in := api.OwnManySpec{}
	var yes bool
	c := a.command("own SERVER…", "Say who answers for servers that were found", "rutile inventory own pkg:npm/notes --owner team-platform", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			e, err := client.OwnFound(ctx, api.OwnFoundSpec{Key: args[0], Owner: in.Owner, Reason: in.Reason})
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { fields(w, "key", e.Key, "owner", e.Owner) })
		}
		in.Keys, in.Plan = args, !yes
		page, err := client.OwnMany(ctx, in)
		if err != nil {
			return err
		}
		if in.Plan {
			defer a.say("nothing was changed: add --yes to do it")
		}
		return a.print(page, func(w io.Writer) {
			t := a.table("KEY", "OWNER", "BECOMES", "STAYS BECAUSE")
			for i := range page.Items {
				o := &page.Items[i]
				to := in.Owner
				if o.Left != "" {
					to = o.From
				}
				t.add(o.Key, o.From, to, leftBecause[o.Left])
			}
			t.write(w)
		})
	})
	c.Long = `Say who answers for servers that were found.

One server may be named by its key, the beginning of it or a name. Several are named
by their keys, and what would change is shown first: --yes does it, for all of them
or none.`
	c.Flags().StringVar(&in.Owner, "owner", "", "the `user` or team; none takes it from whoever has it")
	c.Flags().StringVar(&in.Reason, "why", "", "`reason`, kept in the evidence")
	c.Flags().BoolVar(&yes, "yes", false, "of several servers, do it and do not only show it")
	return c
}

// leftBecause says why a server keeps who answers for it.
var leftBecause = map[admin.Left]string{ //nolint:gochecknoglobals // a table
	admin.LeftTheirs: "theirs already", admin.LeftRegistered: "registered: rutile server own changes it", admin.LeftMerged: "stands for others only",
}

func (a *app) inventoryHosts() *cobra.Command {
	var o api.ListOptions
	c := a.command("hosts", "List the machines something was found on", "rutile inventory hosts", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Hosts(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			t := a.table("HOST", "NAME", "SYSTEM", "DEVICE", "FIRST SEEN", "LAST SEEN")
			for _, h := range page.Items {
				t.add(h.ID, h.Name, h.System, h.Device, when(h.First), when(h.Last))
			}
			t.write(w)
		})
	})
	paging(c, &o)
	return c
}

func (a *app) inventoryAgents() *cobra.Command {
	var o api.ListOptions
	c := a.command("agents", "List the clients that were found", "rutile inventory agents", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.FoundAgents(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			t := a.table("AGENT", "CLIENT", "HOST", "USER", "SUPPORTED", "FIRST SEEN", "LAST SEEN")
			for _, x := range page.Items {
				t.add(x.ID, x.Name, x.Host, x.User, fmt.Sprint(x.Supported), when(x.First), when(x.Last))
			}
			t.write(w)
		})
	})
	paging(c, &o)
	return c
}

func (a *app) inventoryCredentials() *cobra.Command {
	var o api.ListOptions
	c := a.command("credentials", "List the secrets that were found, by name and place", "rutile inventory credentials", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.FoundCredentials(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			t := a.table("NAME", "KIND", "SHAPE", "WHERE", "HOST", "PLACE", "USED BY", "WRITTEN", "FIRST SEEN")
			for _, x := range page.Items {
				t.add(x.Name, string(x.Kind), x.Shape, x.Where, x.Host, x.Place.String(), strings.Join(x.UsedBy, " "), when(x.Written), when(x.First))
			}
			t.write(w)
		})
	})
	paging(c, &o)
	return c
}
