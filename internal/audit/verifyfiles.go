package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// archive reads what somebody handed over: ordinary files below one directory,
// each of a bounded size. No link leads out of it, and nothing in it makes its
// reader wait or fill its memory.
type archive struct{ root *os.Root }

// maxFile bounds a file that is read whole: a bundle of the largest leaves has
// 4 MiB, the MANIFEST of the largest export 40.
const maxFile = 64 << 20

func openArchive(dir string) (*archive, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &archive{root}, nil
}

// sub returns the archive of a directory in a.
func (a *archive) sub(dir string) (*archive, error) {
	root, err := a.root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &archive{root}, nil
}

func (a *archive) close() { _ = a.root.Close() } // it was only read

// is reports whether path is of the type, following links inside a.
func (a *archive) is(path string, mode fs.FileMode) bool {
	info, err := a.root.Stat(path)
	return err == nil && info.Mode().Type() == mode
}

// open opens an ordinary file. To open a pipe would be to wait for its writer.
func (a *archive) open(path string) (*os.File, error) {
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("%q is not a path", path)
	}
	info, err := a.root.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not an ordinary file", path)
	}
	return a.root.Open(path)
}

func (a *archive) read(path string) ([]byte, error) {
	f, err := a.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := []byte(nil)
	if info.Size() <= maxFile {
		b, err = readAll(io.LimitReader(f, maxFile+1), info.Size())
	}
	if err == nil && max(info.Size(), int64(len(b))) > maxFile { // it may grow while it is read
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return b, err
}

// readAll reads to the end of what is said to have size bytes, and makes room once for
// as many.
func readAll(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, maxFile)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// list returns the names in a directory, sorted, none if it is not there.
func (a *archive) list(dir string) ([]string, error) {
	info, err := a.root.Stat(dir)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	d, err := a.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// readBounded reads a file somebody named, which may be a pipe of his.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// readBeside reads a file that came with another: only an ordinary one.
func readBeside(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not an ordinary file", path)
	}
	return readBounded(path, limit)
}

// missing reports whether err says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func stem(name, suffix string) (string, bool) {
	s, ok := strings.CutSuffix(name, suffix)
	return s, ok && s != ""
}

// mark keeps a root to compare. One must not stand in for another of its size.
func (w *walk) mark(name string, h head) {
	if root, ok := w.marks[h.size]; ok && root != h.root {
		w.report.problem("%s has another root than another checkpoint of %d leaves: the log has two histories", name, h.size)
		return
	}
	w.marks[h.size] = h.root
}
