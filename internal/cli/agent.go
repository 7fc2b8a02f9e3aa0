package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

func (a *app) agent() *cobra.Command {
	return a.group("agent", "Agents as governed identities", "rutile agent list",
		a.agentList(), a.agentShow(), a.agentCreate(), a.agentOwn(),
		a.agentVerb(registry.VerbSuspend, "Stop an agent until it is resumed", "rutile agent suspend reader --reason 'reads too much'"),
		a.agentVerb(registry.VerbResume, "Let a suspended or quarantined agent act again", "rutile agent resume reader"),
		a.agentVerb(registry.VerbRetire, "End an agent for good; its id is never used again", "rutile agent retire reader"),
		a.agentToken(), a.agentEnroll(), a.agentUnenroll())
}

// counting gives the command of a list the flag that says how many there are instead.
func counting(c *cobra.Command, count *bool) {
	c.Flags().BoolVar(count, "count", false, "say how many there are, from the cursor on")
}

// total prints how many entries a page and those after it hold.
func total[T any](a *app, page api.Page[T]) error {
	n := api.Counted{Count: len(page.Items) + page.More}
	return a.print(n, func(w io.Writer) { fmt.Fprintln(w, n.Count) })
}

// paging adds the flags of a list.
func paging(c *cobra.Command, o *api.ListOptions) {
	c.Flags().IntVar(&o.Limit, "limit", 100, "at most so many, up to 1000")
	c.Flags().StringVar(&o.Cursor, "cursor", "", "go on after this `entry`")
}

func (a *app) agentList() *cobra.Command {
	var count bool
	var o api.ListOptions
	c := a.command("list", "List agents", "rutile agent list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Agents(ctx, o)
		if err != nil {
			return err
		}
		if count {
			return total(a, page)
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no agents; register one with: rutile apply -f FILE, or rutile agent create ID --owner TEAM")
				return
			}
			t := a.table("AGENT", "STATE", "OWNER", "TIER", "EXPIRES", "TOOLS", "PURPOSE")
			for _, x := range page.Items {
				t.add(x.ID, string(x.Status), x.Owner, itoa(x.RiskTier), day(x.Expires), strings.Join(x.Tools, " "), x.Purpose)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only agents in this `state`: active, suspended, quarantined, retired, expired")
	paging(c, &o)
	counting(c, &count)
	return c
}

func (a *app) printAgent(x api.Agent) error {
	return a.print(x, func(w io.Writer) {
		fields(w, "agent", x.ID, "state", string(x.Status), "because", x.StateWhy, "set by", x.StateBy, "owner", x.Owner, "orphaned", x.Orphaned, "purpose", x.Purpose,
			"runtime", x.Runtime, "model", x.Model, "class", x.Class, "risk tier", itoa(x.RiskTier), "expires", day(x.Expires),
			"tools", strings.Join(x.Tools, " "), "data scopes", strings.Join(x.DataScopes, " "), "keys", itoa(len(x.Keys)), "enrolled", enrolledKeys(x),
			"registered", when(x.Created), "changed", when(x.Changed))
	})
}

// enrolledKeys names the keys that came by enrollment.
func enrolledKeys(x api.Agent) string {
	var out []string
	for _, k := range x.Enrolled {
		out = append(out, identity.KeyID(json.RawMessage(k.JWK)))
	}
	return strings.Join(out, " ")
}

func (a *app) agentShow() *cobra.Command {
	return a.command("show AGENT", "Show one agent", "rutile agent show reader", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.Agent(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printAgent(x)
	})
}

func (a *app) agentCreate() *cobra.Command {
	var spec admin.AgentSpec
	var tier int
	var keys []string
	var c *cobra.Command
	c = a.command("create AGENT", "Register an agent", "rutile agent create reader --owner team-docs --tool 'files/read_*'", calling(), func(ctx context.Context, args []string) error {
		spec.ID = args[0]
		if c.Flags().Changed("risk-tier") {
			spec.RiskTier = &tier
		}
		for _, file := range keys {
			b, err := readFile(file, admin.MaxKeyFile)
			if err != nil {
				return err
			}
			spec.Keys = append(spec.Keys, string(b))
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.CreateAgent(ctx, spec)
		if err != nil {
			return err
		}
		return a.printAgent(x)
	})
	f := c.Flags()
	f.StringVar(&spec.Owner, "owner", "", "`team` or person who answers for it (required)")
	f.StringVar(&spec.Purpose, "purpose", "", "what it is for")
	f.StringVar(&spec.Runtime, "runtime", "", "what it runs in, for example claude-code")
	f.StringVar(&spec.Model, "model", "", "model it uses")
	f.StringVar(&spec.Class, "class", "", "class policies may name")
	f.IntVar(&tier, "risk-tier", 1, "0 low to 3 critical")
	f.StringVar(&spec.Expires, "expires", "", "last `day`, for example 2027-06-30")
	f.StringArrayVar(&spec.Tools, "tool", nil, "`pattern` of tools it may use, for example 'files/read_*'; may be repeated")
	f.StringArrayVar(&spec.DataScopes, "data-scope", nil, "`label` it may carry; may be repeated")
	f.StringArrayVar(&keys, "key", nil, "`file` with a public key (JWK or PEM); may be repeated")
	return c
}

// readFile reads a file of a bounded size.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "reading %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, access.Errorf(access.CodeTooLarge, "%s has more than %d bytes", path, limit)
	}
	return b, nil
}

func (a *app) agentVerb(verb registry.Verb, short, example string) *cobra.Command {
	var why string
	c := a.command(string(verb)+" AGENT", short, example, calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.ChangeAgent(ctx, args[0], verb, why)
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) { fmt.Fprintf(w, "agent %s is %s\n", cell(x.ID), x.Status) })
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) agentToken() *cobra.Command {
	var spec api.TokenSpec
	var ttl time.Duration
	c := a.command("token AGENT", "Print a development token for an agent", "rutile agent token reader --server files", calling(), func(ctx context.Context, args []string) error {
		if (spec.Server == "") == (spec.A2A == "") {
			return access.Errorf(access.CodeUsage, "say what the token is for: --server SERVER, --server '*' for all, or --a2a AGENT")
		}
		if ttl%time.Second != 0 || ttl < time.Second {
			return access.Errorf(access.CodeUsage, "--ttl %s: give whole seconds, for example 5m", ttl)
		}
		spec.Seconds = int(ttl / time.Second)
		client, err := a.client()
		if err != nil {
			return err
		}
		t, err := client.Token(ctx, args[0], spec)
		if err != nil {
			return err
		}
		a.say("for %s, until %s", cell(t.Resource), when(t.Expires))
		return a.print(t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
	})
	c.Long = `Print a development token for an agent: only the token on standard output.

Issuing it is an operator's right and is recorded. Agents that run for long hold a
key instead and fetch their own tokens (OAuth 2.1 client credentials with
private_key_jwt).`
	f := c.Flags()
	f.StringVar(&spec.Server, "server", "", "`server` the token is for; '*' for the aggregate /mcp")
	f.StringVar(&spec.A2A, "a2a", "", "`agent` the token is for, instead of a server")
	f.StringVar(&spec.Subject, "subject", "", "`user` on whose behalf the agent acts")
	f.StringVar(&spec.Task, "task", "", "`task` the token is for")
	f.DurationVar(&ttl, "ttl", 5*time.Minute, "how long it lives, up to 1h")
	return c
}
