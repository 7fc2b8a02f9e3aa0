package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"rutile/internal/access"
)

// guard says which addresses are never connected to. It is asked about the
// words of a target, about what a name resolves to, and again by the dialler
// about the address it connects to.
type guard struct {
	allow     []netip.Prefix
	own       []netip.AddrPort
	ownHosts  []string
	here      map[netip.Addr]bool // addresses of this machine
	broadcast map[netip.Addr]bool // of its networks
}

func newGuard(cfg Config) (*guard, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of this machine: %w", err)
	}
	g := &guard{allow: cfg.Allow, own: cfg.Own, ownHosts: cfg.OwnHosts, here: map[netip.Addr]bool{}, broadcast: map[netip.Addr]bool{}}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue // a point-to-point address has no network
		}
		g.here[p.Addr().Unmap()] = true
		if last, ok := lastOf(p); ok && p.Addr().Is4() && p.Bits() < 31 {
			g.broadcast[last] = true
		}
	}
	return g, nil
}

// metadata are addresses where clouds keep credentials of the machine that
// asks: AWS, Google, Azure, DigitalOcean and others; Amazon ECS; Alibaba; Azure's
// wire server; Oracle; and the IPv6 forms of AWS and Google. All of 169.254/16
// is refused besides.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
}

// carriers are IPv6 networks whose addresses carry an IPv4 address to where our
// rules would not see it (RFC 4291, 6052, 8215, 3056, 4380).
var carriers = []netip.Prefix{
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// whyOwn is the refusal that is about one port.
const whyOwn = "it is our own gateway"

// refuses returns why an address is never probed at a port, "" if it may be.
// Port 0 stands for any.
func (g *guard) refuses(a netip.Addr, port uint16) string {
	if why := g.never(a); why != "" {
		return why
	}
	a = a.Unmap()
	if port != 0 && g.isOwn(a, port) {
		return whyOwn
	}
	if a.IsLoopback() || a.IsPrivate() {
		return ""
	}
	for _, p := range g.allow {
		if p.Contains(a) {
			return ""
		}
	}
	return "it is a public address: name its network in a file and give that with --probe-allow"
}

// never returns why nothing can allow an address.
func (g *guard) never(a netip.Addr) string {
	if !a.IsValid() {
		return "it is no address"
	}
	if a.Zone() != "" {
		return "it is a link-local address"
	}
	a = a.Unmap()
	for _, m := range metadata {
		if a == m {
			return "it is a cloud metadata address"
		}
	}
	if a.IsLoopback() {
		if g.broadcast[a] {
			return "it is a broadcast address"
		}
		return ""
	}
	for _, p := range carriers {
		if p.Contains(a) {
			return "it carries an IPv4 address in an IPv6 one"
		}
	}
	switch {
	case a.IsLinkLocalUnicast():
		return "it is a link-local address, where cloud metadata lives"
	case a.IsMulticast():
		return "it is a multicast address"
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "it is the address of no machine"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || g.broadcast[a]:
		return "it is a broadcast address"
	}
	return ""
}

func (g *guard) isOwn(a netip.Addr, port uint16) bool {
	for _, o := range g.own {
		if o.Port() != port {
			continue
		}
		at := o.Addr().Unmap()
		if at == a || at.IsUnspecified() && (a.IsLoopback() || g.here[a]) {
			return true
		}
	}
	return false
}

// refusesNet returns why a network cannot be asked for as a whole.
func (g *guard) refusesNet(p netip.Prefix) string {
	if why := g.never(p.Addr()); why != "" && p.IsSingleIP() {
		return why
	}
	for _, bad := range []string{"169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8"} {
		if n := netip.MustParsePrefix(bad); n.Contains(p.Addr()) && p.Bits() >= n.Bits() {
			return "it is a link-local or multicast network"
		}
	}
	if p.IsSingleIP() {
		return "" // judged as an address
	}
	for _, open := range append([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7")}, g.allow...) {
		if open.Contains(p.Addr()) && p.Bits() >= open.Bits() {
			return ""
		}
	}
	return "it is public, or not within one private network: name it in a file and give that with --probe-allow"
}

// lastOf returns the last address of an IPv4 network.
func lastOf(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() {
		return netip.Addr{}, false
	}
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b), true
}

// ReadAllow reads networks that may be probed although they are public: one
// CIDR or address a line, "#" begins a comment. An error names the line.
func ReadAllow(r io.Reader) ([]netip.Prefix, error) {
	var out []netip.Prefix
	s := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for n := 1; s.Scan(); n++ {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := parsePrefix(line)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "line %d is no network: write one CIDR or address a line", n)
		}
		out = append(out, p)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading the networks that may be probed: %w", err)
	}
	return out, nil
}

// parsePrefix reads a CIDR or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, err
		}
		if p.Addr().Is4In6() {
			return p, errors.New("an IPv4 network in IPv6 form")
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("no address")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}
