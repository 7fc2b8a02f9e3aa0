package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/registry"
)

func (a *app) server() *cobra.Command {
	return a.group("server", "The catalog of servers and their life", "rutile server list",
		a.serverList(), a.serverShow(), a.serverAccess(),
		a.serverTriage(), a.serverAsk(), a.serverApprove(), a.serverOwn(), a.serverTier(), a.serverDeprecate(),
		a.serverVerb(registry.VerbQuarantine, "Stop every call of a server until it is approved again", "rutile server quarantine files --reason 'odd answers'"),
		a.serverVerb(registry.VerbBlock, "Forbid a server", "rutile server block files --reason 'not ours'"),
		a.serverVerb(registry.VerbRelease, "Lift a quarantine or block; the server then waits for approval", "rutile server release files"),
		a.serverVerb(registry.VerbRetire, "End a server for good; its id is never used again", "rutile server retire files"))
}

func endpoint(t registry.Transport) string {
	switch {
	case t.HTTP != nil:
		return t.HTTP.URL
	case t.Stdio != nil:
		return command(append([]string{t.Stdio.Command}, t.Stdio.Args...))
	default:
		return ""
	}
}

// counts shows how many definitions are in which state.
func counts(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(out, ", ")
}

func (a *app) serverList() *cobra.Command {
	var count bool
	var o api.ListOptions
	c := a.command("list", "List servers", "rutile server list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Servers(ctx, o)
		if err != nil {
			return err
		}
		if count {
			return total(a, page)
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no servers; register one with: rutile apply -f FILE")
				return
			}
			t := a.table("SERVER", "STATE", "OWNER", "TOOLS", "REACHED BY")
			for _, s := range page.Items {
				t.add(s.ID, string(s.State), s.Owner, counts(s.Tools), endpoint(s.Transport))
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only servers in this `state`: discovered, triaged, sanctioned, deprecated, quarantined, blocked, retired")
	paging(c, &o)
	counting(c, &count)
	return c
}

func (a *app) printServer(s api.Server) error {
	return a.print(s, func(w io.Writer) {
		credential := ""
		if s.Credential != nil {
			credential = s.Credential.Ref
		}
		asked := ""
		if s.Asked != nil {
			asked = s.Asked.By + ", " + when(s.Asked.At)
		}
		pairs := []string{"server", s.ID, "description", s.Description, "version", s.Version, "state", string(s.State), "because", s.StateWhy, "set by", s.StateBy, "not callable", s.Why, "owner", s.Owner,
			"orphaned", s.Orphaned, "review asked for by", asked, "review by", day(s.Expires), "to be replaced by", s.Replacement, "ends", day(s.Ends),
			"reached by", endpoint(s.Transport), "credential", credential, "data scopes", strings.Join(s.DataScopes, " "), "pinning", s.Pinning, "inspection", s.Inspection, "labels", restores(s.Labels), "restores", restores(s.Restore),
			"speaks", s.Era, "tools", counts(s.Tools), "registered", when(s.Created), "changed", when(s.Changed)}
		fields(w, append(append(pairs, process(s)...), standing(s)...)...)
		for _, f := range s.Findings {
			fmt.Fprintf(w, "\n%s %s (%s) calls for %s:\n", f.Kind, cell(f.Name), f.State, f.Tier)
			writeFindings(w, f.Findings)
		}
	})
}

// process shows how the processes of a stdio server fare, what they are granted
// and what holds them.
func process(s api.Server) []string {
	p, x := s.Process, s.Transport.Stdio
	if p == nil || x == nil {
		return nil
	}
	scope := x.Process
	if scope == "" {
		scope = registry.ProcessPrincipal
	}
	state := fmt.Sprintf("%s: %d running, %d started; one for each %s", p.State, p.Running, p.Starts, scope)
	if p.Failed > 0 {
		state += fmt.Sprintf("; %d starts in a row failed", p.Failed)
	}
	if p.Crashes > 1 {
		state += fmt.Sprintf("; ended by itself, or refused its client, %d times within a minute", p.Crashes)
	}
	last := p.LastExit
	if last != "" {
		last = when(p.LastAt) + " " + last
	}
	pairs := []string{"process", state, "last exit", last, "next try", when(p.NextTry)}
	if !p.Confined {
		return append(pairs, "confined", "no: its manifest says confine: off")
	}
	var held, lacks []string
	for _, m := range p.Holds.Held {
		held = append(held, string(m))
	}
	for _, l := range p.Holds.Lacks {
		lacks = append(lacks, fmt.Sprintf("%s (%s)", l.Measure, l.Why))
	}
	return append(pairs, "granted", granted(x.Confine), "confined", strings.Join(held, ", "), "cannot confine", strings.Join(lacks, "; "))
}

// granted shows what a manifest grants besides what every program needs.
func granted(c *registry.Confine) string {
	network := "connects anywhere, listens nowhere"
	var out []string
	if c != nil {
		for _, g := range []struct {
			verb  string
			paths []string
		}{{"reads", c.Read}, {"executes", c.Exec}, {"writes", c.Write}} {
			if len(g.paths) > 0 {
				out = append(out, g.verb+" "+command(g.paths))
			}
		}
		if n := c.Network; n != nil {
			network = "connects " + portWords(n.Connect) + ", listens " + portWords(n.Listen)
		}
		if c.Sockets {
			network += ", unix sockets"
		}
	}
	return strings.Join(append(out, network), "; ")
}

func portWords(p registry.Ports) string {
	switch {
	case p.Any:
		return "anywhere"
	case len(p.List) == 0:
		return "nowhere"
	}
	words := make([]string, len(p.List))
	for i, n := range p.List {
		words[i] = strconv.Itoa(n)
	}
	return "on " + strings.Join(words, " ")
}

func (a *app) serverShow() *cobra.Command {
	return a.command("show SERVER", "Show one server", "rutile server show files", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.Server(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printServer(s)
	})
}

func (a *app) serverVerb(verb registry.Verb, short, example string) *cobra.Command {
	var why string
	c := a.command(string(verb)+" SERVER", short, example, calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s, err := client.ChangeServer(ctx, args[0], verb, why)
		if err != nil {
			return err
		}
		return a.printMoved(s)
	})
	c.Flags().StringVar(&why, "reason", "", "`why`, for the evidence")
	return c
}

// restores is which tools may be given which values for placeholders.
func restores(of map[string][]string) string {
	var out []string
	for _, pattern := range slices.Sorted(maps.Keys(of)) {
		out = append(out, pattern+": "+strings.Join(of[pattern], ", "))
	}
	return strings.Join(out, "; ")
}
