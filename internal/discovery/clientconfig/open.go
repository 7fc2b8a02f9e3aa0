package clientconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"rutile/internal/discovery"
)

// maxFile is the most of a file that is read.
const maxFile = 20 << 20

// refusal says why a file was not read.
type refusal struct {
	outcome discovery.Outcome
	why     string
}

// Error is the reason.
func (r *refusal) Error() string { return r.why }

// read returns the bytes of a regular file that lies inside of base once links
// are followed. It blocks on nothing another process has at the other end.
func read(file, base string) ([]byte, fs.FileInfo, *refusal) {
	f, info, err := open(filepath.FromSlash(file), filepath.FromSlash(base))
	if err != nil {
		return nil, nil, refused(err)
	}
	defer f.Close()
	if info.Size() > maxFile {
		return nil, info, &refusal{discovery.Skipped, fmt.Sprintf("%d MiB, more than the %d that are read", info.Size()>>20, maxFile>>20)}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, info, refused(err)
	}
	if len(b) > maxFile {
		return nil, info, &refusal{discovery.Skipped, "it grew while it was read"}
	}
	return b, info, nil
}

// open opens what file leads to through a root that no link leads out of.
func open(file, base string) (*os.File, fs.FileInfo, error) {
	realBase, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, nil, err
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil, nil, err
	}
	rel, err := filepath.Rel(realBase, real)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, nil, &refusal{discovery.Skipped, "a link that leads out of the scanned folder"}
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &refusal{discovery.Skipped, "not a regular file"}
	}
	root, err := os.OpenRoot(realBase)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	// Another file may have come in its place meanwhile.
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = &refusal{discovery.Skipped, "not a regular file"}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// refused says why without the path, which coverage shows in its own way.
func refused(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, fs.ErrPermission):
		return &refusal{discovery.Denied, "not visible to this user"}
	case errors.Is(err, fs.ErrNotExist):
		return &refusal{discovery.Absent, "gone while looking, or a link to nothing"}
	case errors.Is(err, syscall.ELOOP), strings.Contains(err.Error(), "too many links"):
		return &refusal{discovery.Skipped, "links that lead to one another"}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &refusal{discovery.Denied, pe.Err.Error()}
	}
	return &refusal{discovery.Denied, "it cannot be read"}
}
