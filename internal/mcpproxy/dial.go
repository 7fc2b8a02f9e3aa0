package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

var errForbiddenAddress = errors.New("the address is not one upstreams may live at")

// Egress says where upstreams may live. The zero value allows public addresses
// only.
type Egress struct {
	Allow    []netip.Prefix // private ranges that are allowed
	Loopback bool           // loopback is allowed
	Proxy    string         // forward proxy to go through, "" for none; a server's entry may say otherwise
}

// permits judges an address after resolution, at the moment of dialling, so
// that a name cannot be rebound between check and use.
func (e Egress) permits(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range e.Allow {
		if p.Contains(a) {
			return true
		}
	}
	if a.IsLoopback() {
		return e.Loopback
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !reserved(a)
}

// reserved reports addresses that are global unicast by form and special by
// registration (IANA special-purpose registries; RFC 6890), or once were: some
// networks still translate them to IPv4 or keep them to themselves.
func reserved(a netip.Addr) bool {
	for _, s := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10"} {
		if netip.MustParsePrefix(s).Contains(a) {
			return true
		}
	}
	return false
}

// newTransport returns a transport for upstreams: no proxy from the
// environment, no decompression, enough idle connections, address checked at
// dial time. Plain HTTP is spoken by our own client, which costs about half of
// net/http's; https, and whatever goes through a forward proxy, is net/http's.
func newTransport(e Egress) *h1Transport {
	d := e.Dialer()
	return newH1Transport(&http.Transport{
		DialContext: d.DialContext, DisableCompression: true, ForceAttemptHTTP2: true,
		MaxIdleConns: 4096, MaxIdleConnsPerHost: 512, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ExpectContinueTimeout: time.Second,
		MaxResponseHeaderBytes: 64 << 10, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
		// Many calls share one HTTP/2 connection: one that is dead must not keep them.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}, d.DialContext)
}

// Dialer returns a dialer that judges each address when it is dialled.
func (e Egress) Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: 10 * time.Second, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("reading the dialled address: %w", err)
			}
			if !e.permits(ap.Addr()) {
				return fmt.Errorf("%w: add its range to egress.allow in the configuration", errForbiddenAddress)
			}
			return nil
		},
	}
}
