package audit_test

import (
	"path/filepath"
	"sync"

	"rutile/internal/audit"
)

// hookFS is the real file system with hooks before what it does. A hook that
// returns an error makes the operation fail; one that blocks makes it slow.
type hookFS struct {
	audit.OS
	write func(name string, off int64, b []byte) error
	sync  func(name string) error

	mu  sync.Mutex
	log *recording // of everything that happened, nil if not wanted
}

type hookFile struct {
	audit.File
	fs    *hookFS
	name  string
	inode int
}

func (h *hookFS) Open(name string, create bool) (audit.File, error) {
	f, err := h.OS.Open(name, create)
	if err != nil {
		return nil, err
	}
	inode := 0
	if create {
		inode = h.record(op{kind: opCreate, name: name})
	}
	return &hookFile{f, h, name, inode}, nil
}

func (h *hookFS) Rename(from, to string) error {
	if err := h.OS.Rename(from, to); err != nil {
		return err
	}
	h.record(op{kind: opRename, name: from, to: to})
	return nil
}

func (h *hookFS) Remove(name string) error {
	if err := h.OS.Remove(name); err != nil {
		return err
	}
	h.record(op{kind: opRemove, name: name})
	return nil
}

func (h *hookFS) Mkdir(dir string) error {
	if err := h.OS.Mkdir(dir); err != nil {
		return err
	}
	h.record(op{kind: opMkdir, name: dir})
	return nil
}

func (h *hookFS) SyncDir(dir string) error {
	if h.sync != nil {
		if err := h.sync(dir); err != nil {
			return err
		}
	}
	h.record(op{kind: opSyncDir, name: dir})
	return nil
}

func (f *hookFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fs.write != nil {
		if err := f.fs.write(f.name, off, b); err != nil {
			return 0, err
		}
	}
	n, err := f.File.WriteAt(b, off)
	f.fs.record(op{kind: opWrite, inode: f.inode, off: off, data: append([]byte(nil), b[:n]...)})
	return n, err
}

// Sync does not sync: the recording says what would have been durable.
func (f *hookFile) Sync() error {
	if f.fs.sync != nil {
		if err := f.fs.sync(f.name); err != nil {
			return err
		}
	}
	f.fs.record(op{kind: opSync, inode: f.inode})
	return nil
}

type opKind int

const (
	opCreate opKind = iota
	opWrite
	opSync
	opRename
	opRemove
	opMkdir
	opSyncDir
	opAck  // a leaf was acknowledged
	opMark // the index's watermark moved
)

type op struct {
	kind     opKind
	name, to string
	inode    int
	off      int64
	data     []byte
	ref      audit.Ref
	mark     uint64
}

// dir is the directory whose sync makes the operation durable.
func (o *op) dir() string {
	if o.kind == opRename {
		return filepath.Dir(o.to)
	}
	return filepath.Dir(o.name)
}

type recording struct {
	ops    []op
	inodes int
}

// record appends o and returns the inode it makes.
func (h *hookFS) record(o op) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.log == nil {
		return 0
	}
	if o.kind == opCreate {
		h.log.inodes++
		o.inode = h.log.inodes
	}
	h.log.ops = append(h.log.ops, o)
	return o.inode
}
