package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one leaf is in the log.
type Proof struct {
	Index      uint64
	Leaf       []byte
	Hashes     tlog.RecordProof
	Checkpoint []byte // signed
}

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// Text is the C2SP tlog-proof, without the leaf.
func (p *Proof) Text() []byte {
	b := fmt.Appendf(nil, "%sindex %d\n", proofHeader, p.Index)
	for _, h := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint...)
}

// maxProof bounds a proof file: 62 hashes, a checkpoint and many cosignatures.
// maxEntry is the largest entry a bundle of tlog-tiles can hold.
const (
	maxProof = 64 << 10
	maxEntry = 1<<16 - 1
)

// ParseProof reads a C2SP tlog-proof. The leaf is not part of it.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > maxProof {
		return nil, fmt.Errorf("the proof has %d bytes, over the bound", len(text))
	}
	rest, ok := bytes.CutPrefix(text, []byte(proofHeader))
	if !ok {
		return nil, errors.New("the proof does not begin with c2sp.org/tlog-proof@v1")
	}
	top, checkpoint, ok := bytes.Cut(rest, []byte("\n\n"))
	if !ok {
		return nil, errors.New("the proof has no checkpoint")
	}
	lines := strings.Split(string(top), "\n")
	if strings.HasPrefix(lines[0], "extra ") { // not authenticated, so not looked at
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return nil, errors.New("the proof has no index")
	}
	digits, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(digits, 10, 62)
	if !ok || err != nil || strconv.FormatUint(index, 10) != digits {
		return nil, errors.New("the proof's index is malformed")
	}
	p := &Proof{Index: index, Checkpoint: bytes.Clone(checkpoint)}
	for _, l := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil || len(h) != tlog.HashSize || len(p.Hashes) == 63 {
			return nil, errors.New("the proof has a line that is not a hash")
		}
		p.Hashes = append(p.Hashes, tlog.Hash(h))
	}
	return p, nil
}

// Proven is a leaf with its tlog-proof and the index it is said to have.
type Proven struct {
	Index uint64
	Proof []byte
	Leaf  []byte
}

// VerifyProof verifies that leaf is in a log whose key is trusted. Without keys
// and without a policy it is a usage error: a leaf cannot vouch for its log.
func VerifyProof(text, leaf []byte, opts VerifyOptions) (Report, error) {
	p, err := ParseProof(text)
	if err != nil {
		r := Report{Kind: "proof"}
		r.problem("%v", err)
		return r, nil
	}
	return VerifyProofs([]Proven{{p.Index, text, leaf}}, opts)
}

// VerifyProofs verifies leaves that were handed over together. If they are more
// than one, outcomes and intents among them must belong to each other.
func VerifyProofs(proven []Proven, opts VerifyOptions) (Report, error) {
	r := Report{Kind: "proof"}
	t, err := newTrust(opts)
	if err != nil {
		return r, err
	}
	if len(t.logs) == 0 {
		return r, errors.New("verifying a proof needs the log's key or a policy file")
	}
	parsed, hashes := map[uint64]value{}, map[uint64][32]byte{}
	for _, p := range proven {
		stated, err := ParseProof(p.Proof)
		if err != nil {
			r.problem("leaf %d: %v", p.Index, err)
			continue
		}
		if _, twice := parsed[p.Index]; twice || stated.Index != p.Index {
			r.problem("leaf %d: its proof is of leaf %d, or it stands there twice", p.Index, stated.Index)
			continue
		}
		if v, ok := t.proof(p.Proof, p.Leaf, &r); ok {
			parsed[p.Index], hashes[p.Index] = v, leafHash(p.Leaf)
		}
	}
	if len(proven) > 1 {
		pair(&r, parsed, hashes, "the proof")
	}
	if r.Leaves == 0 && len(r.Problems) == 0 {
		r.lack("the proof has no leaf")
	}
	return r, nil
}

// proof verifies one leaf into the report and returns it parsed.
func (t *trust) proof(text, leaf []byte, r *Report) (v value, ok bool) {
	p, err := ParseProof(text)
	if err != nil {
		r.problem("%v", err)
		return v, false
	}
	h, ok := t.open(p.Checkpoint, r)
	if !ok {
		return v, false
	}
	if p.Index >= h.size {
		r.problem("leaf %d: the checkpoint has only %d leaves", p.Index, h.size)
		return v, false
	}
	if err := tlog.CheckRecord(p.Hashes, int64(h.size), h.root, int64(p.Index), leafHash(leaf)); err != nil {
		r.problem("leaf %d is not in the log: the proof does not lead to the root", p.Index)
		return v, false
	}
	r.Leaves++
	if v, err = checkLeaf(leaf); err != nil {
		r.problem("leaf %d: %v", p.Index, err)
		return v, false
	}
	return v, true
}

// VerifyProofFile verifies N.tlog-proof with the leaf beside it: N.json, or
// ../leaves/N.json as in a bundle. If neither keys nor a policy are given, the
// policy of the bundle around it (../trust/policy) is taken, and the report
// says that it is the bundle's own word.
func VerifyProofFile(path string, opts VerifyOptions) (Report, error) {
	text, err := readBounded(path, maxProof)
	if err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	dir, name := filepath.Split(path)
	base, ok := stem(name, ".tlog-proof")
	if !ok {
		return Report{}, fmt.Errorf("verifying %s: a proof's name ends in .tlog-proof", path)
	}
	leaf, err := readBeside(filepath.Join(dir, base+".json"), maxEntry)
	if missing(err) {
		leaf, err = readBeside(filepath.Join(dir, "..", "leaves", base+".json"), maxEntry)
	}
	if err != nil {
		return Report{}, fmt.Errorf("verifying %s: reading its leaf: %w", path, err)
	}
	self := false
	if len(opts.Keys) == 0 && len(opts.Policy) == 0 {
		opts.Policy, err = readBeside(filepath.Join(dir, "..", "trust", "policy"), maxProof)
		if err != nil {
			return Report{}, fmt.Errorf("verifying %s needs the log's key or a policy file", path)
		}
		self = true
	}
	r, err := VerifyProof(text, leaf, opts)
	r.Path, r.SelfTrusted = path, self
	return r, err
}

// Disclosure opens one commitment of a leaf. It says nothing of the others.
type Disclosure struct {
	Index uint64 `json:"index"`
	Tag   string `json:"tag"`
	Salt  string `json:"salt"`  // unpadded base64url
	Value string `json:"value"` // unpadded base64url
}

// check reports whether d opens the commitment in the leaf.
func (d *Disclosure) check(v value) error {
	want, ok := decodeHash(v.get("com").get(d.Tag))
	if !ok {
		return fmt.Errorf("leaf %d has no commitment %q", d.Index, d.Tag)
	}
	salt, err := base64.RawURLEncoding.Strict().DecodeString(d.Salt)
	if err != nil || len(salt) != 32 {
		return fmt.Errorf("the salt of %q is malformed", d.Tag)
	}
	content, err := base64.RawURLEncoding.Strict().DecodeString(d.Value)
	if err != nil {
		return fmt.Errorf("the value of %q is malformed", d.Tag)
	}
	if commitment([32]byte(salt), d.Tag, content) != want {
		return fmt.Errorf("what is disclosed as %q is not what leaf %d commits to", d.Tag, d.Index)
	}
	return nil
}

func parseDisclosures(b []byte) ([]Disclosure, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var out []Disclosure
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	return out, nil
}
