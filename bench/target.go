package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// reference is the target others are compared with.
const reference = "rp"

// target is something that stands in front of the upstream.
type target struct {
	name  string
	at    func(server string) string                               // its address for a server of the upstream
	pid   int                                                      // 0 where there is nothing in between
	token func(ctx context.Context, server string) (string, error) // nil where none is needed; then it decides nothing
	api   func(ctx context.Context, path string, in any) error     // of administration; nil where there is none
	note  string                                                   // what was on
	idle  int                                                      // KiB resident before any load
}

// process is a child that serves until its input closes.
type process struct {
	cmd   *exec.Cmd
	alive io.Closer
	out   *bufio.Reader
}

func start(argv ...string) (*process, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReader(out)}, nil
}

func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s did not say where it serves: %w", filepath.Base(p.cmd.Path), err)
	}
	return strings.TrimSpace(line), nil
}

func (p *process) stop() {
	_ = p.alive.Close()
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, p.out); _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
}

var errNotHere = errors.New("not installed")

// startTarget starts one target in front of the upstream; dir is its own.
func startTarget(ctx context.Context, name string, cfg config, upstreamURL, dir string) (target, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return target{}, nil, err
	}
	t := target{name: name}
	switch name {
	case "direct":
		t.at, t.note = under(upstreamURL), "no proxy"
		return t, func() {}, nil
	case "rp", "sdk":
		p, err := start(self, name, upstreamURL)
		if err != nil {
			return t, nil, err
		}
		t.pid = p.cmd.Process.Pid
		t.note = map[string]string{"rp": "httputil.ReverseProxy, forwarding only", "sdk": "SDK server and client, forwarding only"}[name]
		u, err := p.line()
		t.at = under(u)
		return t, p.stop, err
	case "nginx":
		return startNginx(t, upstreamURL, dir)
	case "rutile":
		return startRutile(ctx, t, cfg, cfg.rutile, upstreamURL, dir)
	}
	if bin, ok := strings.CutPrefix(name, "rutile="); ok { // another build, to compare
		return startRutile(ctx, t, cfg, bin, upstreamURL, dir)
	}
	return t, nil, fmt.Errorf("-targets: %q is none", name)
}

func startNginx(t target, upstreamURL, dir string) (target, func(), error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		return t, nil, errNotHere
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return t, nil, err
	}
	addr := l.Addr().String()
	_ = l.Close() // nginx takes it next
	conf := filepath.Join(dir, "nginx.conf")
	text := `daemon off; worker_processes 2; pid ` + dir + `/pid; error_log ` + dir + `/error.log;
events { worker_connections 2048; }
http {
  access_log off; client_body_temp_path ` + dir + `/b; proxy_temp_path ` + dir + `/p; fastcgi_temp_path ` + dir + `/f; uwsgi_temp_path ` + dir + `/u; scgi_temp_path ` + dir + `/s;
  keepalive_requests 100000000;
  upstream up { server ` + strings.TrimPrefix(upstreamURL, "http://") + `; keepalive 256; keepalive_requests 100000000; }
  server { listen ` + addr + `; location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return t, nil, err
	}
	p, err := start(bin, "-p", dir, "-c", conf)
	if err != nil {
		return t, nil, err
	}
	t.pid, t.at, t.note = p.cmd.Process.Pid, under("http://"+addr), "nginx, 2 workers, forwarding only"
	return t, p.stop, answers(addr)
}

// under is the address of a forwarder, which keeps the path.
func under(base string) func(string) string {
	return func(server string) string { return base + "/" + server }
}

// answers waits until an address accepts connections.
func answers(addr string) error {
	var err error
	for range 200 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
