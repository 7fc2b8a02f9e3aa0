package gatetest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/daemon"
	"rutile/internal/gatetest"
)

// shimRig is a daemon and the built program in front of it, as a desktop client
// starts it.
type shimRig struct {
	*rig
	bin   string
	state string
}

// newShimRig enrolls agent "bot" and applies manifests.
func newShimRig(t *testing.T, bin, manifests string, learn ...string) *shimRig {
	t.Helper()
	s := &shimRig{rig: newRig(t), bin: bin, state: filepath.Join(t.TempDir(), "state")}
	s.apply(manifests, learn...)
	s.enroll("bot")
	return s
}

// enroll enrolls on the daemon's machine.
func (s *shimRig) enroll(agent string) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), s.bin, "connect", "--enroll", "--agent", agent, "--data", s.d.Config.Data, "--state", s.state).CombinedOutput()
	if err != nil {
		s.t.Fatalf("enrolling: %v\n%s", err, out)
	}
}

// command starts the program with nothing but its arguments.
func (s *shimRig) command(ctx context.Context, args ...string) (cmd *exec.Cmd, diagnostics *lockedBuffer) {
	cmd = exec.CommandContext(ctx, s.bin, append(append([]string{"connect"}, args...), "--state", s.state)...)
	cmd.Env, cmd.Dir = []string{}, string(os.PathSeparator)
	diagnostics = &lockedBuffer{}
	cmd.Stderr = diagnostics
	return cmd, diagnostics
}

// buildRutile builds the program.
func buildRutile(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "rutile")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "./cmd/rutile")
	cmd.Dir = gatetest.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building rutile: %v\n%s", err, out)
	}
	return bin
}

// TestConnect runs the built program between real clients and real servers.
func TestConnect(t *testing.T) {
	t.Parallel()
	bin := buildRutile(t)
	for name, test := range map[string]func(*testing.T, string){
		"works with an empty environment": withAnEmptyEnvironment, "serves the Go client": servesTheGoClient,
		"serves the TypeScript client": servesTheTypeScriptClient, "outlives its gateway": outlivesItsGateway,
		"says how it ended": saysHowItEnded, "keeps its secrets": keepsItsSecrets, "ends with its key": endsWithItsKey,
		"trusts a private authority": trustsAPrivateAuthority, "holds a poisoned list": holdsAPoisonedList,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bin)
		})
	}
}

// withAnEmptyEnvironment runs the official client over standard
// input and output, in every revision, through the built program to the public
// file server.
func withAnEmptyEnvironment(t *testing.T, bin string) {
	npm := gatetest.NewNPM(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("content of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShimRig(t, bin, stdioManifests(npm.FilesystemServer(dir), npm.Dir, dir), "up")
	for _, version := range []string{v2026, v2511, v2506, v2503} {
		t.Run(version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd, diagnostics := s.command(ctx, "up")
			cs, err := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil).
				Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatalf("connecting: %v\n%s", err, diagnostics)
			}
			if got := cs.InitializeResult(); got.ProtocolVersion != version {
				t.Errorf("connected to %+v", got)
			}
			list, err := cs.ListTools(ctx, nil)
			if err != nil || !slices.ContainsFunc(list.Tools, func(x *mcp.Tool) bool { return x.Name == "read_text_file" }) {
				t.Errorf("tools: %v %v", list, err)
			}
			res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "read_text_file", Arguments: map[string]any{"path": filepath.Join(dir, "a.txt")}})
			if err != nil || res.IsError || !strings.Contains(res.Content[0].(*mcp.TextContent).Text, "content of a") {
				t.Errorf("reading: %+v %v", res, err)
			}
			if err := cs.Close(); err != nil {
				t.Errorf("ending: %v\n%s", err, diagnostics)
			}
			if s := diagnostics.String(); s != "" {
				t.Errorf("an ordinary run has something to say:\n%s", s)
			}
		})
	}
	eventually(t, "every session ends with its client", func() bool { return s.d.Proxy.Sessions() == 0 })
}

// stdioManifests are agent "bot", allowed everything on the stdio server "up".
func stdioManifests(command []string, reads ...string) string {
	var b bytes.Buffer
	b.WriteString("kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"up/*\"]\n---\nkind: Server\nid: up\nowner: team\nstate: sanctioned\ntransport:\n  stdio:\n    command: '" + command[0] + "'\n    args:\n")
	for _, a := range command[1:] {
		b.WriteString("    - '" + a + "'\n")
	}
	b.WriteString("    confine:\n      bestEffort: true\n      read:\n")
	for _, r := range reads {
		b.WriteString("      - '" + r + "'\n")
	}
	return b.String()
}

// conversation is a client that writes and reads lines.
type conversation struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func converse(t *testing.T, cmd *exec.Cmd) *conversation {
	t.Helper()
	c := &conversation{t: t, cmd: cmd, lines: make(chan string, 256)}
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 64<<20)
		for scan.Scan() {
			c.lines <- scan.Text()
		}
		close(c.lines)
	}()
	return c
}

func (c *conversation) send(lines ...string) {
	c.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(c.in, l+"\n"); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *conversation) next() string {
	c.t.Helper()
	select {
	case l, ok := <-c.lines:
		if !ok {
			c.t.Fatal("standard output has ended")
		}
		return l
	case <-time.After(30 * time.Second):
		c.t.Fatal("nothing on standard output")
	}
	return ""
}

// end closes standard input and demands a status.
func (c *conversation) end(status int) {
	c.t.Helper()
	c.in.Close()
	c.ended(status)
}

func (c *conversation) ended(status int) {
	c.t.Helper()
	for range c.lines {
		continue // what is left is of no interest
	}
	_ = c.cmd.Wait() // the status says it
	if got := c.cmd.ProcessState.ExitCode(); got != status {
		c.t.Errorf("it ended with status %d, want %d", got, status)
	}
}

// servesTheGoClient holds what the official client sees through the shim
// to what it sees without, in every pair of eras, cancellation included.
func servesTheGoClient(t *testing.T, bin string) {
	for up, stateless := range map[string]bool{"modern": true, "legacy": false} {
		for _, version := range []string{v2026, v2511, v2506, v2503} {
			t.Run(up+" from "+version, func(t *testing.T) {
				t.Parallel()
				sdk := newSDKServer(t, stateless)
				s := &shimRig{rig: newRig(t), bin: bin, state: filepath.Join(t.TempDir(), "state")}
				s.apply(botAndServer(sdk.url, `["up/echo", "up/fail", "up/slow", "up/steps", "up/prompts/*", "up/resources/read"]`), "up")
				s.enroll("bot")
				progress := make(chan float64, 8)
				client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				})
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				cmd, diagnostics := s.command(t.Context(), "up")
				cs, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
				if err != nil {
					t.Fatalf("connecting: %v\n%s", err, diagnostics)
				}
				useSDK(ctx, t, cs, progress)
				go func() {
					<-sdk.waiting
					cancel()
				}()
				if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"text": ""}}); !errors.Is(err, context.Canceled) {
					t.Errorf("a cancelled call ended with %v", err)
				}
				if !stateless || version == v2026 { // else the SDK's server has no session to cancel in
					select {
					case ok := <-sdk.cancelled:
						if !ok {
							t.Error("the server's call was not cancelled")
						}
					case <-time.After(2 * patience):
						t.Error("the server does not learn of the cancellation")
					}
				}
				if err := cs.Close(); err != nil {
					t.Errorf("ending: %v\n%s", err, diagnostics)
				}
			})
		}
	}
}

func servesTheTypeScriptClient(t *testing.T, bin string) {
	npm := gatetest.NewNPM(t)
	dir := t.TempDir()
	s := newShimRig(t, bin, stdioManifests(npm.FilesystemServer(dir), npm.Dir, dir), "up")
	got, err := npm.VisitOverStdio(t.Context(), []string{"/usr/bin/env", "-i", s.bin, "connect", "up", "--state", s.state},
		gatetest.Call{Tool: "list_allowed_directories"})
	if err != nil || got.Revision != "2025-11-25" || !strings.Contains(got.Text, filepath.Base(dir)) || got.IsError {
		t.Errorf("%+v, %v", got, err)
	}
	eventually(t, "the session ends with its client", func() bool { return s.d.Proxy.Sessions() == 0 })
}

// outlivesItsGateway restarts the gateway below a client of each era.
func outlivesItsGateway(t *testing.T, bin string) {
	u := newUpstream(t)
	addr, data := "127.0.0.1:"+freePort(t), t.TempDir()
	same := func(c *daemon.Config) { c.Listen.Agents, c.Data = addr, data }
	s := &shimRig{rig: newRig(t, same), bin: bin, state: filepath.Join(t.TempDir(), "state")}
	s.apply(botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	s.enroll("bot")
	cmd, diagnostics := s.command(t.Context(), "up")
	c := converse(t, cmd)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	c.next()
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	legacy := func(id string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + id + `"}}}`
	}
	c.send(legacy("2"))
	if got := c.next(); !strings.Contains(got, `"id":2`) || !strings.Contains(got, `"result"`) {
		t.Fatalf("got %s", got)
	}
	if err := s.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.send(legacy("3"), modernBody("4", "tools/call", `"name":"echo","arguments":{}`))
	time.Sleep(200 * time.Millisecond) // they wait, and are not lost
	next := &shimRig{rig: newRig(t, same)}
	got := map[string]bool{}
	for range 2 {
		l := c.next()
		got[l[:min(len(l), 24)]] = strings.Contains(l, `"result"`)
		if !strings.Contains(l, `"result"`) {
			t.Errorf("after the restart: %s\n%s", l, diagnostics)
		}
	}
	if len(got) != 2 {
		t.Errorf("answers: %v", got)
	}
	c.send(legacy("5"))
	if l := c.next(); !strings.Contains(l, `"result"`) {
		t.Errorf("then: %s", l)
	}
	c.end(0)
	eventually(t, "the new session ends with its client", func() bool { return next.d.Proxy.Sessions() == 0 })
}

// freePort is a port nothing listens on, outside of the range the system gives
// to whoever asks for any: other tests do all the time.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + mrand.N(10000))
		if ln, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// saysHowItEnded holds the exit statuses.
func saysHowItEnded(t *testing.T, bin string) {
	u := newUpstream(t)
	s := newShimRig(t, bin, botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	call := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
	cmd, _ := s.command(t.Context(), "up")
	c := converse(t, cmd)
	c.send(call)
	c.next()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.ended(130)

	cmd, diagnostics := s.command(t.Context(), "up")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := io.WriteString(in, call+"\n"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the status says it
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(diagnostics.String(), "does not read any more") {
		t.Errorf("a broken pipe ends it with %d\n%s", cmd.ProcessState.ExitCode(), diagnostics)
	}

	for _, x := range []struct {
		status int
		says   string
		args   []string
	}{
		{2, "cannot be a server's id", []string{"UP"}},
		{2, "", []string{"up", "more"}},
		{2, "--enroll", []string{"up", "--gateway", "http://127.0.0.1:1"}},
		{6, "not enrolled", []string{"up", "--agent", "nobody"}},
	} {
		cmd, diagnostics := s.command(t.Context(), x.args...)
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != x.status || len(out) != 0 || !strings.Contains(diagnostics.String(), x.says) {
			t.Errorf("%v: status %d, want %d\n%s%s", x.args, got, x.status, out, diagnostics)
		}
	}
	if err := os.Chmod(filepath.Join(s.state, "bot.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, diagnostics = s.command(t.Context(), "up")
	out, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != 4 || len(out) != 0 || !strings.Contains(diagnostics.String(), "open to others") {
		t.Errorf("an open key file: status %d\n%s%s", got, out, diagnostics)
	}
}

// trustsAPrivateAuthority enrolls and connects over TLS: with the authority of
// the gateway's certificate, and not without.
func trustsAPrivateAuthority(t *testing.T, bin string) {
	u := newUpstream(t)
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir)
	s := &shimRig{bin: bin, state: filepath.Join(t.TempDir(), "state"), rig: newRig(t, func(c *daemon.Config) { c.TLS.Cert, c.TLS.Key = cert, key })}
	s.apply(botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	if !strings.HasPrefix(s.d.AgentsURL, "https://") {
		t.Fatalf("the gateway is at %s", s.d.AgentsURL)
	}
	enroll := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), s.bin, append([]string{"connect", "--enroll", "--gateway", s.d.AgentsURL, "--state", s.state}, args...)...)
		cmd.Env, cmd.Stdin = []string{}, strings.NewReader(s.invite("bot"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := enroll(); err == nil {
		t.Errorf("an unknown authority is trusted:\n%s", out)
	}
	if out, err := enroll("--ca", cert); err != nil {
		t.Fatalf("enrolling: %v\n%s", err, out)
	}
	cmd, diagnostics := s.command(t.Context(), "up")
	c := converse(t, cmd)
	c.send(modernBody("1", "tools/call", `"name":"echo","arguments":{"text":"over TLS"}`))
	if got := c.next(); !strings.Contains(got, "over TLS") {
		t.Errorf("got %s\n%s", got, diagnostics)
	}
	c.end(0)
}

func writeCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
