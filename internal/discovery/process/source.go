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
	known, told := map[netip.AddrPort]bool{}, map[string]*discovery.Sighting{}
	var order []*discovery.Sighting
	for i := range servers {
		for _, l := range servers[i].Listens {
			known[l] = true
		}
		one := s.sighting(&servers[i])
		// Several processes of one server of one client are one sighting.
		id := strings.Join(append([]string{one.Place.Path, one.Place.Address, one.Target.Key}, one.Target.Args...), "\x00")
		if had := told[id]; had != nil {
			had.Why = append(had.Why, "it runs as process "+strconv.Itoa(one.Place.PID)+" too")
			continue
		}
		told[id] = &one
		order = append(order, &one)
	}
	for _, one := range order {
		into.Saw(*one)
		for _, f := range discovery.Judge(one) {
			into.Find(f)
		}
	}
	into.Looked(discovery.Coverage{Place: "processes", Outcome: discovery.Read, Why: fmt.Sprintf("%d processes", len(t.Procs)), Entries: len(servers)})
	if t.Hidden > 0 {
		into.Looked(discovery.Coverage{Place: "processes of others", Outcome: discovery.Denied, Why: fmt.Sprintf("%d processes show nothing to this user", t.Hidden)})
	}
	if t.Closed > 0 {
		into.Looked(discovery.Coverage{Place: "connections of others", Outcome: discovery.Denied, Why: fmt.Sprintf("what %d processes are connected to is not visible to this user", t.Closed)})
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

// sighting is one server, of whose command line only what the describer leaves is
// kept.
func (s Source) sighting(srv *Server) discovery.Sighting {
	command, args := srv.Proc.Command()
	d := s.Describe.Describe(discovery.Spec{Command: command, Args: args, Dir: srv.Proc.Dir})
	one := discovery.Sighting{
		Fact: discovery.Running, Strength: srv.Strength, Place: discovery.Place{Path: "a process", PID: srv.Proc.PID}, Target: d.Target, Secrets: d.Secrets, Scopes: d.Scopes, Why: srv.Why,
	}
	switch srv.Client {
	case "":
	case Gateway:
		one.Routed, one.Place.Path = true, "a process of the gateway"
	default:
		one.Clients, one.Place.Path = []string{srv.Client}, "a process of "+srv.Client
	}
	for _, l := range srv.Listens {
		one.Why = append(one.Why, "it listens on "+l.String())
		if !srv.Joined {
			one.Target.Transport, one.Place.Address = "http", l.String()
		}
	}
	return one
}
