package mcpproxy

import (
	"slices"

	"rutile/internal/confine"
	"rutile/internal/registry"
)

// usualLimits are the bounds of a process whose manifest names none. They are
// for an accident or an attack, not for the size of the work.
func usualLimits() confine.Limits {
	return confine.Limits{Processes: 512, Files: 4096, Memory: 4 << 30, FileSize: 1 << 30}
}

// profileOf makes the profile of a server's process, nil if its manifest says
// that it is not to be confined. home is its own directory, "" if it has none
// but the private one; private is what no grant may open.
func profileOf(s *registry.Stdio, home string, private []string) *confine.Profile {
	c := s.Confine
	if c == nil {
		c = &registry.Confine{BestEffort: true}
	}
	if c.Off {
		return nil
	}
	p := &confine.Profile{
		Private: private, Sockets: c.Sockets, Limits: limitsOf(c.Limits),
		// What listens is reached by anybody on the machine: a server that needs
		// it says so.
		Connect: confine.Ports{Any: true},
	}
	for _, g := range []struct {
		paths []string
		as    confine.Access
	}{{c.Read, confine.Read}, {c.Exec, confine.Exec}, {c.Write, confine.Write}} {
		for _, path := range g.paths {
			p.Grants = append(p.Grants, confine.Grant{Path: path, Access: g.as})
		}
	}
	if home != "" {
		p.Grants = append(p.Grants, confine.Grant{Path: home, Access: confine.Own})
	}
	if n := c.Network; n != nil {
		p.Connect, p.Listen = portsOf(n.Connect), portsOf(n.Listen)
	}
	if !c.BestEffort {
		p.Demand = demanded(c)
	}
	return p
}

func portsOf(p registry.Ports) confine.Ports {
	return confine.Ports{Any: p.Any, List: slices.Clone(p.List)}
}

func limitsOf(l *registry.Limits) confine.Limits {
	out := usualLimits()
	if l == nil {
		return out
	}
	set(&out.Processes, l.Processes)
	set(&out.Files, l.Files)
	set(&out.Memory, l.Memory)
	set(&out.FileSize, l.FileSize)
	return out
}

// set takes over a limit that is named.
func set[N int | int64](to *N, limit N) {
	switch {
	case limit == registry.Unlimited:
		*to = 0
	case limit > 0:
		*to = limit
	}
}

// demanded lists what must hold because the manifest names it. A manifest that
// says anything about confinement wants the files confined, and the gateway's
// own socket is a file that only another measure guards.
func demanded(c *registry.Confine) []confine.Measure {
	out := []confine.Measure{confine.Files, confine.Truncate}
	if !c.Sockets {
		out = append(out, confine.Sockets)
	}
	if c.Network != nil {
		out = append(out, confine.Connect, confine.Listen)
	}
	if l := c.Limits; l != nil {
		for _, m := range []struct {
			measure confine.Measure
			named   bool
		}{
			{confine.Processes, l.Processes > 0}, {confine.OpenFiles, l.Files > 0}, {confine.Memory, l.Memory > 0}, {confine.FileSize, l.FileSize > 0},
		} {
			if m.named {
				out = append(out, m.measure)
			}
		}
	}
	return out
}
