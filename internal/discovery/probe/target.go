package probe

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
)

// target is what a person named.
type target struct {
	text   string
	host   string       // a name that is resolved, "" for a network
	net    netip.Prefix // a network, or an address as one
	scheme string       // "" if both are tried
	port   uint16       // 0 for the usual ones
	path   string       // "" for the usual ones
}

// parseTargets reads the words of the targets and refuses, before anything is
// sent, what the guard rails refuse by its words.
func parseTargets(words []string, g *guard, authorized bool) ([]target, error) {
	if len(words) == 0 {
		return nil, errTarget("name what to probe: a URL, a host, or a network as a CIDR")
	}
	var out []target
	var addresses uint64
	for _, w := range words {
		t, err := parseTarget(w)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(g.ownHosts, func(own string) bool { return strings.EqualFold(own, t.host) }) {
			return nil, errTarget("%s is not probed: %s", t.text, whyOwn)
		}
		if t.net.IsValid() {
			if why := g.refusesNet(t.net); why != "" {
				return nil, errTarget("%s is not probed: %s", t.text, why)
			}
			if why := g.refuses(t.net.Addr(), t.port); why != "" && t.net.IsSingleIP() {
				return nil, errTarget("%s is not probed: %s", t.text, why)
			}
			addresses += size(t.net)
		}
		out = append(out, t)
		if addresses > maxEver {
			return nil, errTarget("that is more than %d addresses: probe smaller networks", maxEver)
		}
	}
	if addresses > maxAddresses && !authorized {
		return nil, errTarget("that is %d addresses, more than the %d of a /20: probe smaller networks, or say --i-am-authorized", addresses, maxAddresses)
	}
	return out, nil
}

func parseTarget(w string) (target, error) {
	t := target{text: w}
	if strings.Contains(w, "://") {
		return parseURL(w)
	}
	if p, err := parsePrefix(strings.Trim(w, "[]")); err == nil {
		t.net = p
		return t, nil
	}
	host := w
	if h, port, err := net.SplitHostPort(w); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, errTarget("%s: the port is not a number from 1 to 65535", w)
		}
		host, t.port = h, uint16(n)
	}
	return t.at(host)
}

// at sets where a target is: an address or a name.
func (t target) at(host string) (target, error) {
	if p, err := parsePrefix(host); err == nil && (t.scheme == "" || !strings.Contains(host, "/")) {
		t.net = p
		return t, nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' || strings.ContainsAny(host, "/:@%?#[]\\ ") {
		// A host that ends in a number is an address in a spelling of its own (WHATWG URL, 3.5).
		return t, errTarget("a target is not a URL, a host, a host:port, an address or a CIDR: write for instance 10.1.2.0/24 or https://mcp.example.com/mcp")
	}
	t.host = host
	return t, nil
}

func parseURL(w string) (target, error) {
	u, err := url.Parse(w)
	if err != nil {
		return target{}, errTarget("a target is no URL: write for instance https://mcp.example.com/mcp")
	}
	// Nothing of user, query or fragment is repeated: a secret may be in it.
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return target{}, errTarget("a target at %s has a user, a query or a fragment: leave them out, no credential is ever sent", u.Hostname())
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return target{}, errTarget("a target at %s is neither http nor https", u.Hostname())
	}
	t := target{text: u.Scheme + "://" + u.Host + u.EscapedPath(), scheme: u.Scheme, port: 80}
	if u.Scheme == "https" {
		t.port = 443
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return target{}, errTarget("%s: the port is not a number from 1 to 65535", t.text)
		}
		t.port = uint16(n)
	}
	if p := u.EscapedPath(); p != "" && p != "/" {
		t.path = p
	}
	return t.at(u.Hostname())
}

// size is the number of addresses of a network, at most one more than maxEver.
func size(p netip.Prefix) uint64 {
	host := p.Addr().BitLen() - p.Bits()
	if host > 24 {
		return maxEver + 1
	}
	return 1 << host
}

// group is a target with its addresses, ports and paths; its places are
// numbered addresses × ports.
type group struct {
	target
	addrs []netip.Addr // of a name
	ports []uint16
	paths []string
	first uint64 // number of its first place
	n     uint64
}

// place is one port of one address, asked for one group.
type place struct {
	addr   netip.AddrPort
	host   string // as in the URL, "" for the address
	scheme string
	paths  []string
	why    string // it is refused, "" if not
}

func (p place) String() string {
	if p.host != "" {
		return net.JoinHostPort(p.host, strconv.Itoa(int(p.addr.Port()))) + " (" + p.addr.Addr().String() + ")"
	}
	return p.addr.String()
}

// plan resolves names and numbers the places. A name that does not resolve is
// reported and hides nothing else.
func (r *runner) plan(ctx context.Context, targets []target) error {
	usual := Ports()
	for _, p := range r.cfg.Ports {
		if !slices.Contains(usual, p) {
			usual = append(usual, p)
		}
	}
	var total uint64
	for _, t := range targets {
		g := group{target: t, ports: usual, paths: Paths(), first: total}
		if t.port != 0 {
			g.ports = []uint16{t.port}
		}
		if t.path != "" {
			g.paths = []string{t.path}
		}
		var count uint64
		if t.host != "" {
			addrs, err := r.resolve(ctx, t.host)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil || len(addrs) == 0 {
				r.report.Unresolved = append(r.report.Unresolved, Refusal{What: t.text, Why: "the name is not known"})
				continue
			}
			g.addrs, count = addrs, uint64(len(addrs))
		} else {
			count = size(t.net)
		}
		g.n = count * uint64(len(g.ports))
		total += g.n
		r.groups = append(r.groups, g)
	}
	r.report.Places = int(total)
	return nil
}

func (r *runner) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	look := r.cfg.Resolve
	if look == nil {
		look = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	addrs, err := look(ctx, host)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "resolving %s: %w", host, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	return addrs[:min(len(addrs), 16)], nil
}

// place returns the place of a number. ok is false for one that an earlier
// network already covers.
func (r *runner) place(n uint64) (p place, ok bool) {
	i, _ := slices.BinarySearchFunc(r.groups, n, func(g group, n uint64) int {
		switch {
		case n < g.first:
			return 1
		case n >= g.first+g.n:
			return -1
		default:
			return 0
		}
	})
	g := r.groups[i]
	n -= g.first
	port := g.ports[n%uint64(len(g.ports))]
	n /= uint64(len(g.ports))
	p = place{host: g.host, scheme: g.scheme, paths: g.paths}
	if g.host != "" {
		p.addr = netip.AddrPortFrom(g.addrs[n], port)
		return p, true
	}
	p.addr = netip.AddrPortFrom(plus(g.net.Addr(), n), port)
	if edge(g.net, p.addr.Addr()) {
		p.why = "it is the network's own or its broadcast address"
	}
	for _, e := range r.groups[:i] {
		if e.host == "" && e.path == g.path && e.scheme == g.scheme && e.net.Contains(p.addr.Addr()) && !edge(e.net, p.addr.Addr()) && slices.Contains(e.ports, port) {
			return p, false
		}
	}
	return p, true
}

// edge reports whether a is the address of an IPv4 network itself or the one
// that reaches all of it.
func edge(p netip.Prefix, a netip.Addr) bool {
	last, ok := lastOf(p)
	return ok && p.Bits() < 31 && (a == last || a == p.Addr())
}

// plus returns the n-th address after a.
func plus(a netip.Addr, n uint64) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += uint64(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}
