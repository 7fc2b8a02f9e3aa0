package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Bounds of the listeners. Reading a header or an idle connection is bounded;
// a body and a stream are bounded by their handlers.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 60 * time.Second
	unreadTimeout = 5 * time.Second // for a body that no handler reads: net/http reads it before it answers
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// listeners are the daemon's three doors.
type listeners struct {
	agents, operators, socket net.Listener
	ofAgents                  *conns
	servers                   []*http.Server
	done                      chan error
	n                         int
}

// listen opens the addresses before anything is served, so that a port in use
// is an error of the start.
func (d *Daemon) listen(certs *certificates) (*listeners, error) {
	cfg := d.Config
	l := &listeners{done: make(chan error, 3)}
	agents, err := listenTCP("listen.agents", cfg.Listen.Agents)
	if err != nil {
		return nil, err
	}
	l.ofAgents = bounded(agents, "agents", cfg.Limits, d.log, d.telemetry.connectionRefused)
	l.agents = l.ofAgents
	operators, err := listenTCP("listen.operators", cfg.Listen.Operators)
	if err != nil {
		l.close()
		return nil, err
	}
	l.operators = bounded(operators, "operators", cfg.Limits, d.log, d.telemetry.connectionRefused)
	if l.socket, err = listenUnix(cfg.Data); err != nil {
		l.close()
		return nil, err
	}
	if certs != nil {
		l.agents = tls.NewListener(l.agents, certs.config(true))
		l.operators = tls.NewListener(l.operators, certs.config(false))
	}
	return l, nil
}

func listenTCP(key, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "%s: cannot listen on %s: %v; stop what uses it or choose another port", key, addr, opReason(err))
	}
	return ln, nil
}

// listenUnix opens the socket, owner only. A socket left by a daemon that died
// is removed: the store's lock says that no other daemon runs here.
func listenUnix(data string) (net.Listener, error) {
	path, err := SocketPath(data)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, access.Errorf(access.CodeUnavailable, "the old socket %s cannot be removed: %v", path, pathReason(err))
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "cannot listen on %s: %v", path, opReason(err))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("protecting the socket: %w", err)
	}
	return ln, nil
}

func opReason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.agents, l.operators, l.socket} {
		if ln != nil {
			ln.Close()
		}
	}
}

// serve starts a server for ln.
func (l *listeners) serve(ln net.Listener, name string, h http.Handler, log *slog.Logger, ctx func(context.Context, net.Conn) context.Context) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ConnContext: ctx, ErrorLog: slog.NewLogLogger(log.With("listener", name).Handler(), slog.LevelDebug),
	}
	l.servers = append(l.servers, s)
	l.n++
	go func() {
		err := s.Serve(ln)
		if !errors.Is(err, http.ErrServerClosed) {
			err = fmt.Errorf("serving %s: %w", name, err)
		} else {
			err = nil
		}
		l.done <- err
	}()
}

// shutdown lets requests in flight finish until ctx ends and then cuts them.
func (l *listeners) shutdown(ctx context.Context) {
	for _, s := range l.servers {
		if err := s.Shutdown(ctx); err != nil {
			s.Close()
		}
	}
}

// unreadBody bounds how long a client may take to send a body that no handler
// reads.
func unreadBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadTimeout))
		}
		h.ServeHTTP(w, r)
	})
}

// slowBody bounds how long a client may take to send its body, whether it is
// read or not.
func slowBody(h http.Handler) http.Handler {
	return unreadBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			r.Body = &timed{ReadCloser: r.Body, rc: http.NewResponseController(w)}
		}
		h.ServeHTTP(w, r)
	}))
}

// address is the base URL of a listener as clients on this machine reach it.
func address(ln net.Listener, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// hostsOf are the Host headers a listener answers to.
func hostsOf(ln net.Listener, configured string, public string) []string {
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	add := map[string]bool{net.JoinHostPort(host, port): true}
	if h, _, err := net.SplitHostPort(configured); err == nil && h != "" {
		add[net.JoinHostPort(h, port)] = true
	}
	if loopback(ln.Addr().String()) || net.ParseIP(host).IsUnspecified() {
		for _, h := range []string{"127.0.0.1", "localhost", "::1"} {
			add[net.JoinHostPort(h, port)] = true
		}
	}
	if _, rest, ok := strings.Cut(public, "://"); ok {
		h, _, _ := strings.Cut(rest, "/")
		add[h] = true
	}
	out := make([]string, 0, len(add))
	for h := range add {
		out = append(out, h)
	}
	return out
}

// ownHosts refuses other Host headers on a loopback listener: a page in a
// browser of this machine reaches it under a name of its own (DNS rebinding).
// What listens on a network is open to it by will.
func (d *Daemon) ownHosts(ln net.Listener, configured, public string, h http.Handler) http.Handler {
	if !loopback(ln.Addr().String()) {
		return h
	}
	hosts := hostsOf(ln, configured, public)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(hosts, r.Host) {
			http.Error(w, "this host name is not served here", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// timed gives a body that is read the time for it, and lifts the deadline once
// it is read to its end, so that it does not end a long answer on the same
// connection. After any other error it stays: the rest will not come.
type timed struct {
	io.ReadCloser
	rc    *http.ResponseController
	begun bool
}

func (t *timed) Read(b []byte) (int, error) {
	if !t.begun {
		t.begun = true
		_ = t.rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	n, err := t.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		_ = t.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
