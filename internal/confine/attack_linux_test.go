package confine_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rutile/internal/confine"
)

// attacks are what a hostile program tries. Each does it wholly and returns nil,
// or says what was in the way. Args are what the test names as the prey.
var attacks = map[string]func(arg []string) error{
	"read":  func(a []string) error { return onlyErr(os.ReadFile(a[0])) },
	"list":  func(a []string) error { return onlyErr(os.ReadDir(a[0])) },
	"write": func(a []string) error { return os.WriteFile(a[0], []byte("changed"), 0o600) },
	"append": func(a []string) error {
		f, err := os.OpenFile(a[0], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		return f.Close()
	},
	"make":                    func(a []string) error { return os.WriteFile(a[0]+".new", nil, 0o600) },
	"mkdir":                   func(a []string) error { return os.Mkdir(a[0]+".dir", 0o700) },
	"truncate":                func(a []string) error { return os.Truncate(a[0], 0) },
	"remove":                  func(a []string) error { return os.Remove(a[0]) },
	"execute":                 func(a []string) error { return exec.Command(a[0], "0").Run() },
	"read by /proc/self/root": func(a []string) error { return onlyErr(os.ReadFile("/proc/self/root" + a[0])) },
	"read by /proc/self/cwd": func(a []string) error {
		if err := os.Chdir(filepath.Dir(a[0])); err != nil {
			return err
		}
		return onlyErr(os.ReadFile("/proc/self/cwd/" + filepath.Base(a[0])))
	},
	"read by symlink": func(a []string) error {
		if err := os.Symlink(a[0], "link"); err != nil {
			return err
		}
		return onlyErr(os.ReadFile("link"))
	},
	"read by dots": func(a []string) error {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		return onlyErr(os.ReadFile(wd + strings.Repeat("/..", strings.Count(wd, "/")) + a[0]))
	},
	"read by hard link": func(a []string) error {
		if err := os.Link(a[0], "hard"); err != nil {
			return err
		}
		return onlyErr(os.ReadFile("hard"))
	},
	"read by rename": func(a []string) error {
		if err := os.Rename(a[0], "moved"); err != nil {
			return err
		}
		return onlyErr(os.ReadFile("moved"))
	},
	"write by rename": func(a []string) error {
		if err := os.WriteFile("mine", []byte("changed"), 0o600); err != nil {
			return err
		}
		return os.Rename("mine", a[0])
	},
	"read by handle": func(a []string) error {
		h, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, a[0], 0)
		if err != nil {
			return err
		}
		_ = mount
		dir, err := os.Open(".")
		if err != nil {
			return err
		}
		defer dir.Close()
		fd, err := unix.OpenByHandleAt(int(dir.Fd()), h, unix.O_RDONLY)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	},
	"mount": func(a []string) error {
		if err := os.Mkdir("on", 0o700); err != nil {
			return err
		}
		if err := unix.Mount(filepath.Dir(a[0]), "on", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Unmount("on", 0)
	},
	"user namespace": func([]string) error {
		return (&exec.Cmd{Path: "/proc/self/exe", Args: []string{"x"}, Env: []string{attackPart + "=nothing"}, SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}}).Run()
	},
	"nothing": func([]string) error { return nil },

	"connect": func(a []string) error { return dial("tcp", a[0]) },
	"listen":  func([]string) error { return onlyErr(net.Listen("tcp", "127.0.0.1:0")) },
	"listen without binding": func([]string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	},
	"udp":  func(a []string) error { return dial("udp", a[0]) },
	"unix": func(a []string) error { return dial("unix", a[0]) },
	"mptcp": func(a []string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 262)
		if err != nil {
			return err
		}
		return unix.Connect(fd, inet(a[0]))
	},
	"fast open": func(a []string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, inet(a[0]))
	},
	"vsock":  func([]string) error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"audit":  func([]string) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT) },
	"alg":    func([]string) error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
	"packet": func([]string) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
	"ring": func([]string) error {
		var params [120]byte
		return call(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)))
	},

	"signal": func(a []string) error { return unix.Kill(number(a[0]), unix.SIGCONT) },
	"trace": func(a []string) error {
		runtime.LockOSThread()
		return unix.PtraceSeize(number(a[0]))
	},
	"read memory": func(a []string) error {
		// There is nothing at the address: what is asked is whether one may look.
		err := call(unix.SYS_PROCESS_VM_READV, uintptr(number(a[0])), 0, 0, 0, 0, 0)
		return err
	},
	"read environment": func(a []string) error { return onlyErr(os.ReadFile("/proc/" + a[0] + "/environ")) },
	"read command":     func(a []string) error { return onlyErr(os.ReadFile("/proc/" + a[0] + "/cmdline")) },
	"limit another": func(a []string) error {
		return unix.Prlimit(number(a[0]), unix.RLIMIT_CPU, &unix.Rlimit{Cur: 1000, Max: 1000}, nil)
	},
	"steal a descriptor": func(a []string) error {
		fd, err := unix.PidfdOpen(number(a[0]), 0)
		if err != nil {
			return err
		}
		return onlyErr(unix.PidfdGetfd(fd, 0, 0))
	},
	"keys":         func([]string) error { return onlyErr(unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)) },
	"kernel log":   func([]string) error { return onlyErr(unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)) },
	"another user": func([]string) error { return unix.Setuid(1) },

	"descriptors": func([]string) error {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		var extra []string
		for _, e := range list {
			to, err := os.Readlink("/proc/self/fd/" + e.Name())
			// What the runtime of this program itself has opened is not inherited.
			own := strings.HasPrefix(to, "anon_inode:") || strings.HasSuffix(to, "/fd") || strings.HasPrefix(to, "/sys/fs/cgroup/")
			if number(e.Name()) > 2 && err == nil && !own {
				extra = append(extra, e.Name()+" "+to)
			}
		}
		if len(extra) == 0 {
			return errors.New("there is none")
		}
		fmt.Println("open:", extra)
		return nil
	},
	"core dump": func([]string) error {
		var l unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
			return err
		}
		if l.Max == 0 {
			return errors.New("its size is bounded to 0")
		}
		return nil
	},
	"gain privileges": func([]string) error {
		if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || v == 1 {
			return fmt.Errorf("there are none to be gained (%v)", err)
		}
		return nil
	},
	"capabilities": func([]string) error {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&hdr, &caps[0]); err != nil {
			return err
		}
		if caps[0].Permitted|caps[1].Permitted|caps[0].Inheritable == 0 {
			return errors.New("there are none")
		}
		return nil
	},
	"big file": func([]string) error {
		f, err := os.Create("big")
		if err != nil {
			return err
		}
		defer f.Close()
		signal.Ignore(unix.SIGXFSZ)
		return f.Truncate(64 << 20)
	},
	"many files": func([]string) error {
		for range 200 {
			if _, err := os.Open("/dev/null"); err != nil {
				return err
			}
		}
		return nil
	},
	"much memory": func([]string) error {
		b, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return err
		}
		return unix.Munmap(b)
	},
	// A datagram socket that is one of a pair still sends wherever it is told.
	"datagram of a pair": func(a []string) error {
		pair, err := unix.Socketpair(unix.AF_UNIX, number(a[1]), 0)
		if err != nil {
			return err
		}
		return unix.Sendto(pair[0], []byte("READY=1"), 0, &unix.SockaddrUnix{Name: a[0]})
	},
	"pair": func([]string) error {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC} {
			if _, err := unix.Socketpair(unix.AF_UNIX, kind, 0); err != nil {
				return err
			}
		}
		return nil
	},
	"peek": func(a []string) error { return onlyErr(os.ReadFile("/proc/" + a[0] + "/environ")) },
	// A gateway, and another program of its user that looks into it.
	"peeked at": func(a []string) error {
		if a[2] == "hidden" {
			if err := confine.HideMemory(); err != nil {
				return err
			}
		}
		cmd := exec.Command(a[0], strconv.Itoa(os.Getpid()))
		cmd.Env = []string{attackPart + "=peek", "GORACE=atexit_sleep_ms=0"}
		out, err := cmd.CombinedOutput()
		fmt.Print(string(out))
		return err
	},
	"core dumps": func([]string) error {
		if err := confine.HideMemory(); err != nil {
			return err
		}
		var l unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
			return err
		}
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			return err
		}
		child, err := exec.Command("/bin/sh", "-c", "ulimit -H -c").CombinedOutput()
		fmt.Printf("%d %d %d %s", l.Cur, l.Max, dumpable, child)
		return err
	},
	// The bomb is bounded: a hundred children, which are ended again.
	"fork bomb": func([]string) (err error) {
		var all []*exec.Cmd
		for range 100 {
			c := exec.Command("/bin/sleep", "60")
			if err = c.Start(); err != nil {
				break
			}
			all = append(all, c)
		}
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		return err
	},
	// A gateway that is not root, with threads of its own and one hostile program.
	"gateway": func(a []string) error {
		if err := confine.HideMemory(); err != nil {
			return err
		}
		for range number(a[3]) {
			up := make(chan bool)
			go func() {
				runtime.LockOSThread()
				close(up)
				select {}
			}()
			<-up
		}
		var out bytes.Buffer
		cmd := exec.Command("/proc/self/exe")
		cmd.Path = a[0]
		cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = []string{attackPart + "=fork bomb"}, a[1], &out, &out
		p := confine.Profile{
			Grants: slices.Concat(confine.Base(), confine.Program(a[0], ""), []confine.Grant{{Path: a[1], Access: confine.Own}}),
			Limits: confine.Limits{Processes: number(a[2])}, Demand: []confine.Measure{confine.Files, confine.Processes},
		}
		start, err := confine.Wrap(cmd, p)
		if err != nil {
			return err
		}
		if _, err := start.Started(cmd.Start()); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		fmt.Print(out.String())
		return nil
	},
}

// attack does one and says on standard output how it went.
func attack(part string, args []string) int {
	do := attacks[part]
	if do == nil {
		fmt.Println("no such attack:", part)
		return 2
	}
	if err := do(args); err != nil {
		fmt.Println("stopped:", err)
		return 0
	}
	fmt.Println("done")
	return 0
}

func onlyErr[T any](_ T, err error) error { return err }

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, no := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); no != 0 {
		return no
	}
	return nil
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func dial(network, addr string) error {
	c, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("x"))
	return err
}

func inet(addr string) *unix.SockaddrInet4 {
	_, port, _ := strings.Cut(addr, ":")
	return &unix.SockaddrInet4{Port: number(port), Addr: [4]byte{127, 0, 0, 1}}
}
