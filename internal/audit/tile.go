package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// The files named verify*.go, tile.go, checkpoint.go, canon.go and policyfile.go
// are the verifier: they use nothing but the standard library, x/mod and each
// other (TestVerifierStandsAlone).

// tileWidth is how many hashes a full tile has, and how many leaves a full
// bundle.
const tileWidth = 256

// leafHash is the RFC 6962 hash of a leaf.
func leafHash(leaf []byte) tlog.Hash {
	var room [4096]byte
	b := append(room[:0], 0)
	return sha256.Sum256(append(b, leaf...))
}

// commitment is SHA-256(salt || u16(len(tag)) || tag || value).
func commitment(salt [32]byte, tag string, value []byte) [32]byte {
	h := sha256.New()
	h.Write(salt[:])
	h.Write([]byte{byte(len(tag) >> 8), byte(len(tag))})
	h.Write([]byte(tag))
	h.Write(value)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// tilePath is the slash-separated path of a hash tile in a tlog-tiles log;
// width 256 is a full one.
func tilePath(level int, n uint64, width int) string {
	return fmt.Sprintf("tile/%d/%s", level, tileIndex(n, width))
}

// bundlePath is the path of an entry bundle.
func bundlePath(n uint64, width int) string { return "tile/entries/" + tileIndex(n, width) }

// tileIndex writes n in groups of three digits, all but the last marked with x.
func tileIndex(n uint64, width int) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/", n%1000) + s
	}
	if width < tileWidth {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

// tileWidthAt is the width tile n of level has in a log of size leaves.
func tileWidthAt(size uint64, level int, n uint64) int {
	hashes := size >> (8 * level)
	if n < hashes/tileWidth {
		return tileWidth
	}
	if n == hashes/tileWidth {
		return int(hashes % tileWidth)
	}
	return 0
}

func appendTile(b []byte, hashes []tlog.Hash) []byte {
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func parseTile(b []byte, width int) ([]tlog.Hash, error) {
	if len(b) != width*tlog.HashSize {
		return nil, fmt.Errorf("a tile of %d hashes has %d bytes", width, len(b))
	}
	hashes := make([]tlog.Hash, width)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}

func appendBundle(b []byte, leaves [][]byte) []byte {
	for _, l := range leaves {
		b = binary.BigEndian.AppendUint16(b, uint16(len(l)))
		b = append(b, l...)
	}
	return b
}

// parseBundle splits a bundle, which must hold exactly width leaves. They point
// into b.
func parseBundle(b []byte, width int) ([][]byte, error) {
	leaves := make([][]byte, 0, width)
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, errors.New("a bundle ends inside a leaf")
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		leaves = append(leaves, b[2:n:n])
		b = b[n:]
	}
	if len(leaves) != width {
		return nil, fmt.Errorf("a bundle of %d leaves has %d", width, len(leaves))
	}
	return leaves, nil
}

// frontier is the right edge of a tree: for each tile level the hashes of the
// tile that is not full yet. It is all one needs to append and to compute the
// root.
type frontier struct {
	size uint64
	edge [][]tlog.Hash
}

func (f *frontier) clone() *frontier {
	c := &frontier{size: f.size, edge: make([][]tlog.Hash, len(f.edge))}
	for i, e := range f.edge {
		c.edge[i] = slices.Clone(e)
	}
	return c
}

// push appends a leaf hash. full is called for every tile it completes.
func (f *frontier) push(h tlog.Hash, full func(level int, n uint64, hashes []tlog.Hash) error) error {
	index := f.size
	f.size++
	for level := 0; ; level++ {
		if level == len(f.edge) {
			f.edge = append(f.edge, make([]tlog.Hash, 0, tileWidth))
		}
		f.edge[level] = append(f.edge[level], h)
		if len(f.edge[level]) < tileWidth {
			return nil
		}
		if full != nil {
			if err := full(level, index>>(8*(level+1)), f.edge[level]); err != nil {
				return err
			}
		}
		h = perfect(f.edge[level])
		f.edge[level] = f.edge[level][:0]
	}
}

// perfect is the root of a subtree whose number of leaves is a power of two.
func perfect(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(perfect(hashes[:half]), perfect(hashes[half:]))
}

// root is the RFC 6962 tree hash.
func (f *frontier) root() tlog.Hash {
	var root tlog.Hash
	empty := true
	for _, e := range f.edge {
		// The perfect subtrees of one level, smallest and rightmost first.
		for hi := len(e); hi > 0; {
			n := hi & -hi
			h := perfect(e[hi-n : hi])
			if empty {
				root, empty = h, false
			} else {
				root = tlog.NodeHash(h, root)
			}
			hi -= n
		}
	}
	if empty {
		return sha256.Sum256(nil)
	}
	return root
}

// tileReader reads tiles for x/mod's proof code, which authenticates every
// hash against the root it was given.
type tileReader struct {
	read func(path string) ([]byte, error)
}

// Height is that of C2SP tiles.
func (tileReader) Height() int { return 8 }

// SaveTiles does nothing: tiles are read where they are kept.
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles reads each tile; a partial one may have become full meanwhile.
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		b, err := readWidth(r.read, t.W, func(w int) string { return tilePath(t.L, uint64(t.N), w) })
		if err != nil {
			return nil, err
		}
		if len(b) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %s is short", tilePath(t.L, uint64(t.N), t.W))
		}
		out[i] = b[:t.W*tlog.HashSize]
	}
	return out, nil
}

// readWidth reads the file of the given width or, where that is partial and
// gone, the full one.
func readWidth(read func(string) ([]byte, error), width int, path func(int) string) ([]byte, error) {
	b, err := read(path(width))
	if err == nil || width == tileWidth {
		return b, err
	}
	if full, ferr := read(path(tileWidth)); ferr == nil {
		return full, nil
	}
	return nil, err
}

// readBundle reads the first width leaves of bundle n.
func readBundle(read func(string) ([]byte, error), n uint64, width int) ([][]byte, error) {
	b, err := read(bundlePath(n, width))
	if err != nil && width < tileWidth {
		full, ferr := read(bundlePath(n, tileWidth))
		if ferr != nil {
			return nil, err
		}
		leaves, err := parseBundle(full, tileWidth)
		if err != nil {
			return nil, err
		}
		return leaves[:width], nil
	}
	if err != nil {
		return nil, err
	}
	return parseBundle(b, width)
}
