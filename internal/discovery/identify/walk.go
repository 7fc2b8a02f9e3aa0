package identify

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"rutile/internal/discovery"
)

// bounds are what of a copy is read at most.
type bounds struct {
	file  int64 // bytes of one file, unpacked
	total int64 // bytes of all, unpacked
	files int
	zips  bool // files in archives are read too
}

// walk reads every JSON file of a copy, which is a file, a folder or, where bounds
// allow it, an archive. Links are not followed. Names of errors are those inside
// of the copy.
type walk struct {
	bounds
	each    func(name string, raw []byte) error
	skipped func(name, why string)
	read    int64
	seen    int
}

func (w *walk) run(ctx context.Context, at string) error {
	info, err := os.Stat(at)
	switch {
	case err != nil:
		return errors.New("it is not there or cannot be read")
	case info.Mode().IsRegular():
		return w.single(ctx, at)
	case !info.IsDir():
		return errors.New("it is neither a file nor a folder")
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return errors.New("the folder cannot be read")
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%q cannot be read", name)
		case d.IsDir():
			return nil
		case !w.wanted(name):
			return nil
		case !d.Type().IsRegular():
			w.skipped(name, "a link or no regular file")
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("%q cannot be opened", name)
		}
		defer f.Close()
		return w.opened(ctx, name, f)
	})
}

func (w *walk) wanted(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".json" || w.zips && ext == ".zip"
}

func (w *walk) single(ctx context.Context, at string) error {
	f, err := os.Open(at)
	if err != nil {
		return errors.New("it cannot be opened")
	}
	defer f.Close()
	return w.opened(ctx, path.Base(strings.ReplaceAll(at, `\`, "/")), f)
}

func (w *walk) opened(ctx context.Context, name string, f fs.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%q is no regular file", name)
	}
	at, ok := f.(io.ReaderAt)
	if !w.zips || strings.ToLower(path.Ext(name)) != ".zip" || !ok {
		return w.take(name, f)
	}
	archive, err := zip.NewReader(at, info.Size())
	if err != nil {
		return fmt.Errorf("%q is no archive that can be read", name)
	}
	for _, entry := range archive.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		inside := name + "/" + entry.Name
		if strings.ToLower(path.Ext(entry.Name)) != ".json" {
			continue
		}
		if !entry.Mode().IsRegular() {
			w.skipped(inside, "a link or no regular file")
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return fmt.Errorf("%q cannot be unpacked", inside)
		}
		err = w.take(inside, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// take reads one file. What it says of its size is not believed.
func (w *walk) take(name string, r io.Reader) error {
	if w.seen++; w.seen > w.files {
		return fmt.Errorf("it has more than %d files", w.files)
	}
	raw, err := io.ReadAll(io.LimitReader(r, w.file+1))
	if err != nil {
		return fmt.Errorf("%q cannot be read to its end", name)
	}
	if int64(len(raw)) > w.file {
		return fmt.Errorf("%q has more than %d bytes", name, w.file)
	}
	if w.read += int64(len(raw)); w.read > w.total {
		return fmt.Errorf("it has more than %d bytes in all", w.total)
	}
	return w.each(name, raw)
}

// unread tells of records that cannot be read: the first few by name.
type unread struct {
	into *discovery.Sink
	n    int
}

// maxNamed is how many of them are named.
const maxNamed = 20

func (u *unread) add(name, why string) {
	if u.n++; u.n <= maxNamed {
		u.into.Looked(discovery.Coverage{Place: bounded(name), Outcome: discovery.Unreadable, Why: bounded(why)})
	}
}

// bounded is text of a copy that may be shown.
func bounded(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
