package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rutile/internal/access"
)

// What went is what the log says went: retention.json only repeats it, and whoever can
// remove evidence can write that too. So it is signed with the key of the log, an older
// copy of it is told by the leaves it does not know, and nothing more goes while something
// is missing that no leaf speaks of: the leaf of the next raising would cover it.

// signState returns retention.json.
func (l *Log) signState(r retention) ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: stateText(l.cfg.Origin, raw)}, l.key.signer)
	if err != nil {
		return nil, fmt.Errorf("signing what retention did: %w", err)
	}
	_, line, _ := bytes.Cut(signed, []byte("\n\n"))
	b, err := json.Marshal(signedState{State: raw, Signature: string(line)})
	return append(b, '\n'), err
}

// loadRetention reads what retention did. What stands there and was not written by this
// log, or was and is not the newest, is not believed: the log starts, and Retain refuses.
func (l *Log) loadRetention(sealed uint64) error {
	b, err := readFile(l.fs, filepath.Join(l.cfg.Dir, retentionName))
	var r retention
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.lost = true
	case err != nil:
		return err
	default:
		raw, err := openState(b, l.cfg.Origin, l.key.verifier)
		if err == nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil {
			r, l.doubt = retention{}, fmt.Sprintf("%s is not what this log wrote (%v)", retentionName, err)
		}
	}
	there, err := l.firstBundle(r.minimum(), sealed)
	if err != nil {
		return err
	}
	if there > r.minimum() {
		s, err := l.lastSaid(sealed)
		if err != nil {
			return err
		}
		if s.minimum > r.minimum() {
			r.raised(Raise{Minimum: s.minimum, At: s.at, Leaf: s.index})
			if !l.lost && l.doubt == "" {
				l.doubt = retentionName + " is an older copy: the log says that more is gone"
			}
		}
		if s.minimum < there { // what is missing is passed over where leaves are read
			r.raised(Raise{Minimum: there})
		}
	}
	l.kept, l.clockBase = r, r.Clock
	if l.doubt != "" {
		l.log.Error("nothing that is too old is deleted: what retention did is not known for sure", "error", l.doubt)
	}
	return nil
}

// said is what the leaf of a raising says: the minimum, and how many leaves below it stay.
type said struct {
	index, minimum, kept uint64
	at                   time.Time
}

// saidBy is what the leaf at index says went, false for nothing.
func saidBy(index uint64, leaf []byte) (said, bool, error) {
	if !bytes.Contains(leaf, []byte(`"minimum":`)) {
		return said{}, false, nil
	}
	v, err := parseLeaf(leaf)
	if err != nil {
		return said{}, false, fmt.Errorf("leaf %d: %w", index, err)
	}
	says := v.get("retention")
	if v.get("type").str != typeRetention || says.get("minimum").kind == 0 {
		return said{}, false, nil
	}
	return said{index, uint64(says.get("minimum").num), uint64(says.get("kept").num), timeOf(v.get("at"))}, true, nil
}

// lastSaid is what the newest of the first size leaves says went. It stands behind all
// that it is about, so it is looked for from the end back to where bundles are missing.
func (l *Log) lastSaid(size uint64) (said, error) {
	for n := (size + tileWidth - 1) / tileWidth; n > 0; n-- {
		leaves, err := readBundle(l.readLog, n-1, tileWidthAt(size, 0, n-1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return said{}, err
		}
		for i, leaf := range slices.Backward(leaves) {
			if s, ok, err := saidBy((n-1)*tileWidth+uint64(i), leaf); ok || err != nil {
				return s, err
			}
		}
	}
	return said{}, nil
}

// firstBundle finds the first leaf from one on whose bundle is there.
func (l *Log) firstBundle(from, size uint64) (uint64, error) {
	for n := from / tileWidth; n < size/tileWidth; n++ {
		f, err := l.fs.Open(l.inLog(filepath.FromSlash(bundlePath(n, tileWidth))), false)
		if err == nil {
			return n * tileWidth, f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	return max(from, size/tileWidth*tileWidth), nil
}

// refuseRetention is the error of a log that lets nothing more go.
func refuseRetention(format string, args ...any) error {
	return access.Errorf(access.CodeEvidence, "%s: nothing more is deleted. See rutile audit verify, and put what is missing back from a backup; if retention.json alone is wrong, stop the gateway and remove it, and what is due waits anew",
		fmt.Sprintf(format, args...))
}

// CheckRetention says why nothing that is too old is deleted, nil where it is. A run of
// retention that goes on is not waited for.
func (l *Log) CheckRetention(ctx context.Context) error {
	if !l.retaining.TryLock() {
		return nil
	}
	defer l.retaining.Unlock()
	r := l.known()
	return l.vouched(ctx, &r)
}

// vouched is an error where what retention.json says, or what is gone, is not what the
// leaves of the log say. It moves r by the leaf that a killed run wrote last.
// l.retaining is held.
func (l *Log) vouched(ctx context.Context, r *retention) error {
	if l.doubt != "" {
		return refuseRetention("%s", l.doubt)
	}
	if err := l.catchUp(ctx, r); err != nil {
		return err
	}
	var s said
	for _, x := range slices.Backward(r.Raised) {
		if x.Leaf == 0 { // no leaf says it
			continue
		}
		leaf, err := l.Leaf(ctx, x.Leaf)
		if err == nil {
			s, _, err = saidBy(x.Leaf, leaf)
		}
		if err != nil {
			return fmt.Errorf("reading the leaf that says what is gone: %w", err)
		}
		break
	}
	there, err := l.firstBundle(r.minimum(), l.newest().size)
	if err != nil {
		return err
	}
	if there > s.minimum {
		return refuseRetention("leaves below %d are gone, and the log says it of those below %d only", there, s.minimum)
	}
	kept, err := l.keptLeaves()
	if err != nil {
		return err
	}
	if n, _ := slices.BinarySearch(kept, s.minimum); uint64(n) < s.kept {
		return refuseRetention("%d leaves are in log/kept, and the log says that %d stay", n, s.kept)
	}
	return nil
}

// catchUp moves r by the leaf of retention that it does not know. There is one at most:
// each is noted before the next is written.
func (l *Log) catchUp(ctx context.Context, r *retention) error {
	if l.lost && r.Leaf == 0 { // it begins anew
		return nil
	}
	rows, err := l.Search(ctx, Query{Types: []string{typeRetention}, From: r.Leaf + 1, Ascending: true, Limit: 2})
	if err != nil {
		return fmt.Errorf("looking for what the log says of retention: %w", err)
	}
	switch len(rows) {
	case 0:
		return nil
	case 1:
	default:
		return refuseRetention("%s is an older copy: it does not know of leaf %d, nor of one behind it", retentionName, rows[0].Index)
	}
	leaf, err := l.Leaf(ctx, rows[0].Index)
	if err != nil {
		return err
	}
	v, err := parseLeaf(leaf)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", rows[0].Index, err)
	}
	says, at := v.get("retention"), timeOf(v.get("at"))
	if says.get("decision").kind != 0 {
		r.Policy = RetentionPolicy{Payload: int(says.get("payload").num), Decision: int(says.get("decision").num), Hold: says.get("hold").num == 1}
		r.Since = later(at, r.Clock)
	}
	if says.get("minimum").kind != 0 {
		if err := l.seal.now(ctx); err != nil { // who verifies the directory finds the leaf before anything is missing
			return err
		}
		r.raised(Raise{Minimum: uint64(says.get("minimum").num), At: at, Leaf: rows[0].Index})
	}
	r.Leaf = rows[0].Index
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
