package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// VerifyDir verifies a whole log: dir is an evidence directory or a copy of its
// log/. It reads every leaf, rebuilds every tile and the root, checks the
// signature, the form of each leaf, that outcomes follow their intents, and, if
// they are beside it, older checkpoints and payloads. A log being written to
// may be verified: what is above its checkpoint is not looked at.
func VerifyDir(dir string, opts VerifyOptions) (Report, error) {
	r := Report{Path: dir, Kind: "log"}
	top, err := openArchive(dir)
	if err != nil {
		return r, fmt.Errorf("verifying: %w", err)
	}
	defer top.close()
	log, beside := top, (*archive)(nil)
	if top.is("log", fs.ModeDir) {
		if log, err = top.sub("log"); err != nil {
			return r, fmt.Errorf("verifying %s: %w", dir, err)
		}
		defer log.close()
		beside = top
	} else if parent, err := openArchive(filepath.Dir(filepath.Clean(dir))); err == nil {
		defer parent.close()
		if filepath.Base(dir) == "log" && parent.is("wal", fs.ModeDir) { // it stands in its evidence directory
			beside = parent
		}
	}
	w := &walk{report: &r, read: log.read, front: &frontier{}, open: map[uint64][32]byte{}, asked: map[uint64][32]byte{}, tiles: map[uint64][]tlog.Hash{}}
	signed, err := w.read("checkpoint")
	if err != nil {
		return r, fmt.Errorf("verifying %s: reading its checkpoint: %w", dir, err)
	}
	if w.trust, err = newTrust(opts); err != nil {
		return r, err
	}
	if len(w.trust.logs) == 0 {
		if err := w.trustItself(); err != nil {
			return r, fmt.Errorf("verifying %s: %w", dir, err)
		}
	}
	h, ok := w.trust.open(signed, &r)
	if !ok {
		return r, nil
	}
	w.head = h
	w.marks, w.packs = map[uint64]tlog.Hash{}, map[uint64][32]byte{}
	w.cosigned(&r)
	if beside != nil {
		w.besides(beside)
		w.state(beside)
	}
	w.listKept(log)
	w.leaves()
	w.judge()
	w.finish(opts)
	return r, nil
}

// walk reads a log from its first leaf to its checkpoint.
type walk struct {
	report *Report
	trust  *trust
	read   func(string) ([]byte, error)
	head   head
	front  *frontier

	open     map[uint64][32]byte    // intents without an outcome so far
	asked    map[uint64][32]byte    // intents whose call waits for its client's input
	tiles    map[uint64][]tlog.Hash // a few tiles of closed intents
	boot     int64
	lastOpen uint64               // index of the last log.open
	marks    map[uint64]tlog.Hash // roots of older checkpoints
	packs    map[uint64][32]byte  // payload hashes by leaf
	pruned   pruning
}

// trustItself takes the key of the first leaf.
func (w *walk) trustItself() error {
	first, err := w.read(bundlePath(0, tileWidth))
	if missing(err) {
		first, err = w.read("kept/0.json")
		first = append([]byte{byte(len(first) >> 8), byte(len(first))}, first...)
	}
	if missing(err) {
		first, err = w.anyFirst()
	}
	if missing(err) {
		first, err = w.laterOpening()
	}
	if err != nil {
		return fmt.Errorf("reading its first leaf: %w", err)
	}
	if len(first) < 2 || len(first)-2 < int(binary.BigEndian.Uint16(first)) {
		return fmt.Errorf("its first bundle is malformed")
	}
	vkey, err := topString(first[2:2+binary.BigEndian.Uint16(first)], "vkey")
	if err != nil {
		return fmt.Errorf("its first leaf names no key, so a key must be given: %w", err)
	}
	w.trust.self = true
	return w.trust.add(vkey)
}

// anyFirst reads the first bundle while it is still partial.
func (w *walk) anyFirst() ([]byte, error) {
	for width := tileWidth - 1; width > 0; width-- {
		if b, err := w.read(bundlePath(0, width)); err == nil || !missing(err) {
			return b, err
		}
	}
	return nil, fs.ErrNotExist
}

// laterOpening reads the first leaf that names a key, of a log that lost its first bundle.
func (w *walk) laterOpening() ([]byte, error) {
	signed, err := w.read("checkpoint")
	if err != nil {
		return nil, err
	}
	const most = 1 << 16 // bundles: the size is not verified yet
	for n := range min(sizeClaimed(signed)/tileWidth+1, most) {
		leaves, err := readBundle(w.read, n, tileWidthAt(sizeClaimed(signed), 0, n))
		if err != nil {
			continue // it is reported where the log is walked
		}
		for i, leaf := range leaves {
			if textOf(leaf, "vkey") == "" {
				continue
			}
			w.report.problem("the first leaf is gone: the key is that of leaf %d", n*tileWidth+uint64(i))
			return appendBundle(nil, [][]byte{leaf}), nil
		}
	}
	return nil, fmt.Errorf("no leaf names a key: give the one of the log")
}

// sizeClaimed is the size a checkpoint names that is not verified yet, 0 if it has not the
// form of one.
func sizeClaimed(signed []byte) uint64 {
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	h, _ := parseCheckpointText(string(text) + "\n")
	return h.size
}

// besides reads older checkpoints and payload packs.
func (w *walk) besides(a *archive) {
	for _, name := range w.list(a, "checkpoints") {
		size, err := strconv.ParseUint(name, 10, 62)
		if err != nil {
			continue
		}
		signed, err := a.read("checkpoints/" + name)
		if err != nil {
			w.report.problem("checkpoints/%s: %v", name, err)
			continue
		}
		h, err := openCheckpoint(signed, w.trust.logs...)
		if err != nil || h.size != size || h.origin != w.head.origin {
			w.report.problem("checkpoints/%s is not a checkpoint of this log and size", name)
			continue
		}
		if size > w.head.size {
			w.report.problem("checkpoints/%s is of a larger size than the log: leaves were removed", name)
			continue
		}
		w.mark("checkpoints/"+name, h)
	}
	for _, class := range w.list(a, "payload") {
		for _, month := range w.list(a, path.Join("payload", class)) {
			dir := path.Join("payload", class, month)
			for _, name := range w.list(a, dir) {
				if err := w.pack(a, path.Join(dir, name)); err != nil {
					w.report.problem("%s/%s: %v", dir, name, err)
				}
			}
		}
	}
}

func (w *walk) list(a *archive, dir string) []string {
	names, err := a.list(dir)
	if err != nil {
		w.report.problem("%s: %v", dir, err)
	}
	return names
}

// maxPacked bounds a payload: an excerpt and what sealing adds.
const maxPacked = 32 << 10

// pack hashes every record of a pack. A later pack of the same class wins,
// because it is the one that reached a checkpoint. The log may be writing the
// pack's end, so what is no record ends it.
func (w *walk) pack(a *archive, name string) error {
	const magic, record = "RTLPACK1", 12
	f, err := a.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewReaderSize(f, 2*maxPacked)
	if m, err := b.Peek(len(magic)); err != nil || string(m) != magic {
		return nil
	}
	for n := len(magic); ; {
		if _, err := b.Discard(n); err != nil {
			return nil
		}
		h, err := b.Peek(record)
		if err != nil {
			return nil
		}
		index, size := binary.BigEndian.Uint64(h), binary.BigEndian.Uint32(h[8:])
		if size == 0 || size > maxPacked {
			return nil
		}
		n = record + int(size)
		all, err := b.Peek(n)
		if err != nil {
			return nil
		}
		if index < w.head.size {
			w.packs[index] = sha256.Sum256(all[record:])
		}
	}
}

// leaves walks the bundles and compares every tile.
func (w *walk) leaves() {
	if root, ok := w.marks[0]; ok && root != w.front.root() {
		w.report.problem("checkpoints/0 is inconsistent with the log")
	}
	for n := uint64(0); n*tileWidth < w.head.size; n++ {
		width := tileWidthAt(w.head.size, 0, n)
		leaves, err := readBundle(w.read, n, width)
		if missing(err) && width == tileWidth && w.passed(n) {
			continue
		}
		if err != nil {
			w.report.problem("bundle %s: %v", bundlePath(n, width), err)
			return
		}
		for _, leaf := range leaves {
			w.besideKept(w.front.size, leaf)
			w.leaf(leaf)
		}
	}
	for level, edge := range w.front.edge {
		if len(edge) > 0 {
			w.tile(level, w.front.size>>(8*(level+1)), edge)
		}
	}
	if root := w.front.root(); root != w.head.root {
		w.report.problem("the leaves give the root %s, the checkpoint says %s", root, w.head.root)
	}
}

func (w *walk) tile(level int, n uint64, hashes []tlog.Hash) {
	b, err := readWidth(w.read, len(hashes), func(width int) string { return tilePath(level, n, width) })
	if err != nil {
		w.report.problem("tile %s: %v", tilePath(level, n, len(hashes)), err)
		return
	}
	have, err := parseTile(b[:min(len(b), len(hashes)*tlog.HashSize)], len(hashes))
	if err != nil || !slices.Equal(have, hashes) {
		w.report.problem("tile %s does not follow from the leaves", tilePath(level, n, len(hashes)))
	}
}

// push goes on by a leaf of which the hash is known.
func (w *walk) push(hash tlog.Hash) {
	_ = w.front.push(hash, func(level int, n uint64, hashes []tlog.Hash) error {
		w.tile(level, n, hashes)
		return nil
	})
	if root, ok := w.marks[w.front.size]; ok && root != w.front.root() {
		w.report.problem("checkpoints/%d is inconsistent with the log", w.front.size)
	}
}

// leaf checks one leaf in its place.
func (w *walk) leaf(leaf []byte) {
	index := w.front.size
	hash := leafHash(leaf)
	w.push(hash)
	w.report.Leaves++
	v, err := checkLeaf(leaf)
	if err != nil {
		w.report.problem("leaf %d: %v", index, err)
		return
	}
	if boot := v.get("boot").num; boot < w.boot {
		w.report.problem("leaf %d: its boot %d is below the %d before it", index, boot, w.boot)
	} else {
		w.boot = boot
	}
	switch v.get("type").str {
	case "log.open":
		w.opened(index, v)
	case "intent":
		w.open[index] = hash
	case "outcome":
		w.outcome(index, v)
	case "retention":
		w.retention(index, v)
	}
	w.payload(index, v)
}

func (w *walk) opened(index uint64, v value) {
	w.lastOpen = index
	if v.get("origin").str != w.head.origin {
		w.report.problem("leaf %d opens the log %q", index, v.get("origin").str)
	}
	if uint64(v.get("size").num) != index {
		w.report.problem("leaf %d says that it is leaf %d", index, v.get("size").num)
	}
}

// outcome pairs an outcome with its intent. Only a late result may follow
// another outcome, and one more the outcome that says that the call waits for
// input.
func (w *walk) outcome(index uint64, v value) {
	intent := uint64(v.get("intent").get("i").num)
	says, _ := decodeHash(v.get("intent").get("h"))
	hash, awaited := w.open[intent]
	if !awaited {
		hash, awaited = w.asked[intent]
	}
	if awaited {
		if hash != says {
			w.report.problem("leaf %d: it names another intent than leaf %d", index, intent)
		}
		delete(w.asked, intent)
		if _, first := w.open[intent]; first && v.get("st").str == "input_required" {
			w.asked[intent] = hash
		}
		delete(w.open, intent)
		return
	}
	if v.get("st").str != "late_result" || intent >= index {
		w.report.problem("leaf %d: leaf %d is not an intent that awaits an outcome", index, intent)
		return
	}
	if hash, ok := w.hashOf(intent); !ok || hash != tlog.Hash(says) {
		w.report.problem("leaf %d: it names another intent than leaf %d", index, intent)
	}
}

// hashOf reads the hash of an earlier leaf, which the walk has compared or will
// compare with its tile.
func (w *walk) hashOf(index uint64) (tlog.Hash, bool) {
	n := index / tileWidth
	tile, ok := w.tiles[n]
	if !ok {
		width := tileWidthAt(w.head.size, 0, n)
		b, err := readWidth(w.read, width, func(width int) string { return tilePath(0, n, width) })
		if err != nil {
			return tlog.Hash{}, false
		}
		if tile, err = parseTile(b[:min(len(b), width*tlog.HashSize)], width); err != nil {
			return tlog.Hash{}, false
		}
		if len(w.tiles) >= 64 {
			clear(w.tiles)
		}
		w.tiles[n] = tile
	}
	return tile[index%tileWidth], true
}

func (w *walk) payload(index uint64, v value) {
	want, ok := decodeHash(v.get("pay").get("h"))
	if !ok {
		return
	}
	have, there := w.packs[index]
	switch {
	case !there:
		w.report.Missing++
	case have != want:
		w.report.problem("leaf %d: its payload is not the one it commits to", index)
	default:
		w.report.Payloads++
	}
}

// finish judges the intents that stayed without an outcome. Those of an earlier
// boot should have been closed when the next one began.
func (w *walk) finish(opts VerifyOptions) {
	for index := range w.open {
		w.report.Unmatched = append(w.report.Unmatched, index)
	}
	slices.Sort(w.report.Unmatched)
	for _, index := range w.report.Unmatched {
		if index < w.lastOpen {
			w.report.lack("leaf %d: an intent of an earlier run has no outcome", index)
		} else if opts.Complete {
			w.report.lack("leaf %d: an intent has no outcome", index)
		}
	}
}

// witnessedName is the file of log/ with the newest checkpoint that enough witnesses
// cosigned.
const witnessedName = "witnessed"

// cosigned takes the checkpoint that witnesses cosigned, which lies beside the newest
// one. What it covers needs no other; a newer rest is less than a quorum demands.
func (w *walk) cosigned(r *Report) {
	signed, err := w.read(witnessedName)
	if missing(err) {
		return
	}
	if err != nil {
		r.problem("%s cannot be read", witnessedName)
		return
	}
	h, err := openCheckpoint(signed, w.trust.logs...)
	switch {
	case err != nil || h.origin != w.head.origin:
		r.problem("%s is not a checkpoint of this log", witnessedName)
		return
	case h.size > w.head.size:
		r.problem("%s is of a larger size than the log: leaves were removed", witnessedName)
		return
	}
	w.mark(witnessedName, h) // compared when the walk gets there
	if w.trust.policy == nil || w.trust.policy.lacks(signed) != "" {
		return
	}
	r.Witnessed = h.size
	r.Lacking = slices.DeleteFunc(r.Lacking, func(s string) bool { return s == w.trust.policy.lacks(nil) })
	if h.size < w.head.size {
		r.lack("%d leaves are newer than the last checkpoint with the cosignatures of the quorum", w.head.size-h.size)
	}
}
