// Package wrap routes entries of clients' files through Rutile and puts them back.
//
// One entry's bytes are replaced and nothing else of a file: two parsers read the
// result before it is written. Before a file is touched its bytes are in a backup
// and what is meant is in a journal, both durable; the file is then exchanged for
// the new one at once, and back if somebody wrote in between. A process that ends
// at any moment leaves the file as it was or as it was meant to be, and the next
// run settles the journal. Files of others, files that programs read differently
// and everything that cannot be restored byte for byte MUST be refused with the
// reason. The journal and the backups hold what clients' files hold: they stay in
// the user's data folder and are never exported.
//
// It registers nothing with the gateway and starts nothing.
package wrap

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery/clientconfig"
)

// State is how far an edit is.
type State string

// The states of an edit.
const (
	Planned State = "planned" // in the journal; the file may or may not have it
	Done    State = "done"
	Void    State = "void"   // it never reached the file
	Undone  State = "undone" // taken back, or found to be gone
)

// Record is what was done to one file.
type Record struct {
	Version   int    `json:"version"`
	Path      string `json:"path"` // as its client names it
	Real      string `json:"real"` // without links
	Base      string `json:"base"` // the folder it may not lead out of
	Row       string `json:"row"`  // of the table of clients
	Client    string `json:"client"`
	Format    string `json:"format"`
	NameField string `json:"nameField,omitempty"`
	Edits     []Edit `json:"edits"`
}

// Edit is one change of a file.
type Edit struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	State  State     `json:"state"`
	Undo   bool      `json:"undo,omitempty"` // it puts back what earlier ones changed
	Before string    `json:"before"`         // digest of the bytes, and name of their backup
	After  string    `json:"after"`
	Temp   string    `json:"temp,omitempty"` // what stands beside the file meanwhile
	Pieces []Piece   `json:"pieces,omitempty"`
}

// Piece is one entry that was changed.
type Piece struct {
	Name     string              `json:"name"`
	Way      []clientconfig.Step `json:"way"`
	Server   string              `json:"server"`
	Agent    string              `json:"agent,omitempty"`
	Key      string              `json:"key,omitempty"` // canonical key of what it led to
	Original []byte              `json:"original"`
	Wrapped  []byte              `json:"wrapped"`
}

const recordVersion = 1

// Book is the folder with the journal and the backups. Its methods that write MUST
// be called between Lock and what that returns.
type Book struct {
	Dir  string
	Disk Disk
	Now  func() time.Time
}

// Lock keeps other processes from writing until the returned function is called.
func (b *Book) Lock() (func(), error) {
	for _, dir := range []string{b.Dir, b.files(), b.backups()} {
		if err := b.Disk.MakeDir(dir); err != nil {
			return nil, fmt.Errorf("making the folder of the journal: %w", reason(err))
		}
	}
	free, err := lock(filepath.Join(b.Dir, "lock"))
	if err != nil {
		return nil, errors.New("another rutile is wrapping or unwrapping right now: try again when it has ended")
	}
	return free, nil
}

func (b *Book) files() string   { return filepath.Join(b.Dir, "journal") }
func (b *Book) backups() string { return filepath.Join(b.Dir, "backup") }

func (b *Book) recordFile(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(b.files(), hex.EncodeToString(sum[:12])+".json")
}

// digest names bytes; the backup of a file is called so.
func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Records returns every record, by path. One that cannot be read is an error
// beside the others.
func (b *Book) Records() ([]Record, error) {
	names, err := b.Disk.List(b.files())
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", reason(err))
	}
	var out []Record
	var bad error
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") || strings.HasPrefix(name, ".") {
			continue
		}
		r, err := b.load(filepath.Join(b.files(), name))
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("the journal %s: %w", name, err))
			continue
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(x, y Record) int { return strings.Compare(x.Path, y.Path) })
	return out, bad
}

func (b *Book) load(file string) (*Record, error) {
	raw, err := b.Disk.Read(file)
	if err != nil {
		return nil, reason(err)
	}
	var r Record
	if err := json.Unmarshal(raw, &r); err != nil || r.Path == "" {
		return nil, errors.New("it is damaged; the files beside it are not")
	}
	if r.Version != recordVersion {
		return nil, errors.New("another version of rutile wrote it")
	}
	return &r, nil
}

// record is that of a file, nil where nothing was done to it.
func (b *Book) record(path string) (*Record, error) {
	r, err := b.load(b.recordFile(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

// keep makes a record durable.
func (b *Book) keep(r *Record) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return b.put(b.recordFile(r.Path), append(raw, '\n'))
}

// put writes a file of our own whole or not at all.
func (b *Book) put(file string, raw []byte) error {
	temp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"."+token()+".tmp")
	f, err := b.Disk.Create(temp, 0o600)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", reason(err))
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = b.Disk.Rename(temp, file)
	}
	if err == nil {
		err = b.Disk.SyncDir(filepath.Dir(file))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the journal: %w", reason(err)), quiet(b.Disk.Remove(temp)))
	}
	return nil
}

// backup keeps bytes under their digest.
func (b *Book) backup(raw []byte) error {
	file := filepath.Join(b.backups(), digest(raw))
	if had, err := b.Disk.Read(file); err == nil && bytes.Equal(had, raw) {
		return b.Disk.SyncDir(b.backups()) // an earlier run may have ended before it
	}
	return b.put(file, raw)
}

// kept are the bytes of a backup, checked against their name.
func (b *Book) kept(sum string) ([]byte, error) {
	raw, err := b.Disk.Read(filepath.Join(b.backups(), sum))
	if err != nil {
		return nil, fmt.Errorf("the backup: %w", reason(err))
	}
	if digest(raw) != sum {
		return nil, errors.New("the backup was changed since it was made")
	}
	return raw, nil
}

// live are the edits of a file that count: those since it was last put back.
func (r *Record) live() []*Edit {
	var out []*Edit
	for i := range r.Edits {
		if e := &r.Edits[i]; e.State == Done && !e.Undo {
			out = append(out, e)
		}
	}
	return out
}

// Pieces are the entries of the file that are routed, as far as the journal knows.
func (r *Record) Pieces() []Piece {
	var out []Piece
	for _, e := range r.live() {
		out = append(out, e.Pieces...)
	}
	return out
}

func (r *Record) row() *clientconfig.Row {
	return &clientconfig.Row{ID: r.Row, Client: r.Client, Format: r.Format, NameField: r.NameField}
}

func token() string { return strings.ToLower(rand.Text()[:12]) }

// reason is an error without the path in it, which messages show in their own way.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// quiet is an error that says nothing new of a file that is not there.
func quiet(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
