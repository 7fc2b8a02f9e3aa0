package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rutile/internal/discovery/process"
	"rutile/internal/gatetest"
)

// client is a desktop client that starts a server and says when it answered.
// Node connects it by pairs of sockets, as most clients do.
const client = `
const c = require('child_process').spawn(process.argv[2], process.argv.slice(3), {stdio: ['pipe', 'pipe', 'inherit']});
c.stdout.once('data', () => console.log('answered'));
c.stdin.write(JSON.stringify({jsonrpc: '2.0', id: 1, method: 'initialize', params: {protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {name: 'x', version: '1'}}}) + '\n');
process.stdin.on('end', () => c.stdin.end()).resume();
c.on('exit', () => process.exit(0));
`

// start runs a command until the test ends and returns its process and its output.
func start(t *testing.T, dir string, argv ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return cmd, out
}

func scan(t *testing.T, pid int) process.Server {
	t.Helper()
	tab, servers, err := process.Scanner{}.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(servers, func(s process.Server) bool { return s.Proc.PID == pid || s.Proc.Parent == pid })
	if i < 0 {
		t.Fatalf("process %d or its child is none of %+v; it is %+v", pid, servers, tab.Procs[pid])
	}
	return servers[i]
}

func TestServerThatNpxStartedIsFound(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	npx, err := exec.LookPath("npx")
	if err != nil {
		gatetest.Lack(t, "there is no npx: install Node with npm")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "bin", "claude")
	if err := os.MkdirAll(filepath.Dir(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(client), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out := start(t, npm.Dir, npm.Node, script, npx, "--no-install", "mcp-server-filesystem", dir)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "answered\n" {
		t.Fatalf("the client says %q, %v", line, err)
	}
	s := scan(t, cmd.Process.Pid)
	command, args := s.Proc.Command()
	if s.Client != "claude-code" || s.Strength != 0.9 || !s.Joined || len(s.PIDs) < 2 {
		t.Errorf("%+v", s)
	}
	if command != "npx" || !slices.Contains(args, "mcp-server-filesystem") {
		t.Errorf("its command is %s %v", command, args)
	}
}

func TestPipesProveTheConnection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := filepath.Join(dir, "my-mcp-server")
	if err := os.WriteFile(server, []byte("#!/bin/sh\necho ready\nread x\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd, out := start(t, dir, "env", "sh", server)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	// Its parent is this test, which is no client, so that the name decides.
	tab, _, err := process.Scanner{}.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := tab.Procs[cmd.Process.Pid]
	if p == nil || p.Parent != os.Getpid() || p.User != os.Getuid() {
		t.Fatalf("%+v", p)
	}
	p.Args = []string{server}
	i := slices.IndexFunc(tab.Servers(), func(s process.Server) bool { return s.Proc == p })
	if i < 0 || !tab.Servers()[i].Joined {
		t.Errorf("%+v", tab.Servers())
	}
}

func TestListeningSocketsHaveOwners(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.5.201:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tab, _, err := process.Scanner{}.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(tab.Sockets, func(s process.Socket) bool { return s.Address.String() == l.Addr().String() })
	if i < 0 || tab.Sockets[i].PID != os.Getpid() {
		t.Errorf("%s is not ours in %+v", l.Addr(), tab.Sockets)
	}
}

// A FIFO stands where the environment of a process would be: to open it is to
// wait for ever.
func TestEnvironmentsAreNeverOpened(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for pid, args := range map[int]string{10: "claude\x00", 11: "npx\x00mcp-server-git\x00--token\x00ghp_x\x00\x00\x00"} {
		dir := filepath.Join(root, fmt.Sprint(pid))
		if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": fmt.Sprintf("%d (a) b) S %d 1", pid, pid-1), "cmdline": args} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mkfifo(filepath.Join(dir, "environ"), 0o600); err != nil {
			t.Fatal(err)
		}
		for fd := range 2 {
			if err := os.Symlink("pipe:[77]", filepath.Join(dir, "fd", fmt.Sprint(fd))); err != nil {
				t.Fatal(err)
			}
		}
	}
	tab, servers, err := process.Scanner{Root: root}.Scan(t.Context())
	if err != nil || len(servers) != 1 || servers[0].Proc.PID != 11 || servers[0].Strength != 0.9 {
		t.Errorf("%+v %v", servers, err)
	}
	if tab.Blind == "" {
		t.Error("there is no table of sockets, and nothing says so")
	}
	if !strings.Contains(strings.Join(servers[0].Why, ","), "claude-code started it") {
		t.Errorf("why: %v", servers[0].Why)
	}
}

func BenchmarkScan(b *testing.B) {
	for b.Loop() {
		tab, _, err := process.Scanner{}.Scan(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(tab.Procs)), "processes")
	}
}
