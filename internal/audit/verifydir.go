package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
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
	logDir, beside := dir, filepath.Dir(dir)
	if _, err := os.Stat(filepath.Join(dir, "log", "checkpoint")); err == nil {
		logDir, beside = filepath.Join(dir, "log"), dir
	}
	w := &walk{report: &r, read: readIn(logDir), front: &frontier{}, open: map[uint64][32]byte{}, tiles: map[uint64][]tlog.Hash{}}
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
	if err := w.besides(beside); err != nil {
		return r, fmt.Errorf("verifying %s: %w", dir, err)
	}
	w.leaves()
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
	tiles    map[uint64][]tlog.Hash // a few tiles of closed intents
	boot     int64
	lastOpen uint64               // index of the last log.open
	marks    map[uint64]tlog.Hash // roots of older checkpoints
	packs    map[uint64][32]byte  // payload hashes by leaf
}

// trustItself takes the key of the first leaf.
func (w *walk) trustItself() error {
	first, err := w.read(bundlePath(0, tileWidth))
	if missing(err) {
		first, err = w.anyFirst()
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
	return nil, fmt.Errorf("there is no entry bundle")
}

// besides reads older checkpoints and payload packs.
func (w *walk) besides(dir string) error {
	w.marks, w.packs = map[uint64]tlog.Hash{}, map[uint64][32]byte{}
	names, err := listIn(filepath.Join(dir, "checkpoints"))
	if err != nil {
		return err
	}
	for _, name := range names {
		size, err := strconv.ParseUint(name, 10, 62)
		if err != nil {
			continue
		}
		signed, err := os.ReadFile(filepath.Join(dir, "checkpoints", name))
		if err != nil {
			return err
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
		w.marks[size] = h.root
	}
	return w.payloads(filepath.Join(dir, "payload"))
}

// payloads hashes every record of every pack. A later pack of the same class
// wins, because it is the one that reached a checkpoint.
func (w *walk) payloads(dir string) error {
	classes, err := listIn(dir)
	if err != nil {
		return err
	}
	for _, class := range classes {
		months, err := listIn(filepath.Join(dir, class))
		if err != nil {
			return err
		}
		for _, month := range months {
			packs, err := listIn(filepath.Join(dir, class, month))
			if err != nil {
				return err
			}
			for _, p := range packs {
				b, err := os.ReadFile(filepath.Join(dir, class, month, p))
				if err != nil {
					return err
				}
				w.pack(b)
			}
		}
	}
	return nil
}

func (w *walk) pack(b []byte) {
	const magic, record = "RTLPACK1", 12
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return // a pack that was being started
	}
	for b = b[len(magic):]; len(b) >= record; {
		index, n := binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint32(b[8:]))
		if n > len(b)-record {
			return // the end of a pack that was being written
		}
		w.packs[index] = sha256.Sum256(b[record : record+n])
		b = b[record+n:]
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
		if err != nil {
			w.report.problem("bundle %s: %v", bundlePath(n, width), err)
			return
		}
		for _, leaf := range leaves {
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

// leaf checks one leaf in its place.
func (w *walk) leaf(leaf []byte) {
	index := w.front.size
	hash := leafHash(leaf)
	w.front.push(hash, func(level int, n uint64, hashes []tlog.Hash) error {
		w.tile(level, n, hashes)
		return nil
	})
	w.report.Leaves++
	if root, ok := w.marks[w.front.size]; ok && root != w.front.root() {
		w.report.problem("checkpoints/%d is inconsistent with the log", w.front.size)
	}
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
// another outcome, and the end of a call that waited for input.
func (w *walk) outcome(index uint64, v value) {
	intent := uint64(v.get("intent").get("i").num)
	says, _ := decodeHash(v.get("intent").get("h"))
	if hash, ok := w.open[intent]; ok {
		delete(w.open, intent)
		if hash != says {
			w.report.problem("leaf %d: it names another intent than leaf %d", index, intent)
		}
		return
	}
	if st := v.get("st").str; st != "late_result" && st != "abandoned" || intent >= index {
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
