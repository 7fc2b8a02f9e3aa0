package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"rutile/internal/access"
)

// maxFile is after how many bytes a file is put aside and another begun.
const maxFile = 64 << 20

// fileReceiver appends to <dir>/<sink>.jsonl, or .cef. It never removes what it put
// aside: that is for whoever collects it.
type fileReceiver struct {
	sink Sink
	cfg  *Config
	max  int64
	f    *os.File
	size int64
}

func (f *fileReceiver) close() {
	if f.f != nil {
		_ = f.f.Close()
		f.f = nil
	}
}

func (f *fileReceiver) path() string {
	ext := ".jsonl"
	if f.sink.Form == FormCEF {
		ext = ".cef"
	}
	return filepath.Join(f.cfg.Dir, f.sink.ID+ext)
}

func (f *fileReceiver) take(_ context.Context, b batch) error {
	err := f.write(b)
	if err != nil {
		f.close()
		return &access.Error{Code: access.CodeUnavailable, Msg: "the file in the data directory cannot be written", Err: err}
	}
	return nil
}

func (f *fileReceiver) write(b batch) error {
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if !f.there() { // somebody took it away: what is written to it now, nobody finds
		f.close()
		if err := f.open(); err != nil {
			return err
		}
	}
	body := append(bytes.Join(b.lines, []byte{'\n'}), '\n')
	if f.size > 0 && f.size+int64(len(body)) > f.max {
		if err := f.aside(); err != nil {
			return err
		}
	}
	if _, err := f.f.Write(body); err != nil {
		return errors.Join(err, f.f.Truncate(f.size)) // no half line is left
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	f.size += int64(len(body))
	return nil
}

// there reports whether the open file is still the one under its name.
func (f *fileReceiver) there() bool {
	is, err := f.f.Stat()
	named, nerr := os.Stat(f.path())
	return err == nil && nerr == nil && os.SameFile(is, named)
}

// open opens the file and drops a line that a crash left in halves.
func (f *fileReceiver) open() error {
	if err := os.MkdirAll(f.cfg.Dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := wholeLines(file)
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.f, f.size = file, size
	return nil
}

// wholeLines returns where the last line that ends does so.
func wholeLines(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(end, int64(len(buf)))
		if _, err := file.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// aside renames the file, so that whoever collects it finds a whole one.
func (f *fileReceiver) aside() error {
	f.close()
	from := f.path()
	at := f.cfg.Now().UTC().Format("20060102T150405.000000Z")
	to := filepath.Join(f.cfg.Dir, fmt.Sprintf("%s-%s%s", f.sink.ID, at, filepath.Ext(from)))
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is there already", filepath.Base(to))
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return f.open()
}
