package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
)

// ExportOptions say what a bundle holds besides leaves and proofs.
type ExportOptions struct {
	// Disclose opens the commitments whose values are still known: the reader
	// sees arguments, results, targets and reasons in clear.
	Disclose bool
	// Payloads adds the encrypted excerpts.
	Payloads bool
}

// maxExport bounds one bundle, exportPage what is searched for at once.
const (
	maxExport  = 100_000
	exportPage = 1000
)

// Export writes a bundle of the leaves of the rows that match q into dir, which
// must not exist or be empty. MANIFEST is written last: a bundle without it is
// not one.
func (l *Log) Export(ctx context.Context, q Query, dir string, opts ExportOptions) (err error) {
	var indexes []uint64
	err = l.whole(ctx, func() error {
		indexes, err = l.matching(ctx, q)
		return err
	})
	if err != nil {
		return err
	}
	if len(indexes) == 0 {
		return access.Errorf(access.CodeNotFound, "no evidence matches, so nothing was exported")
	}
	w, err := newBundleWriter(dir)
	if err != nil {
		return err
	}
	if err := l.writeBundle(ctx, w, indexes, opts); err != nil {
		return fmt.Errorf("exporting to %s: %w", dir, err)
	}
	return nil
}

// ExportProofs writes proofs as a bundle, which `rutile audit verify` reads.
func (l *Log) ExportProofs(proofs []*Proof, dir string) error {
	w, err := newBundleWriter(dir)
	if err != nil {
		return err
	}
	for _, p := range proofs {
		w.proof(p)
	}
	return l.finishBundle(w)
}

func (l *Log) writeBundle(ctx context.Context, w *bundleWriter, indexes []uint64, opts ExportOptions) error {
	if err := l.await(ctx, indexes[len(indexes)-1]); err != nil { // they are sorted
		return err
	}
	for _, index := range indexes {
		p, err := l.prove(ctx, index)
		if err != nil {
			return err
		}
		w.proof(p)
		if opts.Disclose || opts.Payloads {
			if err := l.writeDetails(ctx, w, index, opts); err != nil {
				return err
			}
		}
	}
	return l.finishBundle(w)
}

func (l *Log) writeDetails(ctx context.Context, w *bundleWriter, index uint64, opts ExportOptions) error {
	r, err := l.Reveal(ctx, index)
	if err != nil || r.Erased {
		return err
	}
	name := strconv.FormatUint(index, 10)
	if opts.Payloads && r.Payload != nil {
		v, err := parseLeaf(r.Leaf)
		if err != nil {
			return err
		}
		ct, err := l.sealedPayload(index, r.Leaf, v)
		if err != nil {
			return err
		}
		w.write("payload/"+name+".bin", ct)
	}
	if !opts.Disclose {
		return nil
	}
	d, err := l.disclosures(ctx, r)
	if err != nil || len(d) == 0 {
		return err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	w.write("disclosed/"+name+".json", append(b, '\n'))
	return nil
}

func (l *Log) finishBundle(w *bundleWriter) error {
	w.write("trust/policy", l.policy())
	if err := w.finish(); err != nil {
		return err
	}
	return l.keepCheckpoint()
}

// keepCheckpoint keeps the checkpoint somebody was handed, so that a verifier
// of the whole log can check that it is consistent with it.
func (l *Log) keepCheckpoint() error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	l.seal.mu.Lock()
	h, signed := l.seal.head, l.seal.checkpoint
	l.seal.mu.Unlock()
	dir := filepath.Join(l.cfg.Dir, "checkpoints")
	if err := makeDirs(l.fs, l.cfg.Dir, dir); err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	size := strconv.FormatUint(h.size, 10)
	if err := writeAtomic(l.fs, l.tmpName("checkpoint-"+size), filepath.Join(dir, size), signed); err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return l.fs.SyncDir(dir)
}

// matching returns the leaves of the rows that match q, sorted. It is all of
// them or an error: whoever is handed a bundle takes it for what he asked for.
func (l *Log) matching(ctx context.Context, q Query) ([]uint64, error) {
	var found []uint64
	for q.Ascending, q.Following, q.Limit = true, false, exportPage; ; {
		rows, err := l.find(ctx, q)
		if err != nil {
			return nil, err
		}
		found = append(found, LeavesOf(rows)...)
		if len(found) > maxExport {
			return nil, access.Errorf(access.CodeTooLarge, "more than %d leaves match: narrow the search and export in parts", maxExport)
		}
		if len(rows) < q.Limit {
			slices.Sort(found)
			return found, nil
		}
		q.From = rows[len(rows)-1].Index + 1
	}
}

// bundleWriter writes files and remembers their hashes.
type bundleWriter struct {
	dir  string
	sums []string
	err  error
}

func newBundleWriter(dir string) (*bundleWriter, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	if len(entries) > 0 {
		return nil, access.Errorf(access.CodeConflict, "%s is not empty; export to a new directory", dir)
	}
	return &bundleWriter{dir: dir}, nil
}

func (w *bundleWriter) proof(p *Proof) {
	name := strconv.FormatUint(p.Index, 10)
	w.write("leaves/"+name+".json", p.Leaf)
	w.write("proofs/"+name+".tlog-proof", p.Text())
}

func (w *bundleWriter) write(name string, data []byte) {
	if w.err != nil {
		return
	}
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if w.err = os.MkdirAll(filepath.Dir(path), 0o700); w.err != nil {
		return
	}
	w.err = os.WriteFile(path, data, 0o600)
	sum := sha256.Sum256(data)
	w.sums = append(w.sums, fmt.Sprintf("%x  %s\n", sum, name))
}

func (w *bundleWriter) finish() error {
	if w.err != nil {
		return w.err
	}
	slices.SortFunc(w.sums, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return os.WriteFile(filepath.Join(w.dir, "MANIFEST"), []byte(strings.Join(w.sums, "")), 0o600)
}
