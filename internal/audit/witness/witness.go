// Package witness cosigns what logs signed, for a second machine or another
// organisation, and asks others to (C2SP tlog-witness, tlog-cosignature).
//
// A Witness keeps the largest checkpoint of each log it is given the key of, and
// cosigns another one only if it continues that one. What it keeps is durable before it
// answers, and comparing and keeping are one step. So it never cosigns two histories,
// over restarts too, as long as its directory is not put back to an older state. It
// knows nothing of what a log holds.
package witness

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Config configures a Witness. Name, Dir and Logs are required.
type Config struct {
	Name string   // key name: a URL without scheme that says whose it is
	Dir  string   // where key and state are kept; made if it is not there
	Logs []string // vkeys of the logs that are witnessed
	Now  func() time.Time
}

// Witness cosigns checkpoints. It is safe for concurrent use.
type Witness struct {
	dir    string
	name   string
	key    ed25519.PrivateKey
	vkey   string
	hash   uint32
	now    func() time.Time
	lock   *os.File
	logs   map[string][]note.Verifier // by origin
	mu     sync.Mutex
	latest map[string][]byte // signed and cosigned, by origin
}

const keyType = 4 // Ed25519 with a time (tlog-cosignature)

// Open opens the witness of a directory, which one process may use at a time.
func Open(cfg Config) (*Witness, error) {
	w := &Witness{dir: cfg.Dir, name: cfg.Name, now: cfg.Now, logs: map[string][]note.Verifier{}, latest: map[string][]byte{}}
	if w.now == nil {
		w.now = time.Now
	}
	if cfg.Name == "" || len(cfg.Name) > 200 || strings.ContainsAny(cfg.Name, "+ \t\r\n") {
		return nil, access.Errorf(access.CodeInvalid, "the name %.64q of a witness must be a word without + such as witness.example.com/w1", cfg.Name)
	}
	if len(cfg.Logs) == 0 {
		return nil, access.Errorf(access.CodeInvalid, "say whose log is witnessed: the vkey of each")
	}
	for _, vkey := range cfg.Logs {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "%.64q is not the vkey of a log: rutile audit prove prints it as key", vkey)
		}
		w.logs[v.Name()] = append(w.logs[v.Name()], v)
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the witness's directory: %w", err)
	}
	var err error
	if w.lock, err = audit.LockFile(filepath.Join(w.dir, "LOCK")); err != nil {
		return nil, access.Errorf(access.CodeConflict, "another witness uses %s", w.dir)
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.lock.Close())
	}
	return w, nil
}

// Close lets the directory go.
func (w *Witness) Close() error { return w.lock.Close() }

// Key returns the vkey by which cosignatures are verified.
func (w *Witness) Key() string { return w.vkey }

func (w *Witness) open() error {
	seed, err := w.seed()
	if err != nil {
		return err
	}
	w.key = ed25519.NewKeyFromSeed(seed)
	pub := append([]byte{keyType}, w.key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(w.name+"\n"), pub...))
	w.hash = binary.BigEndian.Uint32(sum[:])
	w.vkey = fmt.Sprintf("%s+%08x+%s", w.name, w.hash, base64.StdEncoding.EncodeToString(pub))
	for origin, keys := range w.logs {
		signed, err := os.ReadFile(w.file(origin))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
		}
		if _, err := audit.OpenCheckpoint(signed, keys...); err != nil {
			return access.Errorf(access.CodeEvidence, "what was cosigned of %q in %s does not verify: %v; restore it, or begin a witness with another key", origin, w.dir, err)
		}
		w.latest[origin] = signed
	}
	return nil
}

// seed reads the key, or makes it where the directory is new: a state without its key
// is somebody else's.
func (w *Witness) seed() ([]byte, error) {
	name := filepath.Join(w.dir, "key")
	text, err := os.ReadFile(name)
	switch {
	case err == nil:
		owner, hexed, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
		seed, err := hex.DecodeString(hexed)
		if !ok || err != nil || len(seed) != ed25519.SeedSize {
			return nil, access.Errorf(access.CodeInvalid, "%s does not hold the key of a witness", name)
		}
		if owner != w.name {
			return nil, access.Errorf(access.CodeInvalid, "%s is the key of %.64q, not of %.64q: a key has one name", name, owner, w.name)
		}
		return seed, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the witness's key: %w", err)
	}
	if states, err := filepath.Glob(filepath.Join(w.dir, "*.checkpoint")); err != nil || len(states) > 0 {
		return nil, access.Errorf(access.CodeEvidence, "the key of the witness is missing from %s, which has cosigned before: restore it", w.dir)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	if err := keep(name, []byte(w.name+" "+hex.EncodeToString(seed)+"\n")); err != nil {
		return nil, fmt.Errorf("keeping the witness's key: %w", err)
	}
	return seed, nil
}

func (w *Witness) file(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(w.dir, hex.EncodeToString(sum[:])+".checkpoint")
}

// refusal is why a checkpoint is not cosigned, as a status of tlog-witness.
type refusal struct {
	status int
	size   *uint64 // that is cosigned, with 409
	why    string
}

func (r *refusal) Error() string { return r.why }

// Add cosigns a checkpoint that continues the tree of old leaves, and returns the
// cosignature as a line of a note.
func (w *Witness) Add(old uint64, proof []tlog.Hash, signed []byte) (string, error) {
	origin, _, _ := strings.Cut(string(signed), "\n")
	keys := w.logs[origin]
	if keys == nil {
		return "", &refusal{status: 404, why: "this log is not witnessed here"}
	}
	c, err := audit.OpenCheckpoint(signed, keys...)
	if err != nil {
		return "", &refusal{status: 403, why: "no key of this log signed the checkpoint, or it has not the form of one"}
	}
	if old > c.Size {
		return "", &refusal{status: 400, why: "the old size is larger than the checkpoint's"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var have audit.Checkpoint
	if last := w.latest[origin]; last != nil {
		if have, err = audit.OpenCheckpoint(last, keys...); err != nil {
			return "", err
		}
	}
	if old != have.Size {
		return "", &refusal{status: 409, size: &have.Size, why: "another size is the newest that was cosigned"}
	}
	switch {
	case old == 0 && len(proof) > 0:
		return "", &refusal{status: 422, why: "there is no proof from nothing"}
	case old == 0:
	case old == c.Size && (have.Root != c.Root || len(proof) > 0):
		return "", &refusal{status: 409, size: &have.Size, why: "the log signed two roots of one size"}
	case old == c.Size:
	default:
		if err := tlog.CheckTree(tlog.TreeProof(proof), int64(c.Size), tlog.Hash(c.Root), int64(have.Size), tlog.Hash(have.Root)); err != nil {
			return "", &refusal{status: 422, why: "the checkpoint does not continue the one that was cosigned"}
		}
	}
	return w.cosign(origin, &c, keys, signed)
}

// cosign keeps the checkpoint and then says so. w.mu is held.
func (w *Witness) cosign(origin string, c *audit.Checkpoint, keys []note.Verifier, signed []byte) (string, error) {
	at := uint64(max(w.now().Unix(), 0))
	msg := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, c.Text)
	sig := binary.BigEndian.AppendUint32(nil, w.hash)
	sig = binary.BigEndian.AppendUint64(sig, at)
	sig = append(sig, ed25519.Sign(w.key, msg)...)
	line := "— " + w.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
	n, err := note.Open(signed, note.VerifierList(keys...))
	if err != nil {
		return "", err
	}
	n.UnverifiedSigs = nil // others' are not kept
	clean, err := note.Sign(n)
	if err != nil {
		return "", err
	}
	clean = append(clean, line...)
	if err := keep(w.file(origin), clean); err != nil {
		return "", fmt.Errorf("keeping a checkpoint: %w", err)
	}
	w.latest[origin] = clean
	return line, nil
}

// Latest returns the newest checkpoint that was cosigned of the log whose origin has
// this SHA-256 in hex, nil if there is none.
func (w *Witness) Latest(sum string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for origin, signed := range w.latest {
		if h := sha256.Sum256([]byte(origin)); hex.EncodeToString(h[:]) == sum {
			return bytes.Clone(signed)
		}
	}
	return nil
}

// keep writes a file that is whole and durable, or not there.
func keep(name string, data []byte) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return audit.OS{}.SyncDir(filepath.Dir(name)) // where a directory can be synced
}
