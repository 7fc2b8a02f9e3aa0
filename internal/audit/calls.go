package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"sort"

	"rutile/internal/access"
)

// Call is a decision as the log tells of it: a dispatched call, a refused one or
// a list. It is valid until the next one is yielded.
type Call struct {
	Row            // of its first leaf alone; names are "" where their key was destroyed
	Issuer  string // of Row.Subject
	Kind    access.Kind
	Proto   string
	Version string // of the protocol

	Attested, Bound          bool
	Class                    access.Class
	Permits, Forbids, Errors []string
	Cut                      bool   // there were more of them than a leaf keeps
	Monitor                  bool   // Outcome is what happened, Would what would have been enforced
	Set, ToolDigest          string // digests, "" if the leaf has none
	Grant                    string // it was permitted under
	Tier                     int

	leaf   []byte
	v      value
	reader *callReader
}

// First returns the index of the first leaf of the first event that q selects,
// the size of the log if there is none.
func (l *Log) First(ctx context.Context, q Query) (uint64, error) {
	q.Ascending, q.Limit = true, 1
	rows, err := l.Search(ctx, q)
	if err != nil || len(rows) == 0 {
		return l.Size(), err
	}
	return rows[0].Index, nil
}

// Calls yields the decisions whose first leaf is in [from, to), in the order of
// the log. The last pair may be an error. It holds one run of leaves in memory.
func (l *Log) Calls(ctx context.Context, from, to uint64) iter.Seq2[*Call, error] {
	return func(yield func(*Call, error) bool) {
		r := newCallReader(l)
		defer r.pays.close()
		for e, err := range l.entries(ctx, from, to) {
			var c *Call
			if err == nil {
				c, err = r.call(ctx, e.Index, e.Leaf)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if c != nil && !yield(c, nil) {
				return
			}
		}
	}
}

// entries yields the leaves of [from, to) that are there, in order.
func (l *Log) entries(ctx context.Context, from, to uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		to = min(to, l.Size())
		for next := max(from, l.minimum()); next < to; {
			leaves, first, err := l.leavesAt(next)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for next < min(to, first+uint64(len(leaves))) {
				if err := ctx.Err(); err != nil {
					yield(Entry{}, err)
					return
				}
				if !yield(Entry{next, leaves[next-first]}, nil) {
					return
				}
				next++
			}
		}
	}
}

// callReader turns leaves into calls.
type callReader struct {
	l     *Log
	names *deriver
	pays  payloads
}

func newCallReader(l *Log) *callReader {
	return &callReader{l: l, names: newDeriver(l), pays: payloads{l: l}}
}

// call returns the decision a leaf tells of, nil if it tells of something else.
func (r *callReader) call(ctx context.Context, index uint64, leaf []byte) (*Call, error) {
	v, err := parseLeaf(leaf)
	if err != nil {
		return nil, fmt.Errorf("reading leaf %d: %w", index, err)
	}
	if t := v.get("type").str; t != typeIntent && t != typeVerdict {
		return nil, nil
	}
	return r.decided(ctx, index, leaf, v)
}

// decided returns the decision that an intent or a verdict tells of.
func (r *callReader) decided(ctx context.Context, index uint64, leaf []byte, v value) (*Call, error) {
	row, err := r.names.rowOf(ctx, index, v)
	if err != nil {
		return nil, err
	}
	dec, what, who := v.get("dec"), v.get("what"), v.get("who")
	c := &Call{
		Row: row, Kind: access.Kind(what.get("kind").str), Proto: what.get("proto").str, Version: what.get("era").str,
		Attested: who.get("attested").num == 1, Bound: who.get("cnf").num == 1, Class: access.Class(dec.get("class").str),
		Permits: dec.get("permits").strings(), Forbids: dec.get("forbids").strings(), Errors: dec.get("errors").strings(),
		Cut: dec.get("more").num > 0, Monitor: dec.get("monitor").num == 1,
		Set: dec.get("set").str, ToolDigest: what.get("tool_digest").str,
		Grant: v.get("why").get("grant").str, Tier: int(what.get("tier").num), leaf: leaf, v: v, reader: r,
	}
	pseudonym := who.get("agent").str
	c.Permits, c.Forbids, c.Errors = unhide(c.Permits, c.Agent, pseudonym), unhide(c.Forbids, c.Agent, pseudonym), unhide(c.Errors, c.Agent, pseudonym)
	c.Issuer = r.names.names[who.get("subject").str].Issuer // read with its id
	return c, nil
}

// Erased reports whether the call can no longer be told whose it was.
func (c *Call) Erased() bool {
	who := c.v.get("who")
	return c.Agent == "" && who.get("agent").str != "" || c.Row.Subject == "" && who.get("subject").str != ""
}

// TargetCut reports whether a leaf may keep only the beginning of the target.
func (c *Call) TargetCut() bool { return len(c.Tool) >= maxTarget }

// Arguments returns the arguments of the call, nil for none. known is false where
// they are not kept whole: they were too long, their key was destroyed, their pack
// was removed, or nothing is kept of them at all. The caller MUST NOT show them.
func (c *Call) Arguments(ctx context.Context) (raw []byte, known bool, err error) {
	if c.v.get("com").get("arguments").kind == 0 {
		return nil, true, nil
	}
	ct, err := c.reader.pays.of(c.Index, c.leaf, c.v)
	if err == nil {
		raw, err = c.reader.l.decrypt(ctx, c.v, sealPayload, ct)
	}
	switch {
	case errors.Is(err, errNoPayload), errors.Is(err, errNoKey):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("opening the arguments of leaf %d: %w", c.Index, err)
	case len(raw) < 8 || binary.BigEndian.Uint64(raw) != uint64(len(raw)-8):
		return nil, false, nil // what is kept of them was cut
	}
	return raw[8:], true, nil
}

// Told is the sentence the agent was told where the call was not permitted, "" where
// there is none or its key was destroyed. The caller MUST have authorised its reader.
func (c *Call) Told(ctx context.Context) (string, error) {
	if c.v.get("sealed").kind == 0 {
		return "", nil
	}
	plain, err := c.reader.l.openSealed(ctx, c.v)
	if errors.Is(err, errNoKey) {
		return "", nil
	}
	var ids sealedIDs
	if err == nil {
		err = json.Unmarshal(plain, &ids)
	}
	if err != nil {
		return "", fmt.Errorf("opening leaf %d: %w", c.Index, err)
	}
	return ids.Reason, nil
}

// payloads reads what is kept beside the log, in the order of the log: each pack
// is read once from its beginning to its end.
type payloads struct {
	l     *Log
	id    packID
	names []string
	name  string // of the open pack
	file  File
	r     *bufio.Reader
	last  uint64 // index of the record read last
}

func (p *payloads) close() {
	if p.file != nil {
		_ = p.file.Close() // it was only read
		p.file = nil
	}
}

// of returns the ciphertext a leaf commits to, errNoPayload if there is none.
func (p *payloads) of(index uint64, leaf []byte, v value) ([]byte, error) {
	want, ok := decodeHash(v.get("pay").get("h"))
	if !ok {
		return nil, errNoPayload
	}
	at, err := payOf(index, leaf, nil)
	if err != nil {
		return nil, err
	}
	if ct, ok := p.next(packID{at.class, at.month}, index); ok && sha256.Sum256(ct) == want {
		return ct, nil
	}
	return p.l.sealedPayload(index, leaf, v) // not sealed yet, or not where it should come
}

// next looks for a record further on in the pack that holds index.
func (p *payloads) next(id packID, index uint64) ([]byte, bool) {
	if p.id != id || p.names == nil {
		names, err := p.l.fs.List(id.dir(p.l.cfg.Dir))
		if err != nil {
			return nil, false
		}
		p.close()
		p.id, p.names, p.name = id, names, ""
	}
	i := sort.SearchStrings(p.names, packName(index+1)) - 1
	if i < 0 {
		return nil, false
	}
	if p.name != p.names[i] || index <= p.last || p.file == nil {
		if !p.open(p.names[i]) {
			return nil, false
		}
	}
	for {
		h, err := p.r.Peek(packRecord)
		if err != nil || binary.BigEndian.Uint64(h) > index {
			return nil, false
		}
		at, n := binary.BigEndian.Uint64(h), int(binary.BigEndian.Uint32(h[8:]))
		if n > maxLeaf+maxExcerpt {
			return nil, false
		}
		_, _ = p.r.Discard(packRecord) // it was there to be looked at
		p.last = at
		if at != index {
			if _, err := p.r.Discard(n); err != nil {
				return nil, false
			}
			continue
		}
		b := make([]byte, n)
		_, err = io.ReadFull(p.r, b)
		return b, err == nil
	}
}

func (p *payloads) open(name string) bool {
	p.close()
	f, err := p.l.fs.Open(filepath.Join(p.id.dir(p.l.cfg.Dir), name), false)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			p.l.log.Warn("reading kept arguments", "pack", name, "err", err)
		}
		return false
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), 64<<10)
	magic, err := r.Peek(len(packMagic))
	if err != nil || string(magic) != packMagic {
		_ = f.Close() // nothing can be read from it
		return false
	}
	_, _ = r.Discard(len(packMagic))
	p.file, p.r, p.name, p.last = f, r, name, 0
	return true
}
