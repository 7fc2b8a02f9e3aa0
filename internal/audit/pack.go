package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
)

// Payload packs: payload/<class>/<yyyymm>/<index of the first leaf, 16
// hex>.pack, a header and then records of leaf index, length and ciphertext.
const (
	packMagic  = "RTLPACK1"
	packRecord = 8 + 4
	maxPack    = 4 << 20
	packWrite  = 256 << 10 // bytes gathered for one write
)

type packID struct {
	class string
	month int
}

func (id packID) dir(root string) string {
	return filepath.Join(root, "payload", id.class, fmt.Sprintf("%06d", id.month))
}

// pack is the pack being appended to. What is after off did not reach a
// checkpoint: if the round fails it is written over.
type pack struct {
	file File
	off  int64
	end  int64 // of what this round wrote
}

// writePayloads makes the payloads of groups durable beside the log.
func (s *sealer) writePayloads(groups []*group) error {
	byPack := map[packID][]pay{}
	for _, g := range groups {
		for _, p := range g.pays {
			id := packID{p.class, p.month}
			byPack[id] = append(byPack[id], p)
		}
	}
	for id, pays := range byPack {
		if err := s.appendPack(id, pays); err != nil {
			return err
		}
	}
	return nil
}

func (s *sealer) appendPack(id packID, pays []pay) error {
	p := s.packs[id]
	if p == nil {
		var err error
		if p, err = s.newPack(id, pays[0].index); err != nil {
			return err
		}
		s.packs[id] = p
	}
	s.buf = slices.Grow(s.buf[:0], packWrite+maxLeaf+maxExcerpt)
	b, end := s.buf[:0], p.off
	for i, y := range pays {
		b = binary.BigEndian.AppendUint64(b, y.index)
		b = binary.BigEndian.AppendUint32(b, uint32(len(y.data)))
		b = append(b, y.data...)
		if len(b) < packWrite && i+1 < len(pays) {
			continue
		}
		if _, err := p.file.WriteAt(b, end); err != nil {
			return err
		}
		b, end = b[:0], end+int64(len(b))
	}
	if err := p.file.Sync(); err != nil {
		return &syncError{err}
	}
	p.end = end
	return nil
}

// keepPacks goes on behind what a round wrote, once it reached its checkpoint.
func (s *sealer) keepPacks() {
	for id, p := range s.packs {
		p.off = max(p.off, p.end)
		if p.off < maxPack {
			continue
		}
		delete(s.packs, id)
		if err := p.file.Close(); err != nil {
			s.l.log.Warn("closing a payload pack", "err", err)
		}
	}
}

// newPack starts a pack. One of that name can only be left of a sealing that
// did not reach its checkpoint, so it is written anew.
func (s *sealer) newPack(id packID, first uint64) (*pack, error) {
	dir := id.dir(s.l.cfg.Dir)
	if err := makeDirs(s.l.fs, s.l.cfg.Dir, dir); err != nil {
		return nil, err
	}
	f, err := s.l.fs.Open(filepath.Join(dir, packName(first)), true)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt([]byte(packMagic), 0); err == nil {
		if err = s.l.fs.SyncDir(dir); err != nil {
			err = &syncError{err}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &pack{file: f, off: int64(len(packMagic))}, nil
}

func packName(first uint64) string { return fmt.Sprintf("%016x.pack", first) }

func (s *sealer) closePacks() {
	for id := range s.packs {
		s.closePack(id)
	}
}

// closePack ends the pack of id that is appended to, if there is one.
func (s *sealer) closePack(id packID) {
	p := s.packs[id]
	if p == nil {
		return
	}
	if err := p.file.Close(); err != nil {
		s.l.log.Warn("closing a payload pack", "err", err)
	}
	delete(s.packs, id)
}

// readPayload returns the ciphertext of leaf index, fs.ErrNotExist if its pack
// or record is gone. A leaf sealed twice, before and after a crash, has its
// valid record in the pack with the largest first index.
func readPayload(fsys FS, root string, id packID, index uint64) ([]byte, error) {
	dir := id.dir(root)
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	i := sort.SearchStrings(names, packName(index+1)) - 1
	if i < 0 {
		return nil, fs.ErrNotExist
	}
	f, err := fsys.Open(filepath.Join(dir, names[i]), false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := io.NewSectionReader(f, 0, 1<<62)
	var h [packRecord]byte
	if _, err := io.ReadFull(r, h[:len(packMagic)]); err != nil || string(h[:len(packMagic)]) != packMagic {
		return nil, fs.ErrNotExist
	}
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, fs.ErrNotExist
		}
		n := binary.BigEndian.Uint32(h[8:])
		if n > maxLeaf+maxExcerpt {
			return nil, fs.ErrNotExist
		}
		if binary.BigEndian.Uint64(h[:]) != index {
			if _, err := r.Seek(int64(n), io.SeekCurrent); err != nil {
				return nil, err
			}
			continue
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fs.ErrNotExist
		}
		return b, nil
	}
}
