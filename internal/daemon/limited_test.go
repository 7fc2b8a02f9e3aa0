package daemon

// This test is inside the package: twenty thousand connections are too many to
// open from outside.

import (
	"net"
	"testing"
	"time"
)

// A listener serves so many connections at once; the next waits until one has
// ended, however often that one is closed.
func TestConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: ln, slots: make(chan struct{}, 2)}
	accepted := make(chan net.Conn)
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
	for range 4 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	second := <-accepted
	select {
	case <-accepted:
		t.Fatal("a third of two is served")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // gives back one place, not two
	third := <-accepted
	select {
	case <-accepted:
		t.Fatal("a connection closed twice made room for two")
	case <-time.After(50 * time.Millisecond):
	}
	second.Close()
	third.Close()
	(<-accepted).Close()
	ln.Close()
	for range accepted {
		t.Error("a closed listener accepts")
	}
}
