package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/access"
)

// recovered is what a directory holds: a sealed part and a durable tail.
type recovered struct {
	head       head
	checkpoint []byte // nil if the log is new
	front      *frontier
	partial    [][]byte // leaves of the sealed bundle that is not full
	groups     []*group // durable, above the checkpoint
	size       uint64
	boot       uint64 // of the last leaf, 0 if there is none
	segments   []segName
}

// refuse is the error of a directory that must not be written to.
func refuse(format string, args ...any) error {
	return access.Errorf(access.CodeEvidence, "the evidence directory is damaged or was altered: "+format+
		". Nothing was changed. Restore it, or "+startAnew+"; `rutile audit verify` says what still verifies", args...)
}

// startAnew is how to go on without a log: never under its name, because two
// histories of one name are what an altered log looks like.
const startAnew = "to go on without it move the evidence directory, its signing key and the file \"node\" out of the data directory: the next start begins a log under another name"

// recovery reads a directory without changing it.
type recovery struct {
	fs         FS
	dir        string
	origin     string
	originHash [32]byte
	verifier   note.Verifier
	tiles      map[uint64][]tlog.Hash // level 0
	st         *recovered
}

func (r *recovery) run() (*recovered, error) {
	r.st = &recovered{front: &frontier{}, head: head{origin: r.origin}}
	r.tiles = map[uint64][]tlog.Hash{}
	if err := r.sealed(); err != nil {
		return nil, err
	}
	r.st.size = r.st.head.size
	if err := r.scan(); err != nil {
		return nil, err
	}
	return r.st, r.lastBoot()
}

// lastBoot reads the boot of the last leaf, from where the count goes on even if
// its file was lost.
func (r *recovery) lastBoot() error {
	var last []byte
	switch st := r.st; {
	case len(st.groups) > 0:
		g := st.groups[len(st.groups)-1]
		last = g.leaves[len(g.leaves)-1]
	case len(st.partial) > 0:
		last = st.partial[len(st.partial)-1]
	case st.size > 0:
		leaves, err := readBundle(r.read, st.size/tileWidth-1, tileWidth)
		if err != nil {
			return refuse("bundle %s cannot be read (%w)", bundlePath(st.size/tileWidth-1, tileWidth), err)
		}
		last = leaves[tileWidth-1]
	default:
		return nil
	}
	v, err := parseLeaf(last)
	if err != nil {
		return refuse("leaf %d: %w", r.st.size-1, err)
	}
	r.st.boot = uint64(v.get("boot").num)
	return nil
}

func (r *recovery) read(path string) ([]byte, error) {
	return readFile(r.fs, filepath.Join(r.dir, "log", filepath.FromSlash(path)))
}

// sealed reads the checkpoint and rebuilds its root from the right edge.
func (r *recovery) sealed() error {
	signed, err := r.read("checkpoint")
	if errors.Is(err, fs.ErrNotExist) {
		return r.untouched()
	}
	if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	h, err := openCheckpoint(signed, r.verifier)
	if err != nil {
		return refuse("%w", err)
	}
	if h.origin != r.origin {
		return refuse("the checkpoint is of the log %q", h.origin)
	}
	front := &frontier{size: h.size}
	for level := 0; h.size>>(8*level) > 0; level++ {
		n := (h.size >> (8 * level)) / tileWidth
		width := tileWidthAt(h.size, level, n)
		edge := make([]tlog.Hash, 0, tileWidth)
		if width > 0 {
			b, err := readWidth(r.read, width, func(w int) string { return tilePath(level, n, w) })
			if err != nil {
				return refuse("tile %s cannot be read (%w)", tilePath(level, n, width), err)
			}
			hashes, err := parseTile(b[:min(len(b), width*tlog.HashSize)], width)
			if err != nil {
				return refuse("tile %s: %w", tilePath(level, n, width), err)
			}
			edge = append(edge, hashes...)
		}
		front.edge = append(front.edge, edge)
	}
	if front.root() != h.root {
		return refuse("the tiles at the right edge do not give the root of the checkpoint of size %d", h.size)
	}
	r.st.head, r.st.checkpoint, r.st.front = h, signed, front
	return r.partialBundle()
}

// untouched refuses a directory that lost its checkpoint: it is there before
// anything else is.
func (r *recovery) untouched() error {
	for _, dir := range []string{"log", "wal", "payload", "checkpoints"} {
		names, err := r.fs.List(filepath.Join(r.dir, dir))
		if err != nil {
			return fmt.Errorf("looking for a log: %w", err)
		}
		if len(names) > 0 {
			return refuse("its checkpoint is missing, but %s/%s is there", dir, names[0])
		}
	}
	return nil
}

func (r *recovery) partialBundle() error {
	h := r.st.head
	n, width := h.size/tileWidth, int(h.size%tileWidth)
	if width == 0 {
		return nil
	}
	leaves, err := readBundle(r.read, n, width)
	if err != nil {
		return refuse("bundle %s cannot be read (%w)", bundlePath(n, width), err)
	}
	for i, leaf := range leaves {
		if leafHash(leaf) != r.st.front.edge[0][i] {
			return refuse("leaf %d does not hash to its tile", n*tileWidth+uint64(i))
		}
	}
	r.st.partial = leaves
	return nil
}

// scan accepts whole groups in order. A bad group that something acknowledged
// follows is damage; one that nothing follows is a write nobody was told of.
func (r *recovery) scan() error {
	dir := filepath.Join(r.dir, "wal")
	names, err := segmentNames(r.fs, dir)
	if err != nil {
		return refuse("%w", err)
	}
	r.st.segments = names
	if len(names) == 0 {
		if r.st.head.size > 0 {
			return refuse("the write-ahead log is missing")
		}
		return nil
	}
	next := names[0].first
	if next > r.st.head.size {
		return refuse("leaves %d to %d are missing", r.st.head.size, next-1)
	}
	for i, sn := range names {
		data, err := readFile(r.fs, filepath.Join(dir, sn.name))
		if err != nil {
			return fmt.Errorf("reading segment %s: %w", sn.name, err)
		}
		seg, err := parseSegment(sn.name, data, r.originHash)
		if err != nil {
			return refuse("segment %s: %w", sn.name, err)
		}
		if seg.first != next {
			return refuse("leaves %d to %d are missing before segment %s", next, seg.first, sn.name)
		}
		off := segHeader
		for {
			g := seg.group(off)
			if g == nil || g.first != next {
				break
			}
			if err := r.accept(g); err != nil {
				return err
			}
			next += uint64(len(g.leaves))
			off += g.size
		}
		if i+1 < len(names) {
			continue // the next segment was started only when this one was whole
		}
		if durable, ok := seg.later(off); ok && durable > next {
			return refuse("leaf %d and what follows is unreadable in segment %s, and a later group says it was durable", next, sn.name)
		}
	}
	r.st.size = max(next, r.st.head.size)
	return nil
}

// accept takes a whole group: what is sealed already must hash to its tile, the
// rest is the tail.
func (r *recovery) accept(g *readGroup) error {
	sealed := r.st.head.size
	t := &group{first: g.first}
	for i, leaf := range g.leaves {
		index := g.first + uint64(i)
		if index < sealed {
			h, err := r.sealedHash(index)
			if err != nil {
				return err
			}
			if h != tlog.Hash(g.hashes[i]) {
				return refuse("leaf %d differs between the write-ahead log and its tile", index)
			}
			t.first = index + 1
			continue
		}
		t.leaves, t.hashes = append(t.leaves, leaf), append(t.hashes, g.hashes[i])
		t.bytes += len(leaf)
		if p := g.pays[i]; p != nil {
			y, err := payOf(index, leaf, p)
			if err != nil {
				return refuse("the payload of leaf %d: %w", index, err)
			}
			t.pays = append(t.pays, y)
			t.bytes += len(p)
		}
	}
	if len(t.leaves) > 0 {
		r.st.groups = append(r.st.groups, t)
	}
	return nil
}

// payOf finds out from the leaf where its payload belongs.
func payOf(index uint64, leaf, data []byte) (pay, error) {
	class, err := topString(leaf, "class")
	if err != nil {
		return pay{}, err
	}
	at, err := topString(leaf, "at")
	if err != nil || len(at) < 7 {
		return pay{}, errors.New("its leaf has no time")
	}
	month, err := strconv.Atoi(at[:4] + at[5:7])
	if err != nil || !plain(class) || strings.ContainsAny(class, "/.") {
		return pay{}, errors.New("its leaf says no month or class")
	}
	return pay{index, class, month, bytes.Clone(data)}, nil
}

func (r *recovery) sealedHash(index uint64) (tlog.Hash, error) {
	n := index / tileWidth
	tile, ok := r.tiles[n]
	if !ok {
		width := tileWidthAt(r.st.head.size, 0, n)
		b, err := readWidth(r.read, width, func(w int) string { return tilePath(0, n, w) })
		if err == nil {
			tile, err = parseTile(b[:min(len(b), width*tlog.HashSize)], width)
		}
		if err != nil {
			return tlog.Hash{}, refuse("tile %s cannot be read (%w)", tilePath(0, n, width), err)
		}
		r.tiles[n] = tile
	}
	return tile[index%tileWidth], nil
}
