package confine

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of struct seccomp_data a filter reads. The first half of an
// argument is its low one on every processor we know.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
)

func arg(n uint32) uint32 { return dataArg0 + 8*n }

// x32 marks the numbers of another interface to the same kernel.
const x32 = 0x40000000

// What a filter answers. Where a library tries the newer call first and falls
// back, the answer is that there is none.
const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	deny   = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// namespaces are the flags of clone that make new ones: each gives rights over
// parts of the kernel that a confined program has no use for.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// never are the calls no server needs and attackers do: looking into other
// processes, keys of the user, parts of the kernel that only administration uses.
func never() []uint32 {
	return append([]uint32{
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_PROCESS_MADVISE,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_ACCT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_SYSLOG,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	}, neverHere()...)
}

// program is a filter in the making. Every block begins and ends with the
// number of the call loaded.
type program []unix.SockFilter

func (p *program) op(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *program) load(offset uint32) { p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (p *program) ret(answer uint32)  { p.op(unix.BPF_RET|unix.BPF_K, answer, 0, 0) }

// equal returns answer if what is loaded is k.
func (p *program) equal(k, answer uint32) {
	p.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, 0, 1)
	p.ret(answer)
}

// any returns answer if one of the bits is set.
func (p *program) any(bits, answer uint32) {
	p.op(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, bits, 0, 1)
	p.ret(answer)
}

// on runs body for one call; body must end in an answer on every way.
func (p *program) on(number uint32, body func(*program)) {
	var b program
	body(&b)
	p.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, number, 0, uint8(len(b)))
	*p = append(*p, b...)
}

// compile makes the filter of a profile.
func (p *Profile) compile() program {
	var f program
	f.load(dataArch)
	f.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, auditArch, 1, 0)
	f.ret(refuse) // the calls of another processor have other numbers
	f.load(dataNumber)
	f.op(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, x32, 0, 1)
	f.ret(absent)
	for _, n := range never() {
		f.equal(n, refuse)
	}
	// A ring carries calls past every filter, and clone3 its flags in memory.
	for _, n := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_CLONE3} {
		f.equal(n, absent)
	}
	f.on(unix.SYS_CLONE, func(b *program) {
		b.load(arg(0))
		b.any(namespaces, refuse)
		b.ret(allow)
	})
	f.on(unix.SYS_IOCTL, func(b *program) { // typing for somebody else
		b.load(arg(1))
		b.equal(unix.TIOCSTI, refuse)
		b.equal(unix.TIOCLINUX, refuse)
		b.ret(allow)
	})
	f.on(unix.SYS_PRLIMIT64, func(b *program) { // another process's limits, ours among them
		b.load(arg(0))
		b.equal(0, allow)
		b.ret(refuse)
	})
	f.on(unix.SYS_SOCKET, p.socket)
	f.on(unix.SYS_SOCKETPAIR, p.pair)
	if p.Listen.None() {
		// Listening without binding takes any free port.
		f.equal(unix.SYS_LISTEN, deny)
	}
	if !p.Connect.Any {
		// Opening a connection by sending is not seen as connecting.
		for n, flags := range map[uint32]uint32{unix.SYS_SENDTO: 3, unix.SYS_SENDMSG: 2, unix.SYS_SENDMMSG: 3} {
			f.on(n, func(b *program) {
				b.load(arg(flags))
				b.any(unix.MSG_FASTOPEN, deny)
				b.ret(allow)
			})
		}
	}
	f.ret(allow)
	return f
}

// pair says which connected sockets may be made. Those of streams lead nowhere;
// one of datagrams can be told to send to any other socket.
func (p *Profile) pair(b *program) {
	b.load(arg(0))
	b.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.AF_UNIX, 1, 0)
	b.ret(deny)
	if p.Sockets {
		b.ret(allow)
		return
	}
	b.load(arg(1))
	b.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0xf, 0, 0)
	b.equal(unix.SOCK_STREAM, allow)
	b.equal(unix.SOCK_SEQPACKET, allow)
	b.ret(deny)
}

// socket says which sockets may be made.
func (p *Profile) socket(b *program) {
	const route = 0 // what interfaces there are
	inet := func(b *program) {
		if p.Connect.None() && p.Listen.None() {
			b.ret(deny)
			return
		}
		if p.Connect.Any && p.Listen.Any {
			b.ret(allow)
			return
		}
		// Only what the rules for TCP see, and datagrams where names are to be
		// resolved.
		b.load(arg(1))
		b.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0xf, 0, 0)
		if p.Connect.datagrams() {
			b.equal(unix.SOCK_DGRAM, allow)
		}
		b.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SOCK_STREAM, 1, 0)
		b.ret(deny)
		b.load(arg(2))
		b.equal(0, allow)
		b.equal(unix.IPPROTO_TCP, allow)
		b.ret(deny)
	}
	b.load(arg(0))
	if p.Sockets {
		b.equal(unix.AF_UNIX, allow)
	}
	b.on(unix.AF_INET, inet)
	b.on(unix.AF_INET6, inet)
	b.on(unix.AF_NETLINK, func(b *program) {
		b.load(arg(2))
		b.equal(route, allow)
		b.ret(deny)
	})
	b.ret(deny)
}

func canFilter() bool {
	if runtime.GOARCH != filterArch {
		return false
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return no == 0
}

// filter installs the filter for this thread, which becomes the program.
func (p *Profile) filter() error {
	f := p.compile()
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); no != 0 {
		return no
	}
	return nil
}
