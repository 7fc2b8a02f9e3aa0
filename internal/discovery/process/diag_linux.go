package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of unix_diag (linux/unix_diag.h, linux/sock_diag.h) that are asked.
const (
	sockDiagByFamily = 20
	showPeer         = 4 // UDIAG_SHOW_PEER
	attrPeer         = 2 // UNIX_DIAG_PEER
	diagHead         = 16
	maxPeers         = 1 << 20
)

// unixPeers asks the kernel for the other end of every connected local socket
// of this network namespace. Both ends have numbers of their own.
func unixPeers() (map[string]string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("asking for local sockets: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	limit := unix.NsecToTimeval(int64(2e9))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, fmt.Errorf("asking for local sockets: %w", err)
	}
	if err := unix.Sendto(fd, peerQuestion(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("asking for local sockets: %w", err)
	}
	peers := map[string]string{}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading local sockets: %w", err)
		}
		done, err := readPeers(buf[:n], peers)
		if done || err != nil {
			return peers, err
		}
	}
}

// peerQuestion is a dump of all local sockets with their peers.
func peerQuestion() []byte {
	b := make([]byte, unix.SizeofNlMsghdr+24)
	e := binary.NativeEndian
	e.PutUint32(b, uint32(len(b)))
	e.PutUint16(b[4:], sockDiagByFamily)
	e.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[16] = unix.AF_UNIX
	e.PutUint32(b[20:], ^uint32(0)) // every state
	e.PutUint32(b[28:], showPeer)
	return b
}

func readPeers(b []byte, peers map[string]string) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return false, fmt.Errorf("reading local sockets: %w", err)
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return false, errors.New("reading local sockets: the kernel refuses")
		}
		if len(m.Data) < diagHead {
			continue
		}
		inode := binary.NativeEndian.Uint32(m.Data[4:])
		for a := m.Data[diagHead:]; len(a) >= int(unsafe.Sizeof(syscall.RtAttr{})); {
			size, kind := int(binary.NativeEndian.Uint16(a)), binary.NativeEndian.Uint16(a[2:])
			if size < 4 || size > len(a) {
				break
			}
			if kind == attrPeer && size >= 8 && len(peers) < maxPeers {
				peers[socketName(inode)] = socketName(binary.NativeEndian.Uint32(a[4:]))
			}
			a = a[min(len(a), (size+3)&^3):]
		}
	}
	return false, nil
}

func socketName(inode uint32) string { return "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]" }
