package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What each access lets be done to a file, and beneath a directory.
const (
	fileRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	dirRead   = fileRead | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fileWrite = fileRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// Sockets, and devices that a program without privileges cannot make anyway,
	// are not among what may be made.
	dirWrite = dirRead | fileWrite | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_REFER
	execute = unix.LANDLOCK_ACCESS_FS_EXECUTE
)

// rights returns the kernel's rights for an access.
func (p *Profile) rights(a Access, dir bool) (uint64, error) {
	var r uint64
	switch a {
	case Read:
		r = dirRead
	case Exec:
		r = dirRead | execute
	case Write:
		r = dirWrite
	case Own:
		r = dirWrite | execute
	default:
		return 0, fmt.Errorf("access %q is not known", a)
	}
	if p.Sockets && r&unix.LANDLOCK_ACCESS_FS_MAKE_REG != 0 {
		r |= unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
	}
	if p.Sockets {
		r |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	if !dir {
		r &= fileWrite | execute | unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	return r, nil
}

// handledFiles returns the file rights a version of Landlock knows.
func handledFiles(abi int) uint64 {
	all := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1)
	for _, since := range []struct {
		abi   int
		right uint64
	}{
		{2, unix.LANDLOCK_ACCESS_FS_REFER}, {3, unix.LANDLOCK_ACCESS_FS_TRUNCATE}, {5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{9, unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
	} {
		if abi >= since.abi {
			all |= since.right
		}
	}
	return all
}

type netPortAttr struct{ access, port uint64 }

const ruleNetPort = 2

// ruleset makes the rules of the profile, as far as the version knows them.
func (p *Profile) ruleset(abi int) (int, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handledFiles(abi)}
	if abi >= 4 && !p.Connect.Any {
		attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 4 && !p.Listen.Any {
		attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_BIND_TCP
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
		if !p.Sockets {
			attr.Scoped |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		}
	}
	// Older kernels take the longer structure as long as what they do not know
	// is zero.
	r, _, no := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if no != 0 {
		return -1, fmt.Errorf("making a ruleset: %w", no)
	}
	fd := int(r)
	for _, g := range p.Grants {
		if err := p.grant(fd, g, attr.Handled_access_fs); err != nil {
			return -1, err
		}
	}
	for right, ports := range map[uint64][]int{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP: p.Connect.List, unix.LANDLOCK_ACCESS_NET_BIND_TCP: p.Listen.List} {
		if attr.Handled_access_net&right == 0 {
			continue
		}
		for _, port := range ports {
			rule := netPortAttr{right, uint64(port)}
			if err := addRule(fd, ruleNetPort, unsafe.Pointer(&rule)); err != nil {
				return -1, fmt.Errorf("port %d: %w", port, err)
			}
		}
	}
	return fd, nil
}

func addRule(fd, kind int, attr unsafe.Pointer) error {
	if _, _, no := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(fd), uintptr(kind), uintptr(attr), 0, 0, 0); no != 0 {
		return no
	}
	return nil
}

// grant adds the rule of one grant. What is judged is the file that was opened,
// not its name, which may have come to mean another file since.
func (p *Profile) grant(ruleset int, g Grant, handled uint64) error {
	if !filepath.IsAbs(g.Path) {
		return fmt.Errorf("%s: not an absolute path", g.Path)
	}
	fd, err := unix.Open(g.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		if g.Optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, fs.ErrPermission)) {
			return nil
		}
		return fmt.Errorf("%s: %w", g.Path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", g.Path, err)
	}
	if g.Access != Own {
		if err := p.public(fd, g); err != nil {
			return err
		}
	}
	rights, err := p.rights(g.Access, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return fmt.Errorf("%s: %w", g.Path, err)
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & handled, Parent_fd: int32(fd)}
	if err := addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule)); err != nil {
		return fmt.Errorf("%s: %w", g.Path, err)
	}
	return nil
}

// public refuses a grant of what is private, of something in it, and of what it
// is in: a rule cannot leave anything out.
func (p *Profile) public(fd int, g Grant) error {
	name, err := linkOf(fd)
	if err != nil {
		return fmt.Errorf("%s: %w", g.Path, err)
	}
	for _, private := range p.Private {
		if !filepath.IsAbs(private) {
			return fmt.Errorf("%s: what is private needs an absolute path", private)
		}
		pfd, err := unix.Open(private, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", private, err)
		}
		real, err := linkOf(pfd)
		unix.Close(pfd)
		if err != nil {
			return fmt.Errorf("%s: %w", private, err)
		}
		if beneath(name, real) || beneath(real, name) {
			return fmt.Errorf("%s would open %s, which is the gateway's own: grant less, or move the gateway's data", g.Path, private)
		}
	}
	return nil
}

// beneath reports whether name is dir or in it.
func beneath(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

// linkOf returns the real name of an open file.
func linkOf(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf)
	if err != nil {
		return "", fmt.Errorf("finding the real path (is /proc mounted?): %w", err)
	}
	return string(buf[:n]), nil
}
