//go:build unix

package mcpproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/mcpproxy"
)

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("RUTILE_CANARY", "must not be seen")
	t.Setenv("LD_PRELOAD_CANARY", "must not be seen")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p, log, notes := child(t, "env", func(c *mcpproxy.StdioConfig) {
		c.Args = []string{"$HOME", "; exit 7", "*"}
		c.Env["EXTRA"] = "from the manifest"
		c.Env["TOKEN"] = "shadowed"
		c.Secret = secretVar("TOKEN", childSecret)
	})
	var got struct {
		Env  []string
		Dir  string
		Args []string
	}
	if err := json.Unmarshal([]byte(receive(t, p)), &got); err != nil {
		t.Fatal(err)
	}
	homes, err := filepath.Glob(filepath.Join(tmp, "rutile-server-*"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("private directories: %v, %v", homes, err)
	}
	home := homes[0]
	want := []string{
		"EXTRA=from the manifest", "GORACE=atexit_sleep_ms=0", "HOME=" + home, "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH"),
		childPart + "=env", childNotes + "=" + notes, "TMPDIR=" + filepath.Join(home, "tmp"), "TOKEN=" + childSecret,
	}
	sortStrings := cmp.Transformer("sort", func(in []string) map[string]bool {
		out := map[string]bool{}
		for _, s := range in {
			out[s] = true
		}
		return out
	})
	if diff := cmp.Diff(want, got.Env, sortStrings); diff != "" || len(got.Env) != len(want) {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"$HOME", "; exit 7", "*"}, got.Args); diff != "" {
		t.Errorf("a shell was at the arguments (-want +got):\n%s", diff)
	}
	if real, err := filepath.EvalSymlinks(home); err != nil || got.Dir != real {
		t.Errorf("working directory = %s, want %s", got.Dir, real)
	}
	if info, err := os.Stat(home); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("private directory: %v, %v", info.Mode(), err)
	}
	if err := p.Close(canceled()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the private directory is left: %v", err)
	}
	if strings.Contains(log.String(), childSecret) || strings.Contains(p.Err().Error(), childSecret) {
		t.Error("the secret is in the log")
	}
}

func TestUnfitStartFails(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	log := slog.New(slog.DiscardHandler)
	self, part := os.Args[0], childEnv("echo")
	for name, cfg := range map[string]mcpproxy.StdioConfig{
		"no logger":       {Command: self, Env: part},
		"no command":      {Log: log},
		"unknown command": {Command: "rutile-no-such-command", Log: log},
		"not executable":  {Command: tmp, Log: log},
		"no directory":    {Command: self, Env: part, Dir: filepath.Join(tmp, "absent"), Log: log},
		"bad variable":    {Command: self, Env: map[string]string{"A=B": "c"}, Log: log},
		"nul in variable": {Command: self, Env: map[string]string{"A": "b\x00C=d"}, Log: log},
		"bad secret name": {Command: self, Env: part, Log: log, Secret: secretVar("", childSecret)},
		"nul in secret":   {Command: self, Env: part, Log: log, Secret: secretVar("T", childSecret+"\x00")},
	} {
		p, err := mcpproxy.StartStdio(t.Context(), cfg)
		if err == nil || p != nil {
			t.Errorf("%s: started", name)
			continue
		}
		if strings.Contains(err.Error(), childSecret) {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
	if p, err := mcpproxy.StartStdio(canceled(), mcpproxy.StdioConfig{Command: self, Env: part, Log: log}); err == nil {
		// Both were ready, and the start won.
		if err := p.Close(canceled()); err != nil {
			t.Error(err)
		}
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled start: %v", err)
	}
	eventually(t, "private directories are removed", func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	})
}

func TestCloseTerminatesThenKills(t *testing.T) {
	polite, _, notes := child(t, "polite", func(c *mcpproxy.StdioConfig) { c.StopGrace = 2 * time.Second })
	receive(t, polite)
	if err := polite.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(notes); err != nil || string(got) != "terminated" {
		t.Errorf("note %q, %v: no SIGTERM came before SIGKILL", got, err)
	}
	stubborn, _, _ := child(t, "stubborn", func(c *mcpproxy.StdioConfig) { c.StopGrace = 100 * time.Millisecond })
	receive(t, stubborn)
	start := time.Now()
	if err := stubborn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("killed after %v, before the two graces were over", took)
	}
	if _, err := ending(t, stubborn); !strings.HasSuffix(err.Error(), "signal: killed") {
		t.Errorf("Err = %v", err)
	}
	if err := stubborn.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseHonoursContext(t *testing.T) {
	p, _, _ := child(t, "stubborn", func(c *mcpproxy.StdioConfig) { c.StopGrace = time.Hour })
	receive(t, p)
	if err := p.Close(canceled()); err != nil {
		t.Fatal(err)
	}
	if _, err := ending(t, p); !strings.HasSuffix(err.Error(), "signal: killed") {
		t.Errorf("Err = %v", err)
	}
}

func TestGrandchildrenDieWithProcess(t *testing.T) {
	for part, end := range map[string]func(*mcpproxy.StdioProcess) error{
		"family": func(p *mcpproxy.StdioProcess) error { return p.Close(t.Context()) },
		"orphan": func(*mcpproxy.StdioProcess) error { return nil }, // ends by itself
	} {
		p, _, _ := child(t, part, nil)
		var m struct{ Pid int }
		if err := json.Unmarshal([]byte(receive(t, p)), &m); err != nil || m.Pid == 0 {
			t.Fatal(m, err)
		}
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		ending(t, p)
		eventually(t, part+": the grandchild is gone", func() bool { return !alive(m.Pid) })
	}
}

// A grandchild that left the group keeps our pipes open, but not us.
func TestEscapedGrandchildDoesNotHoldUsUp(t *testing.T) {
	p, _, _ := child(t, "escape", nil)
	var m struct{ Pid int }
	for m.Pid == 0 { // the grandchild writes to the same pipe
		if err := json.Unmarshal([]byte(receive(t, p)), &m); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := syscall.Kill(m.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}()
	if _, err := ending(t, p); err.Error() != "the process ended by itself: exit status 0" {
		t.Errorf("Err = %v", err)
	}
}

// offspring lists the processes whose parent is pid, zombies too.
func offspring(t *testing.T, pid int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		head, rest, ok := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(rest))
		if ok && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			id, _, _ := strings.Cut(string(head), " ")
			n, err := strconv.Atoi(id)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	return pids
}

func TestProcessDiesWithGateway(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent died")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childPart + "=gateway", "TMPDIR=" + t.TempDir()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Error(err)
	}
	servers := offspring(t, cmd.Process.Pid)
	if len(servers) != 1 || !alive(servers[0]) {
		t.Errorf("servers of the gateway: %v", servers)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, pid := range servers {
		eventually(t, "the server is gone", func() bool { return !alive(pid) })
	}
}

func TestProcessesLeaveNothingBehind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors and children are counted in /proc")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	count := func() (fds, children, files int) {
		for dir, n := range map[string]*int{"/proc/self/fd": &fds, tmp: &files} {
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			*n = len(list)
		}
		return fds, len(offspring(t, os.Getpid())), files
	}
	cycle := func(i int) {
		part := "echo"
		if i%10 == 9 {
			part = "family"
		}
		p, err := mcpproxy.StartStdio(t.Context(), mcpproxy.StdioConfig{
			Command: os.Args[0], Env: childEnv(part), StopGrace: stdioPatience, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		if part == "family" {
			receive(t, p)
		}
		send(t, p, `{"n":1}`)
		if got := receive(t, p); got != `{"n":1}` {
			t.Fatalf("got %q", got)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Err(); err.Error() != "the process was closed: exit status 0" {
			t.Fatalf("Err = %v", err)
		}
	}
	cycle(0) // what the runtime opens once is open now
	goroutines := runtime.NumGoroutine()
	fds, children, files := count()
	for i := range 100 {
		cycle(i)
	}
	if f, c, d := count(); f > fds || c > children || d > files {
		t.Errorf("descriptors %d → %d, children %d → %d, files %d → %d", fds, f, children, c, files, d)
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// secretVar gives one variable.
func secretVar(name, value string) func(func(string, string)) error {
	return func(set func(string, string)) error { set(name, value); return nil }
}

// TestSecretFilesAreForTheProcessAlone: what is in them stands in no variable,
// nobody else can read them, and they go with the process.
func TestSecretFilesAreForTheProcessAlone(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p, _, _ := child(t, "env", func(c *mcpproxy.StdioConfig) {
		c.Files = func(set func(string, string) error) error {
			return errors.Join(set("TOKEN_FILE", childSecret), set("OTHER_FILE", "two\nlines of it\n"))
		}
	})
	var got struct{ Env []string }
	if err := json.Unmarshal([]byte(receive(t, p)), &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(got.Env, "\n"), childSecret) {
		t.Error("the secret is in the environment")
	}
	found := 0
	for name, content := range map[string]string{"TOKEN_FILE": childSecret, "OTHER_FILE": "two\nlines of it\n"} {
		for _, v := range got.Env {
			path, ok := strings.CutPrefix(v, name+"=")
			if !ok {
				continue
			}
			found++
			raw, err := os.ReadFile(path)
			if err != nil || string(raw) != content || !strings.HasPrefix(path, tmp) {
				t.Errorf("%s names %s, which holds %q: %v", name, path, raw, err)
			}
			for path, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700} {
				if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
					t.Errorf("%s has mode %v: %v", path, fi.Mode().Perm(), err)
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of two files are named", found)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "rutile-server-*")); len(left) != 0 {
		t.Errorf("%v is left behind", left)
	}
}
