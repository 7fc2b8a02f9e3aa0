package process

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/discovery"
)

// Source tells of the servers that run on this machine.
type Source struct {
	Scanner  Scanner
	Describe *discovery.Describer
	// Ports are those where servers usually listen: what listens there and is not
	// known is counted, so that it can be probed.
	Ports []uint16
}

// Name is "process".
func (Source) Name() string { return "process" }

// Discover reads the processes once. What is told of a command line is what the
// describer leaves of it.
func (s Source) Discover(ctx context.Context, into *discovery.Sink) error {
	t, servers, err := s.Scanner.Scan(ctx)
	if err != nil {
		return err
	}
	known := map[netip.AddrPort]bool{}
	for i := range servers {
		for _, l := range servers[i].Listens {
			known[l] = true
		}
		s.tell(&servers[i], into)
	}
	into.Looked(discovery.Coverage{Place: "processes", Outcome: discovery.Read, Why: fmt.Sprintf("%d processes", len(t.Procs)), Entries: len(servers)})
	if t.Hidden > 0 {
		into.Looked(discovery.Coverage{Place: "processes of others", Outcome: discovery.Denied, Why: fmt.Sprintf("%d processes show nothing to this user", t.Hidden)})
	}
	if t.Blind != "" {
		into.Looked(discovery.Coverage{Place: "sockets", Outcome: discovery.Denied, Why: t.Blind})
		return nil
	}
	into.Looked(s.sockets(t, known))
	return nil
}

// sockets is what is left to say of what listens: a usual port alone is too
// little to call something a server.
func (s Source) sockets(t *Table, known map[netip.AddrPort]bool) discovery.Coverage {
	var unknown []string
	for _, l := range t.Sockets {
		if at := l.Address.String(); slices.Contains(s.Ports, l.Address.Port()) && !known[l.Address] && !slices.Contains(s.Describe.Gateways, at) {
			unknown = append(unknown, at)
		}
	}
	c := discovery.Coverage{Place: "sockets", Outcome: discovery.Read, Why: fmt.Sprintf("%d listen", len(t.Sockets))}
	if n := len(unknown); n > 0 {
		c.Why += fmt.Sprintf("; %d on ports where servers usually are and no server is known: %s; probe them to know", n, strings.Join(unknown[:min(n, 5)], ", "))
	}
	return c
}

// tell tells of one server.
func (s Source) tell(srv *Server, into *discovery.Sink) {
	command, args := srv.Proc.Command()
	d := s.Describe.Describe(discovery.Spec{Command: command, Args: args, Dir: srv.Proc.Dir})
	one := discovery.Sighting{
		Fact: discovery.Running, Strength: srv.Strength, Place: discovery.Place{PID: srv.Proc.PID}, Target: d.Target, Secrets: d.Secrets, Scopes: d.Scopes, Why: srv.Why,
	}
	by := "a process"
	switch srv.Client {
	case "":
	case Gateway:
		one.Routed, by = true, "a process of the gateway"
	default:
		one.Clients, by = []string{srv.Client}, "a process of "+srv.Client
	}
	for _, l := range srv.Listens {
		one.Why = append(one.Why, "it listens on "+l.String())
		if !srv.Joined {
			one.Target.Transport, one.Place.Address = "http", l.String()
		}
	}
	into.Saw(one)
	var names []string
	for _, ref := range d.Secrets {
		if ref.Kind == discovery.SecretLiteral {
			names = append(names, strings.TrimSpace(ref.Name+" "+ref.Shape))
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	f := discovery.NewFinding(discovery.SecretInArgv, discovery.High, d.Target.Key, discovery.Place{Path: by},
		"its command line holds a secret, and everybody on this machine can read that", "give it in the environment or a file, and replace the one that was shown")
	f.Evidence = append(slices.Compact(names), "pid "+strconv.Itoa(srv.Proc.PID))
	into.Find(f)
}
