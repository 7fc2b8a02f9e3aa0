package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"syscall"

	"rutile/internal/access"
)

// A segment of the write-ahead log is a header and then groups. One group is
// written with one write and made durable with one sync; docs/evidence.md has
// the byte layout.
const (
	segMagic    = "RTLWAL1\n"
	segHeader   = 8 + 32 + 8 + 32 + 4
	groupMagic  = 0x52544c47 // "RTLG"
	groupHeader = 4 + 8 + 8 + 4 + 4 + 4
	groupTail   = 16
	frameHeader = 1 + 4
	frameLeaf   = 1
	framePay    = 2
	spareName   = "next"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is an open segment.
type segment struct {
	file File
	salt [32]byte
	size int64 // preallocated bytes
	off  int64 // where the next group goes
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x.wal", first) }

// newSpare makes an empty segment: written and synced in full, so that nothing
// but data blocks changes when groups go into it and a full disk is met here.
func newSpare(fsys FS, dir string, size int64) (File, error) {
	name := filepath.Join(dir, spareName)
	f, err := fsys.Open(name, true)
	if err != nil {
		return nil, err
	}
	zero := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size && err == nil; off += int64(len(zero)) {
		_, err = f.WriteAt(zero[:min(int64(len(zero)), size-off)], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = &access.Error{Code: access.CodeEvidence, Msg: fmt.Sprintf("no space is left for the evidence in %s: free %d MiB, which a segment of the log takes, and try again", dir, max(size>>20, 1)), Err: err}
	}
	return nil, errors.Join(fmt.Errorf("making a segment: %w", err), f.Close(), fsys.Remove(name))
}

// start turns the spare into the segment whose first leaf is first. It is
// durable under its name before any group is written.
func startSegment(fsys FS, dir string, f File, size int64, originHash [32]byte, first uint64, rand io.Reader) (*segment, error) {
	s := &segment{file: f, size: size, off: segHeader}
	if _, err := io.ReadFull(rand, s.salt[:]); err != nil {
		return nil, err
	}
	h := make([]byte, 0, segHeader)
	h = append(h, segMagic...)
	h = append(h, originHash[:]...)
	h = binary.BigEndian.AppendUint64(h, first)
	h = append(h, s.salt[:]...)
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := f.WriteAt(h, 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, &syncError{err}
	}
	if err := fsys.Rename(filepath.Join(dir, spareName), filepath.Join(dir, segmentName(first))); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return nil, &syncError{err}
	}
	return s, nil
}

// pay is a payload of a group.
type pay struct {
	index uint64
	class string
	month int
	data  []byte
}

// group is what one write made durable: the unit the sealer, readers and the
// indexer are handed.
type group struct {
	first  uint64
	leaves [][]byte
	hashes [][32]byte
	pays   []pay
	bytes  int
}

func (g *group) end() uint64 { return g.first + uint64(len(g.leaves)) }

// encodedSize is how many bytes e takes in a group.
func encodedSize(e *entry) int {
	n := frameHeader + len(e.leaf())
	if e.payload != nil {
		n += frameHeader + len(e.payload)
	}
	return n
}

// encodeGroup gives the entries their indexes and returns the bytes to write
// and the group, whose slices point into them. durable is the size known to be
// synced: a later valid group that says more than what was read is the proof
// that acknowledged leaves are missing.
func encodeGroup(salt *[32]byte, first, durable uint64, entries []*entry) ([]byte, *group) {
	size := 0
	for _, e := range entries {
		size += encodedSize(e)
	}
	b := make([]byte, 0, groupHeader+size+groupTail)
	b = binary.BigEndian.AppendUint32(b, groupMagic)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint64(b, durable)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))

	g := &group{first: first, leaves: make([][]byte, len(entries)), hashes: make([][32]byte, len(entries)), bytes: cap(b)}
	h := sha256.New()
	h.Write(salt[:])
	h.Write(b)
	for i, e := range entries {
		e.index = first + uint64(i)
		b = appendFrame(b, frameLeaf, e.leaf())
		g.leaves[i], g.hashes[i] = b[len(b)-len(e.leaf()):len(b):len(b)], e.hash
		h.Write(e.hash[:])
		if e.payload != nil {
			b = appendFrame(b, framePay, e.payload)
			g.pays = append(g.pays, pay{e.index, e.class, e.month, b[len(b)-len(e.payload) : len(b) : len(b)]})
			h.Write(e.payHash[:])
		}
	}
	var sum [sha256.Size]byte // Sum would need room for all of it behind b, and copy b
	return append(b, h.Sum(sum[:0])[:groupTail]...), g
}

func appendFrame(b []byte, kind byte, data []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// readSegment is a segment read back.
type readSegment struct {
	name  string
	first uint64
	salt  [32]byte
	data  []byte
}

var errBadHeader = errors.New("the segment's header is damaged")

func parseSegment(name string, data []byte, originHash [32]byte) (*readSegment, error) {
	if len(data) < segHeader || string(data[:8]) != segMagic ||
		binary.BigEndian.Uint32(data[segHeader-4:]) != crc32.Checksum(data[:segHeader-4], castagnoli) {
		return nil, errBadHeader
	}
	if !bytes.Equal(data[8:40], originHash[:]) {
		return nil, errors.New("the segment belongs to another log")
	}
	s := &readSegment{name: name, first: binary.BigEndian.Uint64(data[40:]), data: data}
	copy(s.salt[:], data[48:80])
	if name != segmentName(s.first) {
		return nil, errors.New("the segment's name is not that of its first leaf")
	}
	return s, nil
}

// readGroup is a whole group read back.
type readGroup struct {
	first, durable uint64
	leaves         [][]byte
	hashes         [][32]byte
	pays           map[int][]byte // by position of its leaf
	size           int
}

// group returns the whole group at off, nil if what is there is not one.
func (s *readSegment) group(off int) *readGroup {
	b := s.data[off:]
	if len(b) < groupHeader+groupTail || binary.BigEndian.Uint32(b) != groupMagic ||
		binary.BigEndian.Uint32(b[groupHeader-4:]) != crc32.Checksum(b[:groupHeader-4], castagnoli) {
		return nil
	}
	count, size := binary.BigEndian.Uint32(b[20:]), binary.BigEndian.Uint32(b[24:])
	if uint64(size) > uint64(len(b)-groupHeader-groupTail) || count == 0 || uint64(count)*frameHeader > uint64(size) {
		return nil
	}
	g := &readGroup{first: binary.BigEndian.Uint64(b[4:]), durable: binary.BigEndian.Uint64(b[12:]), size: groupHeader + int(size) + groupTail}
	h := sha256.New()
	h.Write(s.salt[:])
	h.Write(b[:groupHeader])
	for frames := b[groupHeader : groupHeader+int(size)]; len(frames) > 0; {
		if len(frames) < frameHeader {
			return nil
		}
		kind, n := frames[0], int(binary.BigEndian.Uint32(frames[1:]))
		if n > len(frames)-frameHeader {
			return nil
		}
		data := frames[frameHeader : frameHeader+n : frameHeader+n]
		frames = frames[frameHeader+n:]
		sum := g.add(kind, data)
		if sum == nil {
			return nil
		}
		h.Write(sum[:])
	}
	if len(g.leaves) != int(count) || !bytes.Equal(h.Sum(nil)[:groupTail], b[g.size-groupTail:g.size]) {
		return nil
	}
	return g
}

// add takes a frame and returns its hash, nil if it does not belong there.
func (g *readGroup) add(kind byte, data []byte) *[32]byte {
	switch kind {
	case frameLeaf:
		sum := [32]byte(leafHash(data))
		g.leaves, g.hashes = append(g.leaves, data), append(g.hashes, sum)
		return &sum
	case framePay:
		last := len(g.leaves) - 1
		if last < 0 || g.pays[last] != nil {
			return nil
		}
		if g.pays == nil {
			g.pays = map[int][]byte{}
		}
		g.pays[last] = data
		sum := sha256.Sum256(data)
		return &sum
	}
	return nil
}

// later returns the largest durable size any whole group after off speaks of,
// and whether there is one.
func (s *readSegment) later(off int) (durable uint64, ok bool) {
	var magic [4]byte
	binary.BigEndian.PutUint32(magic[:], groupMagic)
	for off < len(s.data) {
		i := bytes.Index(s.data[off:], magic[:])
		if i < 0 {
			return durable, ok
		}
		off += i
		if g := s.group(off); g != nil {
			durable, ok = max(durable, g.durable), true
			off += g.size
			continue
		}
		off++
	}
	return durable, ok
}
