package daemon

// This test is inside the package: twenty thousand connections, or addresses of
// other hosts, are not to be had from outside.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// inbox is a listener without a network.
type inbox chan net.Conn

func (l inbox) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l inbox) Close() error   { close(l); return nil }
func (l inbox) Addr() net.Addr { return &net.TCPAddr{} }

// caller is a connection from an address.
type caller struct {
	net.Conn
	from net.Addr
}

func (c caller) RemoteAddr() net.Addr { return c.from }

func tcpFrom(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1234))
}

// A listener has so many connections open in all and so many from one address.
// One over is closed at once and counted, whoever else waits is served, and one
// that ends makes room for one.
func TestConnectionsAreBounded(t *testing.T) {
	in := make(inbox)
	var mu sync.Mutex
	refused := map[string]int{}
	l := bounded(in, "agents", Limits{Connections: 4, ConnectionsPerAddress: 2}, slog.New(slog.NewTextHandler(io.Discard, nil)), func(listener, bound string) {
		mu.Lock()
		defer mu.Unlock()
		refused[listener+" "+bound]++
	})
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	served := func(from net.Addr) net.Conn {
		t.Helper()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		in <- caller{ours, from}
		select {
		case c := <-accepted:
			return c
		case <-time.After(5 * time.Second):
			t.Fatalf("one from %s is not served", from)
		}
		return nil
	}
	over := func(from net.Addr) {
		t.Helper()
		ours, theirs := net.Pipe()
		in <- caller{ours, from}
		_ = theirs.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := theirs.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one over from %s stays open", from)
		}
	}
	first := served(tcpFrom("192.0.2.1"))
	served(tcpFrom("::ffff:192.0.2.1")) // the same, as a listener of both families says it
	over(tcpFrom("192.0.2.1"))
	served(tcpFrom("2001:db8::1"))
	served(tcpFrom("2001:db8::ffff:2"))
	over(tcpFrom("2001:db8::3"))   // the same /64
	over(tcpFrom("2001:db8:1::1")) // another; there are four
	first.Close()
	first.Close() // gives back one place, not two
	local := served(&net.UnixAddr{Name: "@"})
	over(&net.UnixAddr{})
	over(tcpFrom("127.0.0.1"))
	local.Close()
	served(tcpFrom("127.0.0.1"))
	in.Close()
	for range accepted {
		t.Error("a closed listener accepts")
	}
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(refused); got != "map[agents connections:3 agents connectionsPerAddress:2]" {
		t.Errorf("counted %s", got)
	}
	if n := l.count(); n != 4 || len(l.of) != 3 {
		t.Errorf("%d are open, of %d addresses", n, len(l.of))
	}
}

// The log tells of an address once a second, and of a few addresses, however many
// connections are refused; what is kept for that does not grow.
func TestRefusedConnectionsAreLoggedRarely(t *testing.T) {
	l := bounded(nil, "agents", Limits{}, nil, nil)
	now := time.Unix(1_000_000, 0)
	told := 0
	for second := range 3 {
		for i := range 100_000 {
			from := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
			if l.tell(from, now.Add(time.Duration(second)*time.Second)) {
				told++
			}
		}
	}
	if told != 3*maxSaid || len(l.said) > maxSaid {
		t.Errorf("%d lines for three seconds, %d kept", told, len(l.said))
	}
	one := netip.MustParsePrefix("192.0.2.1/32")
	l = bounded(nil, "agents", Limits{}, nil, nil)
	told = 0
	for ms := range 2500 {
		if l.tell(one, now.Add(time.Duration(ms)*time.Millisecond)) {
			told++
		}
	}
	if told != 3 {
		t.Errorf("%d lines for one address in two and a half seconds", told)
	}
}
