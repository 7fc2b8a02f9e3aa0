package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/discovery"
)

// registryTime bounds how long the gateway is asked what is registered.
const registryTime = 5 * time.Second

// registered is what the gateway has, described as found servers are. No gateway
// is no error: the report says so.
func (a *app) registered(ctx context.Context, describe *discovery.Describer) discovery.Registry {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	client, err := a.client()
	if err != nil {
		return discovery.Registry{Says: "no registry: " + err.Error()}
	}
	status, err := client.Status(ctx)
	if err != nil {
		if access.CodeOf(err) == access.CodeUnavailable {
			return discovery.Registry{Says: "no registry: no gateway answers"}
		}
		return discovery.Registry{Says: "no registry: " + err.Error()}
	}
	if u, err := url.Parse(status.Agents); err == nil {
		describe.Gateways = append(describe.Gateways, u.Host)
	}
	reg := discovery.Registry{Known: true}
	for cursor := ""; ; {
		page, err := client.Servers(ctx, api.ListOptions{Limit: 1000, Cursor: cursor})
		if err != nil {
			return discovery.Registry{Says: "no registry: " + err.Error()}
		}
		for _, s := range page.Items {
			reg.Servers = append(reg.Servers, registeredServer(describe, s))
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	reg.Says = fmt.Sprintf("compared with the registry of the gateway; servers in it: %d", len(reg.Servers))
	return reg
}

func registeredServer(describe *discovery.Describer, s api.Server) discovery.Registered {
	var spec discovery.Spec
	switch {
	case s.Transport.HTTP != nil:
		spec.URL = s.Transport.HTTP.URL
	case s.Transport.Stdio != nil:
		spec.Command, spec.Args = s.Transport.Stdio.Command, s.Transport.Stdio.Args
	}
	target := describe.Describe(spec).Target
	return discovery.Registered{ID: s.ID, State: string(s.State), Key: target.Key, Target: target}
}

// found shows a report.
func (a *app) found(w io.Writer, r *discovery.Report) {
	if len(r.Servers) > 0 {
		t := a.table("STATUS", "SERVER", "WHAT", "WHERE", "SEEN", "WORST", "WHY")
		for i := range r.Servers {
			s := &r.Servers[i]
			where, why := places(s), strings.Join(s.Why, "; ")
			t.add(string(s.Status), strings.Join(s.Names, ", "), what(s), where, itoa(len(s.Sightings())), string(s.Worst), why)
		}
		t.write(w)
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w)
		t := a.table("SEVERITY", "FINDING", "PLACE", "WHY")
		for _, f := range r.Findings {
			why := f.Why
			if len(f.Evidence) > 0 && f.Rule != discovery.ShadowServer {
				why += ": " + strings.Join(f.Evidence, ", ")
			}
			place := f.Place.String()
			if f.Place.Pointer != "" {
				place += " " + f.Place.Pointer
			}
			t.add(string(f.Severity), string(f.Rule), place, why)
		}
		t.write(w)
		a.nextSteps(w, r)
	}
	a.identified(w, r)
	a.coverage(w, r)
}

// nextSteps are what resolves the findings, each once.
func (a *app) nextSteps(w io.Writer, r *discovery.Report) {
	said := map[string]bool{}
	fmt.Fprintln(w, "\nnext:")
	for _, f := range r.Findings {
		line := string(f.Rule) + ": " + f.Next
		if f.Next != "" && !said[line] {
			said[line] = true
			fmt.Fprintln(w, "  "+cell(line))
		}
	}
}

// coverage says where was looked. Places that are not there are counted only.
func (a *app) coverage(w io.Writer, r *discovery.Report) {
	fmt.Fprintln(w)
	for _, c := range r.Coverage {
		switch {
		case c.Outcome == discovery.Absent && !a.verbose, c.Outcome == discovery.Read && !a.verbose:
		default:
			fmt.Fprintf(w, "%s: %s%s\n", c.Outcome, cell(c.Place), cell(prefixed(": ", c.Why)))
		}
	}
	var counts []string
	for _, o := range []discovery.Outcome{discovery.Read, discovery.Absent, discovery.Denied, discovery.Unreadable, discovery.Skipped, discovery.Cut, discovery.Failed} {
		if n := r.Counts[o]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, o))
		}
	}
	fmt.Fprintf(w, "servers: %d, findings: %d; places: %s\n", len(r.Servers), len(r.Findings), strings.Join(counts, ", "))
	fmt.Fprintln(w, cell(r.Registry))
	if r.Dropped > 0 {
		fmt.Fprintf(w, "%d more sightings and findings are not shown: over the bound of one run\n", r.Dropped)
	}
	if r.Interrupted {
		fmt.Fprintln(w, "interrupted: this is what was found until then")
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// what is a server in a few words.
func what(s *discovery.Server) string {
	t := s.Variants[0].Target
	switch {
	case t.Package != "" && t.Version != "":
		return t.Package + " " + t.Version
	case t.Package != "":
		return t.Package
	case t.URL != "":
		return t.URL
	case t.Command != "":
		return t.Command
	default:
		return s.Key
	}
}

// places are the clients a server was seen at, or the sources that saw it.
func places(s *discovery.Server) string {
	var out []string
	said := map[string]bool{}
	for _, one := range s.Sightings() {
		names := one.Clients
		if len(names) == 0 {
			names = []string{one.Source}
		}
		for _, n := range names {
			if !said[n] {
				said[n] = true
				out = append(out, n)
			}
		}
	}
	if len(out) > 3 {
		return strings.Join(out[:3], ", ") + fmt.Sprintf(" and %d more", len(out)-3)
	}
	return strings.Join(out, ", ")
}
