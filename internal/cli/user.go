package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/registry"
)

func (a *app) user() *cobra.Command {
	c := a.group("user", "People, what they may do, and their tokens", "rutile user list",
		a.userList(), a.userShow(),
		a.userVerb(registry.VerbSuspend, "Stop a person until resumed; their tokens do not count meanwhile", "rutile user suspend ann --reason 'on leave'"),
		a.userVerb(registry.VerbResume, "Let a suspended person act again", "rutile user resume ann"),
		a.userVerb(registry.VerbRetire, "End a person's account for good, and its tokens; the id is never used again", "rutile user retire ann"),
		a.userToken(), a.userLink(), a.userFactor(), a.userPassword(), a.userSignOut())
	c.Long = `People, what they may do, and their tokens.

People are registered with manifests (kind: User) and belong to the teams whose
manifests name them (kind: Team, members). Their roles say what they may do with
the gateway:

  viewer    see agents, servers, tools, policies and people
  auditor   that, and search, prove and export the evidence
  approver  that of a viewer, and decide requests
  operator  that of a viewer, and apply manifests, change agents, servers, tools,
            policies and credentials, and print agents' tokens
  admin     everything, people and their tokens included

Whoever holds the file operator.token, and on the socket root and the account the
gateway runs as, are admins without being registered.`
	return c
}

func roleWords(list []registry.Role) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

func (a *app) userList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List people", "rutile user list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Users(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no users; register one with a manifest (kind: User) and rutile apply -f FILE")
				return
			}
			t := a.table("USER", "STATE", "ROLES", "TEAMS", "EXPIRES", "NAME")
			for _, u := range page.Items {
				t.add(u.ID, string(u.Status), roleWords(u.Roles), strings.Join(u.Teams, " "), day(u.Expires), u.Name)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only people in this `state`: active, suspended, retired, expired")
	paging(c, &o)
	return c
}

func (a *app) userShow() *cobra.Command {
	return a.command("show USER", "Show one person", "rutile user show ann", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		u, err := client.User(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(u, func(w io.Writer) {
			fields(w, "user", u.ID, "state", string(u.Status), "because", u.StateWhy, "set by", u.StateBy, "name", u.Name, "email", u.Email,
				"roles", roleWords(u.Roles), "teams", strings.Join(u.Teams, " "), "local users", strings.Join(u.LocalUsers, " "), "expires", day(u.Expires),
				"registered", when(u.Created), "changed", when(u.Changed))
		})
	})
}

func (a *app) userVerb(verb registry.Verb, short, example string) *cobra.Command {
	var why string
	c := a.command(string(verb)+" USER", short, example, calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		u, err := client.ChangeUser(ctx, args[0], verb, why)
		if err != nil {
			return err
		}
		return a.print(u, func(w io.Writer) { fmt.Fprintf(w, "user %s is %s\n", cell(u.ID), u.Status) })
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) userToken() *cobra.Command {
	return a.group("token", "Personal API tokens", "rutile user token create ann --ttl 30d --name ci",
		a.userTokenCreate(), a.userTokenList(), a.userTokenRevoke())
}

func (a *app) userTokenCreate() *cobra.Command {
	var spec api.UserTokenSpec
	var ttl string
	c := a.command("create USER", "Print a personal API token, once", "rutile user token create ann --ttl 30d --name ci > token", calling(), func(ctx context.Context, args []string) error {
		life, err := lifetime(ttl)
		if err != nil {
			return err
		}
		spec.Seconds = int64(life / time.Second)
		client, err := a.client()
		if err != nil {
			return err
		}
		t, err := client.CreateUserToken(ctx, args[0], spec)
		if err != nil {
			return err
		}
		a.say("token %s of %s, until %s; it is not shown again", cell(t.ID), cell(t.User), when(t.Expires))
		return a.print(t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
	})
	c.Long = `Print a personal API token: only the token on standard output, once. The gateway
keeps its SHA-256.

Its holder acts as the person, with the person's roles, at the operators' address:
put it into a file and name that in RUTILE_TOKEN_FILE, with RUTILE_URL. Making one
needs the role admin and is recorded.`
	c.Flags().StringVar(&ttl, "ttl", "90d", "how `long` it lives, for example 12h or 30d, up to 365d")
	c.Flags().StringVar(&spec.Name, "name", "", "what it is for")
	return c
}

// lifetime reads a duration that may be in days.
func lifetime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 3650 {
			n = 3650 // more than any may be, and no overflow
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, access.Errorf(access.CodeUsage, "--ttl %s: give whole seconds, hours or days, for example 12h or 90d", s)
	}
	if d > admin.MaxUserTokenTTL {
		return 0, access.Errorf(access.CodeUsage, "--ttl %s: a personal token lives at most %d days", s, admin.MaxUserTokenTTL/(24*time.Hour))
	}
	return d, nil
}

func (a *app) userTokenList() *cobra.Command {
	return a.command("list USER", "List a person's tokens, not their values", "rutile user token list ann", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		list, err := client.UserTokens(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) {
			if len(list.Items) == 0 {
				a.say("%s has no tokens", cell(args[0]))
				return
			}
			t := a.table("TOKEN", "NAME", "CREATED", "BY", "EXPIRES", "LAST USED")
			for _, x := range list.Items {
				expires := when(x.Expires)
				if !a.now().Before(x.Expires) {
					expires += " (expired)"
				}
				t.add(x.ID, x.Name, when(x.Created), x.By, expires, when(x.Used))
			}
			t.write(w)
		})
	})
}

func (a *app) userTokenRevoke() *cobra.Command {
	var why string
	c := a.command("revoke USER ID", "End a personal token at once", "rutile user token revoke ann pat_01J9ZK3V5N8Q2R4T6W8Y0A1B2C", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if err := client.RevokeUserToken(ctx, args[0], args[1], why); err != nil {
			return err
		}
		return a.print(api.Done{Done: true}, func(w io.Writer) { fmt.Fprintf(w, "token %s is revoked\n", cell(args[1])) })
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) userLink() *cobra.Command {
	c := a.command("link", "Print a link that signs you in to the console, once", "rutile user link", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		l, err := client.SignInLink(ctx)
		if err != nil {
			return err
		}
		return a.print(l, func(w io.Writer) {
			fmt.Fprintln(w, l.Link)
			a.say("it counts once, from this machine, until %s", when(l.Expires))
		})
	})
	c.Long = `Print an address that opens the console signed in as whoever runs the command: the
account of the gateway or root as its keeper, an account that a User names as that
user. It counts once, within five minutes, and only from the gateway's own machine;
elsewhere one signs in with a personal token.`
	return c
}
