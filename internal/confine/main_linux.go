package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The descriptors Main inherits besides the first three.
const (
	specFD   = 3 // the spec is read from here to its end
	answerFD = 4 // the answer is written here; it closes when the program is executed
)

// maxSpec bounds a spec. An environment cannot be larger than this either.
const maxSpec = 8 << 20

// spec is what to become.
type spec struct {
	Path    string   `json:"path"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Dir     string   `json:"dir"`
	Parent  int      `json:"parent"`
	Profile Profile  `json:"profile"`
}

// answer is what Main says before it becomes the program, or instead.
type answer struct {
	Report Report `json:"report"`
	Lack   *Lack  `json:"lack,omitempty"`  // demanded and missing
	Error  string `json:"error,omitempty"` // what went wrong
	Errno  int    `json:"errno,omitempty"` // of it, if a system call did
}

// Main confines the process and becomes the program it is told to. It returns
// only if that could not be done, with the exit status.
func Main() int {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	// Nothing of ours is to reach the program.
	in, out := os.NewFile(specFD, "spec"), os.NewFile(answerFD, "answer")
	if err := unix.CloseRange(specFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		// An older kernel: what the runtime and the gateway opened closes by
		// itself, and these two are the ones that were passed on.
		unix.CloseOnExec(specFD)
		unix.CloseOnExec(answerFD)
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxSpec))
	if err == nil {
		err = in.Close()
	}
	var s spec
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return tell(out, answer{Error: "reading what to start: " + err.Error()})
	}
	return tell(out, become(&s, out))
}

// tell writes the answer of a start that failed, or says to whoever started us
// by hand that there is nobody to write it to.
func tell(out *os.File, a answer) int {
	raw, err := json.Marshal(a)
	if err == nil {
		_, err = out.Write(raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rutile: this command is started by the gateway only")
	}
	return 1
}

func failed(doing string, err error) answer {
	a := answer{Error: doing + ": " + err.Error()}
	var no syscall.Errno
	if errors.As(err, &no) {
		a.Errno = int(no)
	}
	return a
}

// become does everything in the order that leaves each step what it needs. It
// returns only on failure.
func become(s *spec, out *os.File) answer {
	p := &s.Profile
	k := probe()
	report := p.report(k)
	if l := p.missing(report); l != nil {
		return answer{Report: report, Lack: l}
	}
	if err := os.Chdir(s.Dir); err != nil {
		return failed("entering the working directory", err)
	}
	syscall.Umask(0o077)
	ruleset := -1
	if k.abi >= 1 {
		var err error
		if ruleset, err = p.ruleset(k.abi); err != nil {
			return failed("granting files", err)
		}
	}
	bounds := p.bounds(k)
	if err := dropPrivileges(); err != nil {
		return failed("dropping privileges", err)
	}
	// The kernel forgets this where credentials change.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed("tying the process to the gateway", err)
	}
	if os.Getppid() != s.Parent {
		return answer{Error: "the gateway has gone"}
	}
	if ruleset >= 0 {
		if _, _, no := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); no != 0 {
			return failed("confining files", no)
		}
	}
	// From here on only what the program itself may do.
	raw, err := json.Marshal(answer{Report: report})
	if err != nil {
		return failed("writing the report", err)
	}
	if k.filter {
		if err := p.filter(); err != nil {
			return failed("filtering system calls", err)
		}
	}
	// The report goes first: a program that was executed cannot send it. Should
	// executing fail, a second answer follows.
	if _, err := out.Write(append(raw, '\n')); err != nil {
		return failed("writing the report", err)
	}
	for _, b := range bounds {
		if err := narrow(b.what, b.most); err != nil {
			return failed("setting limits", err)
		}
	}
	return failed("executing "+s.Path, syscall.Exec(s.Path, s.Args, s.Env))
}

// probe asks the kernel what it can.
func probe() kernel {
	k := kernel{root: os.Getuid() == 0}
	if v, _, no := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); no == 0 {
		k.abi = int(v)
	}
	k.filter = canFilter()
	return k
}

// tasks counts the threads of a user, which is what the kernel bounds.
func tasks(uid int) int {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	n := 0
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || int(st.Uid) != uid {
			continue // it has ended, or is another's
		}
		list, err := os.ReadDir(dir + "/task")
		if err != nil {
			continue
		}
		n += len(list)
	}
	return n
}

// narrow sets a bound, which can only be made smaller.
func narrow(what int, n uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(what, &now); err != nil {
		return err
	}
	n = min(n, now.Max)
	return syscall.Setrlimit(what, &syscall.Rlimit{Cur: n, Max: n})
}

// bound is a resource and how much of it there is to be.
type bound struct {
	what int
	most uint64
}

// bounds lists what is to be set. They are set last: this program may need more
// than the one it becomes.
func (p *Profile) bounds(k kernel) []bound {
	all := []bound{{unix.RLIMIT_CORE, 0}}
	if n := p.Limits.Files; n > 0 {
		all = append(all, bound{unix.RLIMIT_NOFILE, uint64(n)})
	}
	if n := p.Limits.FileSize; n > 0 {
		all = append(all, bound{unix.RLIMIT_FSIZE, uint64(n)})
	}
	if n := p.Limits.Processes; n > 0 && !k.root {
		all = append(all, bound{unix.RLIMIT_NPROC, uint64(n + tasks(os.Getuid()))})
	}
	if n := p.Limits.Memory; n > 0 {
		all = append(all, bound{unix.RLIMIT_DATA, uint64(n)})
	}
	return all
}

// dropPrivileges leaves no capability and no way to gain one. Without the rights
// root has there is nothing to drop, and nothing can be gained either.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return err
	}
	if caps[0].Permitted&(1<<unix.CAP_SETPCAP) != 0 {
		for c := uintptr(0); c < 64; c++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
				break // the kernel knows no more
			} else if err != nil {
				return err
			}
		}
	}
	caps = [2]unix.CapUserData{}
	if err := unix.Capset(&hdr, &caps[0]); err != nil {
		return err
	}
	return nil // with an empty bounding set, or without being root, executing gives none
}
