package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// VerifyBundle verifies an exported bundle: every file against MANIFEST, every
// leaf against its proof, disclosed values against the commitments, payloads
// against their leaves, and outcomes against their intents. Whom to trust is in
// opts; without that the bundle's own trust/policy is taken and the report says
// so.
func VerifyBundle(dir string, opts VerifyOptions) (Report, error) {
	r := Report{Path: dir, Kind: "bundle"}
	b := &bundle{report: &r, read: readIn(dir), parsed: map[uint64]value{}, hashes: map[uint64][32]byte{}}
	if err := b.manifest(); err != nil {
		return r, fmt.Errorf("verifying %s: %w", dir, err)
	}
	self := len(opts.Keys) == 0 && len(opts.Policy) == 0
	if self {
		opts.Policy = b.files["trust/policy"]
	}
	var err error
	if b.trust, err = newTrust(opts); err != nil {
		return r, fmt.Errorf("verifying %s: %w", dir, err)
	}
	if len(b.trust.logs) == 0 {
		return r, fmt.Errorf("verifying %s needs the log's key or a policy file", dir)
	}
	b.trust.self = self
	for _, name := range b.names {
		if base, ok := stem(strings.TrimPrefix(name, "leaves/"), ".json"); ok && strings.HasPrefix(name, "leaves/") {
			b.leaf(base)
		}
	}
	b.details()
	b.pair()
	if r.Leaves == 0 {
		r.lack("the bundle has no leaf")
	}
	return r, nil
}

type bundle struct {
	report *Report
	trust  *trust
	read   func(string) ([]byte, error)
	names  []string
	files  map[string][]byte
	parsed map[uint64]value
	hashes map[uint64][32]byte
}

// manifest reads every file MANIFEST names. The manifest is a convenience that
// shows damage early; what convinces are the proofs.
func (b *bundle) manifest() error {
	text, err := b.read("MANIFEST")
	if err != nil {
		return fmt.Errorf("reading MANIFEST: %w", err)
	}
	b.files = map[string][]byte{}
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if !ok {
			return fmt.Errorf("a line of MANIFEST is malformed")
		}
		data, err := b.read(name)
		if err != nil {
			b.report.problem("%s: it is named in MANIFEST and cannot be read", name)
			continue
		}
		if have := sha256.Sum256(data); hex.EncodeToString(have[:]) != sum {
			b.report.problem("%s: it is not what MANIFEST says", name)
		}
		b.files[name] = data
		b.names = append(b.names, name)
	}
	slices.Sort(b.names)
	return nil
}

func (b *bundle) leaf(base string) {
	index, err := strconv.ParseUint(base, 10, 62)
	text, ok := b.files["proofs/"+base+".tlog-proof"]
	if err != nil || !ok {
		b.report.problem("leaves/%s.json has no proof", base)
		return
	}
	p, err := ParseProof(text)
	if err != nil || p.Index != index {
		b.report.problem("proofs/%s.tlog-proof is not a proof of that leaf", base)
		return
	}
	leaf := b.files["leaves/"+base+".json"]
	if v, ok := b.trust.proof(text, leaf, b.report); ok {
		b.parsed[index], b.hashes[index] = v, leafHash(leaf)
	}
}

// details checks what is disclosed and the payloads handed over.
func (b *bundle) details() {
	for _, name := range b.names {
		base, ok := stem(strings.TrimPrefix(name, "disclosed/"), ".json")
		if ok && strings.HasPrefix(name, "disclosed/") {
			b.disclosed(name, base)
		}
		base, ok = stem(strings.TrimPrefix(name, "payload/"), ".bin")
		if ok && strings.HasPrefix(name, "payload/") {
			b.payload(name, base)
		}
	}
}

func (b *bundle) at(name, base string) (value, bool) {
	index, err := strconv.ParseUint(base, 10, 62)
	v, ok := b.parsed[index]
	if err != nil || !ok {
		b.report.problem("%s: it belongs to no leaf that verifies", name)
	}
	return v, err == nil && ok
}

func (b *bundle) disclosed(name, base string) {
	v, ok := b.at(name, base)
	if !ok {
		return
	}
	list, err := parseDisclosures(b.files[name])
	if err != nil {
		b.report.problem("%s is malformed", name)
		return
	}
	for _, d := range list {
		if err := d.check(v); err != nil || strconv.FormatUint(d.Index, 10) != base {
			b.report.problem("%s: %q does not open the leaf's commitment", name, d.Tag)
			continue
		}
		b.report.Opened++
	}
}

func (b *bundle) payload(name, base string) {
	v, ok := b.at(name, base)
	if !ok {
		return
	}
	want, ok := decodeHash(v.get("pay").get("h"))
	if have := sha256.Sum256(b.files[name]); !ok || !bytes.Equal(have[:], want[:]) {
		b.report.problem("%s: it is not the payload its leaf commits to", name)
		return
	}
	b.report.Payloads++
}

// pair checks outcomes whose intent is in the bundle too, and says what is not.
func (b *bundle) pair() {
	answered := map[uint64]bool{}
	for index, v := range b.parsed {
		if v.get("type").str != "outcome" {
			continue
		}
		intent := uint64(v.get("intent").get("i").num)
		says, _ := decodeHash(v.get("intent").get("h"))
		have, there := b.hashes[intent]
		switch {
		case !there:
			b.report.lack("leaf %d: its intent, leaf %d, is not in the bundle", index, intent)
		case have != says || b.parsed[intent].get("type").str != "intent":
			b.report.problem("leaf %d: it names another intent than leaf %d", index, intent)
		default:
			answered[intent] = true
		}
	}
	for index, v := range b.parsed {
		if v.get("type").str == "intent" && !answered[index] {
			b.report.Unmatched = append(b.report.Unmatched, index)
			b.report.lack("leaf %d: no outcome of it is in the bundle", index)
		}
	}
	slices.Sort(b.report.Unmatched)
}
