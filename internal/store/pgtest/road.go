package pgtest

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Road stands between a client and a PostgreSQL and can be blocked: connections
// stay open and new ones are accepted, but nothing travels any more. So looks a
// server that is frozen, or behind a network that drops everything.
type Road struct {
	network, far string

	mu   sync.Mutex
	open chan struct{} // closed while the road is open
}

const socketName = ".s.PGSQL.5432"

// NewRoad returns an open road to dsn and the address of its near end.
func NewRoad(tb testing.TB, dsn string) (*Road, string) {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal("the address of the server cannot be read")
	}
	q := u.Query()
	r := &Road{network: "tcp", far: u.Host, open: make(chan struct{})}
	close(r.open)
	if dir := q.Get("host"); strings.HasPrefix(dir, "/") {
		r.network, r.far = "unix", filepath.Join(dir, socketName)
	}
	dir, err := os.MkdirTemp("", "road") // short: a socket's path is bounded
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { r.carry(ctx, near) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		ln.Close()
		work.Wait()
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	u.Host = ""
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return r, u.String()
}

// Block stops everything on the road.
func (r *Road) Block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = make(chan struct{})
}

// Unblock lets it go on.
func (r *Road) Unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.open)
}

func (r *Road) passable() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// carry takes one connection to the server and back until an end closes.
func (r *Road) carry(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := net.Dial(r.network, r.far)
	if err != nil {
		return
	}
	defer far.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		ways.Go(func() {
			defer cancel()
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				select {
				case <-r.passable():
				case <-ctx.Done():
					return
				}
				if _, werr := way[1].Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
	ways.Wait()
}
