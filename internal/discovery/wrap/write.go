package wrap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// tries bounds how often a file is written that its client keeps writing.
const tries = 3

// Errors of writing that a caller tells apart.
var (
	errMoved = errors.New("its client wrote it three times meanwhile: close the client, or try again")
	errAgain = errors.New("it was written meanwhile")
)

// next makes the new bytes of a file from those it has now.
type next func(raw []byte) (out []byte, pieces []Piece, err error)

// edit brings a file to what next makes of it. The record gets the edit, and the
// file has it whole or is untouched.
func (b *Book) edit(r *Record, undo bool, make next) error {
	if err := b.settle(r); err != nil {
		return err
	}
	for range tries {
		err := b.attempt(r, undo, make)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
	return errMoved
}

// attempt is one try: backup and journal, then the file.
func (b *Book) attempt(r *Record, undo bool, make next) error {
	info, raw, err := b.look(r)
	if err != nil {
		return err
	}
	out, pieces, err := make(raw)
	if err != nil {
		return err
	}
	if bytes.Equal(raw, out) {
		return nil
	}
	id := token()
	temp := filepath.Join(filepath.Dir(r.Real), ".rutile-"+id+".tmp")
	e := Edit{ID: id, At: b.Now().UTC(), State: Planned, Undo: undo, Before: digest(raw), After: digest(out), Temp: temp, Pieces: pieces}
	if err := b.backup(raw); err != nil {
		return err
	}
	r.Edits = append(r.Edits, e)
	if err := b.keep(r); err != nil {
		r.Edits = r.Edits[:len(r.Edits)-1]
		return err
	}
	werr := b.swap(r, info, out, &r.Edits[len(r.Edits)-1])
	if werr == nil {
		return nil
	}
	// What is left of it is found out as after a crash.
	if err := b.settle(r); err != nil {
		return errors.Join(werr, err)
	}
	return werr
}

// look reads the file and checks that it is one that may be edited.
func (b *Book) look(r *Record) (fs.FileInfo, []byte, error) {
	real, err := b.Disk.Real(filepath.FromSlash(r.Path))
	if err != nil {
		return nil, nil, reason(err)
	}
	base, err := b.Disk.Real(filepath.FromSlash(r.Base))
	if err != nil {
		return nil, nil, reason(err)
	}
	rel, err := filepath.Rel(base, real)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, nil, unfit("it is a link that leads out of the folder of its owner")
	}
	r.Real = real
	info, err := b.Disk.Stat(real)
	if err != nil {
		return nil, nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, unfit("it is not a regular file")
	}
	if info.Size() > maxFile {
		return nil, nil, unfit("it is larger than 20 MiB")
	}
	ours, names := ownership(info)
	switch {
	case !ours:
		return nil, nil, unfit("it belongs to another user: wrap as that user")
	case names > 1:
		return nil, nil, unfit("it has several names (hard links), one of which would keep the old text")
	}
	raw, err := b.Disk.Read(real)
	if err != nil {
		return nil, nil, reason(err)
	}
	return info, raw, nil
}

// swap puts out in the place of the file, if that still is what the edit began
// with.
func (b *Book) swap(r *Record, info fs.FileInfo, out []byte, e *Edit) error {
	if err := b.stage(e.Temp, r.Real, info, out); err != nil {
		return err
	}
	raw, err := b.Disk.Read(r.Real)
	if err != nil {
		return reason(err)
	}
	if digest(raw) != e.Before {
		return errAgain
	}
	if real, err := b.Disk.Real(filepath.FromSlash(r.Path)); err != nil || real != r.Real {
		return errAgain // a link was turned elsewhere
	}
	if err := b.Disk.Exchange(e.Temp, r.Real); err != nil {
		return fmt.Errorf("exchanging the file: %w", reason(err))
	}
	if err := b.Disk.SyncDir(filepath.Dir(r.Real)); err != nil {
		return reason(err)
	}
	was, err := b.Disk.Read(e.Temp)
	if err != nil {
		return reason(err)
	}
	if digest(was) != e.Before {
		return errAgain // settling exchanges back
	}
	return b.finish(r, e)
}

// stage writes the new file beside the old one, with its mode.
func (b *Book) stage(temp, real string, info fs.FileInfo, out []byte) error {
	f, err := b.Disk.Create(temp, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("writing beside the file: %w", reason(err))
	}
	_, err = f.Write(out)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = b.Disk.Attributes(real, temp)
	}
	if err != nil {
		return fmt.Errorf("writing beside the file: %w", reason(err))
	}
	return nil
}

// finish says that an edit is done.
func (b *Book) finish(r *Record, e *Edit) error {
	if err := b.Disk.Remove(e.Temp); quiet(err) != nil {
		return reason(err)
	}
	if err := b.Disk.SyncDir(filepath.Dir(e.Temp)); err != nil {
		return reason(err)
	}
	e.State, e.Temp = Done, ""
	if e.Undo {
		for i := range r.Edits {
			if r.Edits[i].State == Done {
				r.Edits[i].State = Undone
			}
		}
	}
	return b.keep(r)
}

// Settle finds out what became of every edit a process did not live to finish.
func (b *Book) Settle() error {
	records, bad := b.Records()
	for i := range records {
		if err := b.settle(&records[i]); err != nil {
			bad = errors.Join(bad, fmt.Errorf("settling %s: %w", records[i].Path, err))
		}
	}
	return bad
}

// settle finds out what became of edits that were planned when a process ended,
// and leaves each done or void and nothing of ours beside the file.
func (b *Book) settle(r *Record) error {
	for i := range r.Edits {
		if r.Edits[i].State != Planned {
			continue
		}
		if err := b.settleOne(r, &r.Edits[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *Book) settleOne(r *Record, e *Edit) error {
	now, err := b.Disk.Read(r.Real)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return reason(err)
	}
	gone := err != nil
	temp, err := b.Disk.Read(e.Temp)
	if errors.Is(err, fs.ErrNotExist) {
		// Nothing beside the file: it was never written, or already taken away.
		if !gone && digest(now) == e.After {
			return b.finish(r, e)
		}
		return b.void(r, e)
	}
	if err != nil {
		return reason(err)
	}
	switch {
	case digest(temp) == e.Before: // exchanged; the client may have gone on from there
		return b.finish(r, e)
	case !gone && digest(now) == e.After:
		return b.back(r, e) // somebody wrote between our reading and the exchange
	case digest(temp) == e.After || !gone && digest(now) == e.Before:
		return b.void(r, e) // not exchanged
	}
	// Both were written by somebody. The one in place is the newer.
	if err := b.backup(temp); err != nil {
		return err
	}
	return b.void(r, e)
}

// back gives the file what its client wrote while we exchanged it.
func (b *Book) back(r *Record, e *Edit) error {
	for range tries {
		if err := b.Disk.Exchange(e.Temp, r.Real); err != nil {
			return fmt.Errorf("exchanging the file back: %w", reason(err))
		}
		if err := b.Disk.SyncDir(filepath.Dir(r.Real)); err != nil {
			return reason(err)
		}
		temp, err := b.Disk.Read(e.Temp)
		if err != nil {
			return reason(err)
		}
		if digest(temp) == e.After {
			return b.void(r, e)
		}
		// It was written once more in that moment: the newer goes back in place, and
		// the older is kept.
		now, err := b.Disk.Read(r.Real)
		if err != nil {
			return reason(err)
		}
		if err := b.backup(now); err != nil {
			return err
		}
		e.After = digest(now)
		if err := b.keep(r); err != nil {
			return err
		}
	}
	return errMoved
}

// void says that an edit never was.
func (b *Book) void(r *Record, e *Edit) error {
	if err := b.Disk.Remove(e.Temp); quiet(err) != nil {
		return reason(err)
	}
	if err := b.Disk.SyncDir(filepath.Dir(e.Temp)); quiet(err) != nil {
		return reason(err)
	}
	e.State, e.Temp, e.Pieces = Void, "", nil
	return b.keep(r)
}
