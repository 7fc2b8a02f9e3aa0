package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/access"
)

// Checkpoint is what a signed tree head says (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   [32]byte
	Text   string // what is signed
}

// OpenCheckpoint verifies a signed checkpoint: one of the verifiers must have signed
// it under the name that is its origin.
func OpenCheckpoint(signed []byte, verifiers ...note.Verifier) (Checkpoint, error) {
	h, err := openCheckpoint(signed, verifiers...)
	return Checkpoint{h.origin, h.size, h.root, h.text()}, err
}

// Cosigner returns what verifies the cosignatures of a witness, whose vkey has key
// type 4 (C2SP tlog-cosignature, Ed25519).
func Cosigner(vkey string) (note.Verifier, error) { return newCosigner(vkey) }

// maxWitnesses bounds how many a log has.
const maxWitnesses = 32

// witnesses keeps the newest checkpoint enough witnesses have cosigned.
type witnesses struct {
	cosigners []note.Verifier
	wanted    chan struct{} // cap 1: somebody waits for a cosigned checkpoint

	mu     sync.Mutex
	head   head   // of size 0 while there is none
	signed []byte // with cosignatures
	moved  chan struct{}
}

// newWitnesses reads the keys of the configuration.
func newWitnesses(cfg *Config) (*witnesses, error) {
	w := &witnesses{wanted: make(chan struct{}, 1), moved: make(chan struct{})}
	keys := map[string]bool{}
	for i, vkey := range cfg.Witnesses {
		v, err := newCosigner(vkey)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "evidence.witnesses[%d].key: %v", i, err)
		}
		if !fresh(keys, vkey) {
			return nil, access.Errorf(access.CodeInvalid, "evidence.witnesses[%d].key stands twice: a witness counts once", i)
		}
		w.cosigners = append(w.cosigners, v)
	}
	if n := len(w.cosigners); n > maxWitnesses || cfg.Quorum < 0 || cfg.Quorum > n {
		return nil, access.Errorf(access.CodeInvalid, "evidence.quorum %d of %d witnesses cannot be: at most %d witnesses, and no more than there are", cfg.Quorum, n, maxWitnesses)
	}
	if cfg.Quorum == 0 {
		cfg.Quorum = len(w.cosigners)
	}
	return w, nil
}

// loadWitnessed reads what was cosigned before the start. Nothing is written before.
func (l *Log) loadWitnessed(st *recovered) error {
	signed, err := l.readLog(witnessedName)
	if errors.Is(err, fs.ErrNotExist) || len(l.witnesses.cosigners) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the cosigned checkpoint: %w", err)
	}
	h, err := openCheckpoint(signed, l.key.verifier)
	if err != nil {
		return access.Errorf(access.CodeEvidence, "the cosigned checkpoint %s/log/%s is not this log's: %v", l.cfg.Dir, witnessedName, err)
	}
	if err := l.contradicts(h, st.size, st.head); err != nil {
		return err
	}
	if l.cosigned(signed) >= l.cfg.Quorum {
		l.witnesses.head, l.witnesses.signed = h, signed
	}
	return nil
}

// cosigned counts the witnesses whose cosignature is under a note.
func (l *Log) cosigned(signed []byte) int {
	n := 0
	for _, v := range l.witnesses.cosigners {
		if x, err := note.Open(signed, note.VerifierList(v)); err == nil && len(x.Sigs) > 0 {
			n++
		}
	}
	return n
}

// contradicts says why a checkpoint this log signed shows another history than the
// directory holds, nil if it does not. now may be newer than size: what is sealed is
// durable a moment before it is counted.
func (l *Log) contradicts(h head, size uint64, now head) error {
	if size = max(size, now.size); h.size > size {
		return access.Errorf(access.CodeEvidence, "a checkpoint of this log has %d leaves and %s holds %d: the directory is older than what was signed; restore the newest copy, or %s", h.size, l.cfg.Dir, size, startAnew)
	}
	if h.size == 0 || h.size > now.size {
		return nil // compared when the tiles have got there
	}
	tree := tlog.Tree{N: int64(now.size), Hash: now.root}
	root, err := tlog.TreeHash(int64(h.size), tlog.TileHashReader(tree, tileReader{l.readLog}))
	if err != nil {
		return fmt.Errorf("the root of %d leaves: %w", h.size, err)
	}
	if root != h.root {
		return access.Errorf(access.CodeEvidence, "a checkpoint of this log has another root at %d leaves than %s: the directory was altered, or the log was run twice; %s", h.size, l.cfg.Dir, startAnew)
	}
	return nil
}

func (l *Log) newest() head {
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	return l.seal.head
}

// Sealed returns the newest checkpoint without cosignatures.
func (l *Log) Sealed() (Checkpoint, []byte) {
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	h := l.seal.head
	return Checkpoint{h.origin, h.size, h.root, h.text()}, bytes.Clone(l.seal.checkpoint)
}

// Consistency proves that the tree of size leaves, at most those of the newest
// checkpoint, continues the one of old (RFC 6962, 2.1.2). It is empty where old is 0
// or size.
func (l *Log) Consistency(old, size uint64) ([][32]byte, error) {
	now, _ := l.Sealed()
	if old > size || size > now.Size {
		return nil, access.Errorf(access.CodeInvalid, "there is no proof from %d to %d leaves of %d", old, size, now.Size)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	tree := tlog.Tree{N: int64(now.Size), Hash: now.Root}
	proof, err := tlog.ProveTree(int64(size), int64(old), tlog.TileHashReader(tree, tileReader{l.readLog}))
	if err != nil {
		return nil, fmt.Errorf("proving that %d leaves continue %d: %w", size, old, err)
	}
	out := make([][32]byte, len(proof))
	for i, h := range proof {
		out[i] = h
	}
	return out, nil
}

// Witnessed returns the newest checkpoint that enough witnesses cosigned, nil while
// there is none.
func (l *Log) Witnessed() (Checkpoint, []byte) {
	w := l.witnesses
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.signed == nil {
		return Checkpoint{}, nil
	}
	return Checkpoint{w.head.origin, w.head.size, w.head.root, w.head.text()}, bytes.Clone(w.signed)
}

// Unwitnessed is received from while somebody waits for cosignatures.
func (l *Log) Unwitnessed() <-chan struct{} { return l.witnesses.wanted }

// Cosigned keeps a checkpoint of this log with cosignatures, if they are enough and
// it is newer than the one kept. Signatures of others are left out.
func (l *Log) Cosigned(signed []byte) error {
	all := append([]note.Verifier{l.key.verifier}, l.witnesses.cosigners...)
	n, err := note.Open(signed, note.VerifierList(all...))
	if err != nil {
		return fmt.Errorf("reading a cosigned checkpoint: %w", err)
	}
	n.UnverifiedSigs = nil
	clean, err := note.Sign(n)
	if err != nil {
		return fmt.Errorf("writing a cosigned checkpoint: %w", err)
	}
	h, err := openCheckpoint(clean, l.key.verifier)
	if err != nil {
		return err
	}
	if have := l.cosigned(clean); have < l.cfg.Quorum {
		return access.Errorf(access.CodeUnavailable, "%d of %d witnesses cosigned, and %d are needed", have, len(l.witnesses.cosigners), l.cfg.Quorum)
	}
	if err := l.contradicts(h, l.Size(), l.newest()); err != nil {
		return err
	}
	w := l.witnesses
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.size < w.head.size || h.size == w.head.size && w.signed != nil {
		return nil
	}
	if err := writeAtomic(l.fs, l.tmpName(witnessedName), l.inLog(witnessedName), clean); err != nil {
		return fmt.Errorf("keeping a cosigned checkpoint: %w", err)
	}
	if err := l.fs.SyncDir(l.logDir()); err != nil {
		return fmt.Errorf("keeping a cosigned checkpoint: %w", err)
	}
	w.head, w.signed = h, clean
	close(w.moved)
	w.moved = make(chan struct{})
	return nil
}

// Contradict takes a checkpoint that somebody else keeps. If this log signed it and
// the directory does not hold what it says, the log ends: whatever it wrote would be a
// second history.
func (l *Log) Contradict(signed []byte) error {
	h, err := openCheckpoint(signed, l.key.verifier)
	if err != nil || h.origin != l.cfg.Origin {
		return nil // anybody can say so
	}
	if size := l.Size(); h.size <= size && h.size > l.newest().size {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.seal.now(ctx); err != nil {
			return fmt.Errorf("sealing what is to be compared: %w", err)
		}
	}
	err = l.contradicts(h, l.Size(), l.newest())
	if access.CodeOf(err) == access.CodeEvidence {
		l.die("comparing with a witness", err)
	}
	return err
}

// patience is how long a proof waits for cosignatures.
const patience = 5 * time.Second

// await brings tiles and checkpoint up to the leaf at index and waits until it is
// cosigned, but not long. Who proves many leaves waits once, for the last.
func (l *Log) await(ctx context.Context, index uint64) error {
	if size, _ := l.Head(); index >= size {
		if err := l.seal.now(ctx); err != nil {
			return fmt.Errorf("sealing leaf %d: %w", index, err)
		}
	}
	w := l.witnesses
	if len(w.cosigners) == 0 {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		w.mu.Lock()
		size, moved := w.head.size, w.moved
		w.mu.Unlock()
		if index < size {
			return nil
		}
		select {
		case w.wanted <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.died:
			return nil
		}
	}
}

// attested returns the checkpoint a proof of a sealed leaf leads to: the cosigned one
// if that has it, else the newest.
func (l *Log) attested(index uint64) (head, []byte) {
	w := l.witnesses
	w.mu.Lock()
	defer w.mu.Unlock()
	if index < w.head.size {
		return w.head, bytes.Clone(w.signed)
	}
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	return l.seal.head, bytes.Clone(l.seal.checkpoint)
}

// policy is the C2SP tlog-policy of the log.
func (l *Log) policy() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.key.vkey)
	if len(l.cfg.Witnesses) == 0 {
		return []byte(b.String() + "quorum none\n")
	}
	names := ""
	for i, vkey := range l.cfg.Witnesses {
		fmt.Fprintf(&b, "witness w%d %s\n", i+1, vkey)
		names += fmt.Sprintf(" w%d", i+1)
	}
	fmt.Fprintf(&b, "group witnesses %d%s\nquorum witnesses\n", l.cfg.Quorum, names)
	return []byte(b.String())
}

// LockFile takes a file that one process may hold, without waiting.
func LockFile(name string) (*os.File, error) { return lockFile(name) }
