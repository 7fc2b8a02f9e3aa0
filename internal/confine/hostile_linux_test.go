package confine_test

import (
	"bytes"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rutile/internal/confine"
)

// cell is a place for one hostile program: a home of its own, the prey beside
// it, and what is open to it.
type cell struct {
	t    *testing.T
	home string
	prey string // a file outside, with a program and a socket beside it
}

func newCell(t *testing.T) *cell {
	t.Helper()
	c := &cell{t: t, home: filepath.Join(t.TempDir(), "home"), prey: filepath.Join(t.TempDir(), "prey")}
	if err := os.Mkdir(c.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.prey, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// profile is what the default of a server grants.
func (c *cell) profile() confine.Profile {
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	return confine.Profile{
		Grants:  slices.Concat(confine.Base(), confine.Program(self, ""), []confine.Grant{{Path: c.home, Access: confine.Own}}),
		Connect: confine.Ports{Any: true},
	}
}

// try runs an attack, confined if p is there, and returns what it said.
func (c *cell) try(p *confine.Profile, part string, args ...string) (string, confine.Report) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = []string{attackPart + "=" + part, "GORACE=atexit_sleep_ms=0", "GODEBUG=multipathtcp=0"}
	cmd.Dir = c.home
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if p == nil {
		if err := cmd.Run(); err != nil {
			c.t.Fatalf("%s: %v: %s", part, err, out.String())
		}
		return out.String(), confine.Report{}
	}
	start, err := confine.Wrap(cmd, *p)
	if err != nil {
		c.t.Fatal(err)
	}
	report, err := start.Started(cmd.Start())
	if err != nil {
		c.t.Fatalf("%s: %v", part, err)
	}
	if err := cmd.Wait(); err != nil {
		c.t.Fatalf("%s: %v: %s", part, err, out.String())
	}
	return out.String(), report
}

// held demands that an attack works unconfined and not under p, unless the
// report names the measure as lacking.
func held(t *testing.T, part string, by confine.Measure, change func(*confine.Profile), args func(*cell) []string) {
	t.Helper()
	list := func(c *cell) []string {
		if args == nil {
			return nil
		}
		return args(c)
	}
	free := newCell(t)
	if out, _ := free.try(nil, part, list(free)...); !strings.HasPrefix(out, "done") && !strings.HasPrefix(out, "open:") {
		t.Errorf("%s: shows nothing, because it does not work unconfined either: %s", part, out)
		return
	}
	c := newCell(t)
	p := c.profile()
	if change != nil {
		change(&p)
	}
	out, report := c.try(&p, part, list(c)...)
	lacking := slices.ContainsFunc(report.Lacks, func(l confine.Lack) bool { return l.Measure == by })
	if lacking == slices.Contains(report.Held, by) {
		t.Errorf("%s: the report must name %s once: %+v", part, by, report)
	}
	if !strings.HasPrefix(out, "stopped:") && !lacking {
		t.Errorf("%s worked: %s", part, out)
	}
}

func TestHostileProgramReachesNoFileOutside(t *testing.T) {
	prey := func(c *cell) []string { return []string{c.prey} }
	for _, part := range []string{
		"read", "write", "append", "make", "mkdir", "remove", "read by /proc/self/root", "read by /proc/self/cwd", "read by symlink",
		"read by dots", "read by hard link", "read by rename", "write by rename",
	} {
		t.Run(part, func(t *testing.T) { held(t, part, confine.Files, nil, prey) })
	}
	t.Run("truncate", func(t *testing.T) { held(t, "truncate", confine.Truncate, nil, prey) })
	t.Run("list", func(t *testing.T) {
		held(t, "list", confine.Files, nil, func(c *cell) []string { return []string{filepath.Dir(c.prey)} })
	})
	t.Run("execute", func(t *testing.T) {
		held(t, "execute", confine.Files, nil, func(c *cell) []string {
			raw, err := os.ReadFile("/bin/sleep")
			if err == nil {
				err = os.WriteFile(c.prey+".bin", raw, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			return []string{c.prey + ".bin"}
		})
	})
	if os.Getuid() == 0 { // others cannot do it unconfined either
		for _, part := range []string{"read by handle", "mount"} {
			t.Run(part, func(t *testing.T) { held(t, part, confine.System, nil, prey) })
		}
		t.Run("shadow", func(t *testing.T) {
			held(t, "read", confine.Files, nil, func(*cell) []string { return []string{"/etc/shadow"} })
		})
	}
}

func TestWhatIsGrantedCanBeUsed(t *testing.T) {
	for access, works := range map[confine.Access][]string{
		confine.Read: {"read"},
		// What is moved may not gain rights on the way: not out of a directory
		// nothing is executed in into one where it is.
		confine.Write: {"read", "append", "write", "make", "mkdir", "truncate", "read by symlink", "write by rename"},
	} {
		for _, part := range []string{"read", "append", "write", "make", "mkdir", "truncate", "read by symlink", "read by rename", "write by rename"} {
			c := newCell(t)
			p := c.profile()
			p.Grants = append(p.Grants, confine.Grant{Path: filepath.Dir(c.prey), Access: access})
			out, report := c.try(&p, part, c.prey)
			want := slices.Contains(works, part) || access == confine.Read && part == "read by symlink"
			if got := strings.HasPrefix(out, "done"); got != want && report.ABI >= 3 {
				t.Errorf("%s where %s is granted: %s", part, access, out)
			}
		}
	}
}

func TestHostileProgramHasTheNetworkItIsGiven(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	sock := filepath.Join(t.TempDir(), "s")
	local, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	abstract, err := net.Listen("unix", "@rutile-confine-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	to := func(addr string) func(*cell) []string { return func(*cell) []string { return []string{addr} } }
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	open, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	none := func(p *confine.Profile) { p.Connect = confine.Ports{} }
	other := func(p *confine.Profile) { p.Connect = confine.Ports{List: []int{open%65535 + 1}} }
	anyPort := func(p *confine.Profile) { p.Listen = confine.Ports{Any: true} }
	for name, c := range map[string]struct {
		part   string
		by     confine.Measure
		change func(*confine.Profile)
		args   func(*cell) []string
	}{
		"connect, none":             {"connect", confine.Connect, none, to(tcp.Addr().String())},
		"connect, another port":     {"connect", confine.Connect, other, to(tcp.Addr().String())},
		"udp, none":                 {"udp", confine.Connect, none, to(udp.LocalAddr().String())},
		"udp, a port":               {"udp", confine.Connect, other, to(udp.LocalAddr().String())},
		"listen, default":           {"listen", confine.Listen, nil, nil},
		"listen, none":              {"listen", confine.Listen, none, nil},
		"listen unbound, default":   {"listen without binding", confine.Listen, nil, nil},
		"listen, another port":      {"listen", confine.Listen, func(p *confine.Profile) { p.Listen = confine.Ports{List: []int{1}} }, nil},
		"unix socket":               {"unix", confine.Sockets, anyPort, to(sock)},
		"abstract socket":           {"unix", confine.Sockets, anyPort, to(abstract.Addr().String())},
		"reading ring, for sockets": {"ring", confine.System, anyPort, nil},
	} {
		t.Run(name, func(t *testing.T) { held(t, c.part, c.by, c.change, c.args) })
	}
	// What this kernel or user has not at all cannot be shown to be taken away:
	// refusing it is still checked.
	for part, change := range map[string]func(*confine.Profile){
		"mptcp": other, "fast open": other, "vsock": anyPort, "audit": anyPort, "alg": anyPort, "packet": anyPort,
	} {
		c := newCell(t)
		p := c.profile()
		change(&p)
		out, report := c.try(&p, part, tcp.Addr().String())
		if slices.Contains(report.Held, confine.System) && !strings.Contains(out, "permission denied") {
			t.Errorf("%s: %s", part, out)
		}
	}
	// And what is granted works.
	for name, c := range map[string]struct {
		part, arg string
		change    func(*confine.Profile)
	}{
		"connect":    {"connect", tcp.Addr().String(), func(p *confine.Profile) { p.Connect = confine.Ports{List: []int{open}} }},
		"udp":        {"udp", udp.LocalAddr().String(), func(p *confine.Profile) { p.Connect = confine.Ports{List: []int{open, confine.DNS}} }},
		"listen":     {"listen", "", anyPort},
		"default":    {"connect", tcp.Addr().String(), func(*confine.Profile) {}},
		"by default": {"udp", udp.LocalAddr().String(), func(*confine.Profile) {}},
	} {
		cl := newCell(t)
		p := cl.profile()
		c.change(&p)
		if out, report := cl.try(&p, c.part, c.arg); !strings.HasPrefix(out, "done") {
			t.Errorf("%s where it is granted: %s %+v", name, out, report)
		}
	}
}

func TestHostileProgramReachesNoProcessOutside(t *testing.T) {
	victim := exec.Command("/bin/sleep", "600")
	victim.Env = []string{"TOKEN=secret"}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := victim.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = victim.Wait() // it was killed
	}()
	pid := func(*cell) []string { return []string{strconv.Itoa(victim.Process.Pid)} }
	for part, by := range map[string]confine.Measure{
		"signal": confine.Signals, "trace": confine.Tracing, "read memory": confine.Tracing, "read environment": confine.Files,
		"read command": confine.Files, "limit another": confine.System, "steal a descriptor": confine.Tracing,
	} {
		t.Run(part, func(t *testing.T) { held(t, part, by, nil, pid) })
	}
}

func TestHostileProgramGainsNothing(t *testing.T) {
	parts := map[string]confine.Measure{
		"gain privileges": confine.Privileges, "user namespace": confine.System, "keys": confine.System,
	}
	if os.Getuid() == 0 {
		maps.Copy(parts, map[string]confine.Measure{"capabilities": confine.Privileges, "another user": confine.Privileges, "kernel log": confine.System})
	}
	for part, by := range parts {
		t.Run(part, func(t *testing.T) { held(t, part, by, nil, nil) })
	}
}

// A descriptor that somebody left open does not reach the program.
func TestProgramInheritsNoDescriptor(t *testing.T) {
	f, err := os.Open(newCell(t).prey)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd())) // this one is not closed on execution
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	held(t, "descriptors", confine.Files, nil, nil)
}

func TestLimitsHold(t *testing.T) {
	for _, c := range []struct {
		part  string
		by    confine.Measure
		limit func(*confine.Limits)
	}{
		{"big file", confine.FileSize, func(l *confine.Limits) { l.FileSize = 1 << 20 }},
		{"many files", confine.OpenFiles, func(l *confine.Limits) { l.Files = 64 }},
	} {
		t.Run(c.part, func(t *testing.T) { held(t, c.part, c.by, func(p *confine.Profile) { c.limit(&p.Limits) }, nil) })
	}
	t.Run("core dump", func(t *testing.T) {
		// Whoever starts the tests may have none to take away.
		c := newCell(t)
		p := c.profile()
		if out, _ := c.try(&p, "core dump"); !strings.HasPrefix(out, "stopped:") {
			t.Error(out)
		}
	})
}

// A limit for memory is tested with a program that the race detector is not in.
func TestMemoryIsBounded(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	run := func(limit int64) (string, error) {
		c := newCell(t)
		cmd := exec.Command(sh, "-c", `ulimit -d; a=$(head -c 67108864 /dev/zero | tr '\0' x); echo ${#a}`)
		cmd.Dir, cmd.Env = c.home, []string{"PATH=/usr/bin:/bin"}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		p := c.profile()
		p.Limits.Memory = limit
		start, err := confine.Wrap(cmd, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := start.Started(cmd.Start()); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		return out.String(), err
	}
	if out, err := run(0); err != nil || !strings.Contains(out, "67108864") {
		t.Fatalf("without a limit: %v %s", err, out)
	}
	if out, err := run(32 << 20); err == nil && strings.Contains(out, "67108864") {
		t.Errorf("with a limit of 32 MiB: %s", out)
	} else if !strings.Contains(out, "32768") {
		t.Errorf("the limit is not set: %s", out)
	}
}

func TestPairsOfSocketsLeadNowhere(t *testing.T) {
	dir, err := os.MkdirTemp("", "rutile-confine-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, kind := range map[string]int{"datagram": unix.SOCK_DGRAM, "raw": unix.SOCK_RAW | unix.SOCK_NONBLOCK} {
		t.Run(name, func(t *testing.T) {
			held(t, "datagram of a pair", confine.Sockets, nil, func(*cell) []string { return []string{l.LocalAddr().String(), strconv.Itoa(kind)} })
		})
	}
	c := newCell(t)
	p := c.profile()
	if out, _ := c.try(&p, "pair"); !strings.HasPrefix(out, "done") {
		t.Errorf("pairs of streams, which programs speak to their children over: %s", out)
	}
}

// nobody is a user that has no other process.
const nobody = 64999

// asNobody plays a part as somebody who is not root, of which the kernel holds
// to less. The program and a home are its arguments before args.
func asNobody(t *testing.T, part string, args ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rutile-confine-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	bin, home := filepath.Join(dir, "gateway"), filepath.Join(dir, "home")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{bin, home}, args...)...)
	cmd.Env, cmd.Dir = []string{attackPart + "=" + part, "GORACE=atexit_sleep_ms=0"}, "/"
	if os.Getuid() == 0 {
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// The kernel does not hold root to a number of processes, so this gateway is
// somebody else.
func TestForkBombIsBounded(t *testing.T) {
	run := func(processes, threads int) string {
		return asNobody(t, "gateway", strconv.Itoa(processes), strconv.Itoa(threads))
	}
	if out := run(1000, 0); !strings.HasPrefix(out, "done") {
		t.Fatalf("a hundred of a thousand: %s", out)
	}
	if out := run(40, 0); !strings.HasPrefix(out, "stopped:") || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("a hundred of forty: %s", out)
	}
	if out := run(200, 300); !strings.HasPrefix(out, "done") {
		t.Errorf("a hundred of two hundred, beside three hundred of the gateway's: %s", out)
	}
}

func TestMemoryIsHiddenFromOthersOfTheUser(t *testing.T) {
	const part = "peeked at"
	if out := asNobody(t, part, "open"); !strings.HasPrefix(out, "done") {
		t.Skipf("this machine lets nobody look into another process anyway: %s", out)
	}
	if out := asNobody(t, part, "hidden"); !strings.HasPrefix(out, "stopped:") {
		t.Errorf("looked into: %s", out)
	}
}

func TestHiddenMemoryLeavesNoCore(t *testing.T) {
	if out := asNobody(t, "core dumps"); !strings.HasPrefix(out, "0 0 0 0\n") {
		t.Errorf("limit, hard limit, dumpable, hard limit of a child: %s", out)
	}
}

// What is demanded and cannot be had keeps the program from starting.
func TestDemandIsFailClosed(t *testing.T) {
	c := newCell(t)
	start := func(change func(*confine.Profile)) (confine.Report, error) {
		p := c.profile()
		change(&p)
		cmd := exec.Command("/bin/sh", "-c", "echo ran > "+filepath.Join(c.home, "ran"))
		cmd.Dir = c.home
		s, err := confine.Wrap(cmd, p)
		if err != nil {
			return confine.Report{}, err
		}
		r, err := s.Started(cmd.Start())
		if cmd.Process != nil {
			_ = cmd.Wait() // the error is the one looked at
		}
		return r, err
	}
	ran := func() bool {
		_, err := os.Stat(filepath.Join(c.home, "ran"))
		return err == nil
	}
	outside := filepath.Dir(c.prey)
	if err := os.Symlink(outside, filepath.Join(c.home, "link")); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		change func(*confine.Profile)
		want   string
	}{
		"a granted path is missing": {func(p *confine.Profile) {
			p.Grants = append(p.Grants, confine.Grant{Path: "/nowhere/at/all", Access: confine.Read})
		}, "/nowhere/at/all: no such file"},
		"a granted path is relative": {func(p *confine.Profile) {
			p.Grants = append(p.Grants, confine.Grant{Path: "docs", Access: confine.Read})
		}, "not an absolute path"},
		"an unknown access": {func(p *confine.Profile) {
			p.Grants = append(p.Grants, confine.Grant{Path: c.home, Access: "all"})
		}, "not known"},
		"the private directory is granted": {func(p *confine.Profile) {
			p.Private = []string{outside}
			p.Grants = append(p.Grants, confine.Grant{Path: outside, Access: confine.Read})
		}, "the gateway's own"},
		"a part of it": {func(p *confine.Profile) {
			p.Private = []string{outside}
			p.Grants = append(p.Grants, confine.Grant{Path: c.prey, Access: confine.Read})
		}, "the gateway's own"},
		"what it is in": {func(p *confine.Profile) {
			p.Private = []string{outside}
			p.Grants = append(p.Grants, confine.Grant{Path: filepath.Dir(outside), Access: confine.Read})
		}, "the gateway's own"},
		"it, by a link": {func(p *confine.Profile) {
			p.Private = []string{outside}
			p.Grants = append(p.Grants, confine.Grant{Path: filepath.Join(c.home, "link"), Access: confine.Read})
		}, "the gateway's own"},
		"a private path is relative": {func(p *confine.Profile) { p.Private = []string{"data"} }, "needs an absolute path"},
		"it, where it is named by a link": {func(p *confine.Profile) {
			p.Private = []string{filepath.Join(c.home, "link")}
			p.Grants = append(p.Grants, confine.Grant{Path: outside, Access: confine.Read})
		}, "the gateway's own"},
	} {
		if _, err := start(x.change); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if ran() {
			t.Fatalf("%s: it was started", name)
		}
	}
	// Every measure this machine lacks is fatal when it is demanded, and only then.
	all := func(p *confine.Profile) {
		p.Connect, p.Limits = confine.Ports{List: []int{1}}, confine.Limits{Processes: 10_000, Files: 100, Memory: 1 << 40, FileSize: 1 << 30}
	}
	r, err := start(all)
	if err != nil || !ran() {
		t.Fatalf("nothing is demanded: %v", err)
	}
	for _, l := range r.Lacks {
		if err := os.Remove(filepath.Join(c.home, "ran")); err != nil {
			t.Fatal(err)
		}
		_, err := start(func(p *confine.Profile) { all(p); p.Demand = []confine.Measure{l.Measure} })
		var missing *confine.MissingError
		if !errors.As(err, &missing) || missing.Measure != l.Measure || ran() {
			t.Errorf("%s is demanded and lacking: %v", l.Measure, err)
		}
		if _, err := start(all); err != nil {
			t.Fatal(err)
		}
	}
	if r, err = start(func(p *confine.Profile) { all(p); p.Demand = r.Held }); err != nil {
		t.Errorf("what holds is demanded: %v", err)
	}
}

// A program that is not there is an error of the start, like any other.
func TestProgramThatCannotBeExecuted(t *testing.T) {
	c := newCell(t)
	for name, want := range map[string]error{"/nowhere": os.ErrNotExist, c.prey: os.ErrPermission} {
		cmd := exec.Command(name)
		cmd.Dir = c.home
		s, err := confine.Wrap(cmd, c.profile())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Started(cmd.Start()); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = cmd.Wait() // the error is the one looked at
	}
}

// Many starts at once, half of them killed on the way, leave nothing open.
func TestStartsLeaveNothingOpen(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	c := newCell(t)
	cycle := func() {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				cmd := exec.Command("/bin/true")
				cmd.Dir = c.home
				s, err := confine.Wrap(cmd, c.profile())
				if err != nil {
					t.Error(err)
					return
				}
				err = cmd.Start()
				if err == nil && i%2 == 0 {
					_ = cmd.Process.Kill() // it may have ended
				}
				if _, err := s.Started(err); err != nil && i%2 != 0 {
					t.Error(err)
				}
				_ = cmd.Wait() // killed or not
			})
		}
		all.Wait()
	}
	cycle()
	before := count()
	for range 10 {
		cycle()
	}
	if n := count(); n > before {
		t.Errorf("descriptors %d → %d", before, n)
	}
}
