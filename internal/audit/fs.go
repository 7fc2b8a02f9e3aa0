package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// FS is what the log writes through, so that tests can make a disk fail. Names
// are paths of the operating system. OS is the real one.
type FS interface {
	// Open opens name for reading, or for writing too if create: then it is made
	// with mode 0600 and emptied if it was there.
	Open(name string, create bool) (File, error)
	// Rename replaces to.
	Rename(from, to string) error
	Remove(name string) error
	// Mkdir makes dir with mode 0700; it may exist, its parent must.
	Mkdir(dir string) error
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// List returns the names in dir, sorted; none if it does not exist.
	List(dir string) ([]string, error)
}

// File is an open file. Sync returns only when what was written is durable.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	// Size is how many bytes it has.
	Size() (int64, error)
}

// OS is the file system of the operating system.
type OS struct{}

// Open opens name.
func (OS) Open(name string, create bool) (File, error) {
	flag := os.O_RDONLY
	if create {
		flag = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename replaces to with from.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes name.
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir makes dir.
func (OS) Mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// SyncDir makes the entries of dir durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDirectory(d)
}

// List returns the names in dir.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	sort.Strings(names)
	return names, nil
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readFile returns all of name.
func readFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return readAll(io.NewSectionReader(f, 0, 1<<62), size)
}

// makeDirs makes dir and the parents it lacks below root, each durably.
func makeDirs(fsys FS, root, dir string) error {
	if dir == root {
		return nil
	}
	parent := filepath.Dir(dir)
	if len(parent) < len(root) {
		return fmt.Errorf("making directories: %q is outside %q", dir, root)
	}
	if err := makeDirs(fsys, root, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// writeAtomic replaces name with data: temporary file in tmp, sync, rename. The
// caller syncs the directory. A sync that failed is a syncError.
func writeAtomic(fsys FS, tmp, name string, data []byte) error {
	f, err := fsys.Open(tmp, true)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		if err = f.Sync(); err != nil {
			err = &syncError{err}
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	return fsys.Rename(tmp, name)
}

// syncError marks the failure after which nothing about the file is known (E5).
type syncError struct{ err error }

func (e *syncError) Error() string { return "sync: " + e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }
