package wrap

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is the file system as wrapping uses it: one method a system call, so that a
// test may stop after any of them. The zero System is the real one.
type Disk interface {
	Read(path string) ([]byte, error)
	Stat(path string) (fs.FileInfo, error) // of the file itself, not what it links to
	Real(path string) (string, error)
	List(dir string) ([]string, error)
	MakeDir(dir string) error
	Create(path string, mode fs.FileMode) (File, error)
	Rename(from, to string) error
	// Exchange swaps two files of one folder at once; nobody sees neither.
	Exchange(a, b string) error
	Remove(path string) error
	SyncDir(dir string) error
	// Attributes takes over what else a file carries: its group and access list.
	Attributes(from, to string) error
}

// File is a file being written.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// maxFile is the most of a client's file that is edited, in bytes.
const maxFile = 20 << 20

// System is the file system of the machine.
type System struct{}

// Read returns a regular file of at most 20 MiB.
func (System) Read(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("it is larger than 20 MiB")
	}
	return b, err
}

// Stat is os.Lstat.
func (System) Stat(path string) (fs.FileInfo, error) { return os.Lstat(path) }

// Real is the path without links.
func (System) Real(path string) (string, error) { return filepath.EvalSymlinks(path) }

// List are the names in a folder.
func (System) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return out, err
}

// MakeDir makes a folder and those above it, for the owner only.
func (System) MakeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

// Create makes a file that was not there, with exactly this mode.
func (System) Create(path string, mode fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// Rename is os.Rename.
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// Exchange swaps two files.
func (System) Exchange(a, b string) error { return exchange(a, b) }

// Remove is os.Remove.
func (System) Remove(path string) error { return os.Remove(path) }

// SyncDir makes the names of a folder durable.
func (System) SyncDir(dir string) error { return syncDir(dir) }

// Attributes takes over group and access list.
func (System) Attributes(from, to string) error { return attributes(from, to) }
