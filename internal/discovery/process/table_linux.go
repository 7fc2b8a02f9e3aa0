package process

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxArgs bounds what is read of one command line.
const maxArgs = 256 << 10

// read reads procfs. Of a process it opens stat, cmdline and fd, and no other
// file.
func (s Scanner) read(ctx context.Context) (*Table, error) {
	root := cmp.Or(s.Root, "/proc")
	names, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("reading the processes: %w", err)
	}
	t := &Table{Procs: map[int]*Proc{}}
	fds := &descriptors{root: root, of: map[int]map[string]bool{}}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		p, err := readProc(filepath.Join(root, n.Name()), pid)
		switch {
		case err == nil:
			t.Procs[pid] = p
		case !errors.Is(err, fs.ErrNotExist):
			t.Hidden++
		}
	}
	if len(t.Procs) == 0 {
		return nil, fmt.Errorf("reading the processes: there are none in %s", root)
	}
	t.Sockets, err = listening(root)
	if err != nil {
		t.Blind = "the table of sockets is not readable"
	}
	if s.Root == "" {
		fds.peers, err = unixPeers()
		if err != nil && t.Blind == "" {
			t.Blind = "the kernel does not tell how local sockets are connected"
		}
	}
	t.ends = fds
	t.attribute(fds)
	t.Closed = fds.shut
	return t, nil
}

func readProc(dir string, pid int) (*Proc, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil, err
	}
	// The name of the program is in parentheses and may hold some itself.
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 2 {
		return nil, fs.ErrInvalid
	}
	p := &Proc{PID: pid, User: -1}
	if p.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return nil, fs.ErrInvalid
	}
	if info, err := os.Stat(dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			p.User = int(st.Uid)
		}
	}
	if p.Args, err = readArgs(dir); err != nil {
		return nil, err
	}
	p.Exe, _ = os.Readlink(filepath.Join(dir, "exe")) // not visible of other users' processes
	p.Exe = strings.TrimSuffix(p.Exe, " (deleted)")
	p.Dir, _ = os.Readlink(filepath.Join(dir, "cwd"))
	return p, nil
}

func readArgs(dir string) ([]string, error) {
	f, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := io.ReadAll(io.LimitReader(f, maxArgs))
	if err != nil {
		return nil, err
	}
	if line = bytes.TrimRight(line, "\x00"); len(line) > 0 {
		return strings.Split(string(line), "\x00"), nil
	}
	return nil, nil
}

// pids are the processes there are.
func (s Scanner) pids(context.Context) ([]int, error) {
	dir, err := os.Open(cmp.Or(s.Root, "/proc"))
	if err != nil {
		return nil, fmt.Errorf("reading the processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading the processes: %w", err)
	}
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}

// args are the command line of a process, nil if it is not visible.
func (s Scanner) args(_ context.Context, pid int) []string {
	args, _ := readArgs(filepath.Join(cmp.Or(s.Root, "/proc"), strconv.Itoa(pid))) // it may have ended
	return args
}

// sockets are those that listen, each with its inode.
func (s Scanner) sockets() []Socket {
	out, _ := listening(cmp.Or(s.Root, "/proc")) // a look says so
	return out
}

// descriptors knows what the descriptors of processes lead to.
type descriptors struct {
	root  string
	of    map[int]map[string]bool // by process, as /proc names them; nil if not visible
	peers map[string]string       // the other end of a local socket
	shut  int                     // processes whose descriptors are not visible
}

func (d *descriptors) files(pid int) map[string]bool {
	if f, ok := d.of[pid]; ok {
		return f
	}
	var all map[string]bool
	dir := filepath.Join(d.root, strconv.Itoa(pid), "fd")
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		d.shut++
	}
	if err == nil {
		all = map[string]bool{}
		for _, n := range names {
			if to, err := os.Readlink(filepath.Join(dir, n.Name())); err == nil && (strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "socket:")) {
				all[to] = true
			}
		}
	}
	d.of[pid] = all
	return all
}

// joined compares both standard streams of the child with what the parent has
// open: the same pipe, or the other end of the same pair of sockets. That two
// numbers are neighbours is no proof.
func (d *descriptors) joined(child, parent int) (yes, known bool) {
	at := d.files(parent)
	if at == nil {
		return false, false
	}
	for fd := range 2 {
		to, err := os.Readlink(filepath.Join(d.root, strconv.Itoa(child), "fd", strconv.Itoa(fd)))
		switch {
		case err != nil:
			return false, false
		case strings.HasPrefix(to, "pipe:"):
			if !at[to] {
				return false, true
			}
		case strings.HasPrefix(to, "socket:"):
			if peer := d.peers[to]; peer == "" || !at[peer] {
				return false, d.peers != nil
			}
		default:
			return false, true
		}
	}
	return true, true
}

// attribute finds the owners of the listening sockets.
func (t *Table) attribute(d *descriptors) {
	wanted := map[string][]int{}
	for i, s := range t.Sockets {
		name := "socket:[" + strconv.Itoa(s.PID) + "]" // its inode, until the owner is known
		wanted[name] = append(wanted[name], i)
		t.Sockets[i].PID = 0
	}
	for _, pid := range t.pids() {
		for f := range d.files(pid) {
			for _, i := range wanted[f] {
				if t.Sockets[i].PID == 0 { // a child inherits it: the lowest number is the elder
					t.Sockets[i].PID = pid
				}
			}
		}
	}
}

// listening reads the TCP sockets that listen; PID holds their inode.
func listening(root string) ([]Socket, error) {
	var out []Socket
	var read int
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(root, "net", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the sockets: %w", err)
		}
		read++
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
				continue
			}
			addr, ok := hexAddress(f[1])
			inode, err := strconv.Atoi(f[9])
			if ok && err == nil && inode > 0 {
				out = append(out, Socket{Address: addr, PID: inode})
			}
		}
	}
	if read == 0 {
		return nil, errors.New("reading the sockets: there is no table of them")
	}
	slices.SortFunc(out, func(a, b Socket) int { return a.Address.Compare(b.Address) })
	return out, nil
}

// hexAddress reads an address of the kernel's table: words of 32 bits in the
// machine's order, and a port.
func hexAddress(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
