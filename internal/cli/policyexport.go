package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/discovery/managed"
)

func (a *app) policyExport() *cobra.Command {
	var client, program, dir string
	c := a.command("export", "Write the policy that holds the clients of a fleet to the gateway", "rutile policy export --for claude-code", calling(), func(ctx context.Context, _ []string) error {
		if client == "" {
			return access.Errorf(access.CodeUsage, "say which client with --for: %s", strings.Join(managed.Clients(), ", "))
		}
		api, err := a.client()
		if err != nil {
			return err
		}
		p, err := managedPolicy(ctx, api, client, program)
		if err != nil {
			return err
		}
		if dir != "" {
			if err := writeFiles(dir, p); err != nil {
				return err
			}
		}
		return a.print(p, func(w io.Writer) { a.shownPolicy(w, p, dir) })
	})
	c.Long = `Write what an administrator gives a client so that it uses the servers of the
gateway and no others: files for a management tool, with where they go. They name
every server that can be called now; write them again when that changes. There is
no secret in them. How far a client obeys its policy is said beside it.`
	f := c.Flags()
	f.StringVar(&client, "for", "", "the `client`: "+strings.Join(managed.Clients(), ", "))
	f.StringVar(&program, "program", "", "`path` of rutile on the machines, to start rutile connect there instead of an address")
	f.StringVar(&dir, "dir", "", "write the files into this `folder`")
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(managed.Clients(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// managedPolicy is the policy over the servers that can be called.
func managedPolicy(ctx context.Context, client *api.Client, of, program string) (managed.Policy, error) {
	st, err := client.Status(ctx)
	if err != nil {
		return managed.Policy{}, err
	}
	g := managed.Gateway{URL: strings.TrimSuffix(st.Agents, "/")}
	if program != "" {
		g.Command = []string{program, "connect"}
	}
	for cursor := ""; ; {
		page, err := client.Servers(ctx, api.ListOptions{Limit: 1000, Cursor: cursor})
		if err != nil {
			return managed.Policy{}, err
		}
		for _, s := range page.Items {
			if s.Callable {
				g.Servers = append(g.Servers, managed.Server{ID: s.ID})
			}
		}
		if cursor = page.Next; cursor == "" {
			return managed.For(of, g)
		}
	}
}

func writeFiles(dir string, p managed.Policy) error {
	for _, f := range p.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o644); err != nil {
			return access.Errorf(access.CodeInvalid, "writing the policy: %w", err)
		}
	}
	return nil
}

func (a *app) shownPolicy(w io.Writer, p managed.Policy, dir string) {
	for _, f := range p.Files {
		if dir != "" {
			fmt.Fprintln(w, filepath.Join(dir, f.Name))
			continue
		}
		fmt.Fprintf(w, "==> %s\n%s\n", f.Name, f.Text)
	}
	for _, f := range p.Files {
		a.say("%s goes to %s", f.Name, strings.Join(f.Paths, " or "))
	}
	for _, n := range p.Notes {
		a.say("note: %s", n)
	}
	for _, n := range p.Unconfirmed {
		a.say("not confirmed: %s", n)
	}
}
