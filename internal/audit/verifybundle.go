package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// VerifyBundle verifies an exported bundle: every file against MANIFEST, every
// leaf against its proof, disclosed values against the commitments, payloads
// against their leaves, and outcomes against their intents. A file MANIFEST does
// not name is a problem: its reader would take it for verified. Whom to trust is
// in opts; without that the bundle's own trust/policy is taken and the report
// says so.
func VerifyBundle(dir string, opts VerifyOptions) (Report, error) {
	r := Report{Path: dir, Kind: "bundle"}
	files, err := openArchive(dir)
	if err != nil {
		return r, fmt.Errorf("verifying: %w", err)
	}
	defer files.close()
	b := &bundle{report: &r, archive: files, files: map[string]bool{}, parsed: map[uint64]value{}, hashes: map[uint64][32]byte{}}
	if err := b.manifest(); err != nil {
		return r, fmt.Errorf("verifying %s: %w", dir, err)
	}
	b.strays()
	self := len(opts.Keys) == 0 && len(opts.Policy) == 0
	if self && b.files[policyName] {
		opts.Policy, _ = files.read(policyName)
	}
	if b.trust, err = newTrust(opts); err != nil {
		return r, fmt.Errorf("verifying %s: %w", dir, err)
	}
	if len(b.trust.logs) == 0 {
		return r, fmt.Errorf("verifying %s needs the log's key or a policy file", dir)
	}
	b.trust.self = self
	for _, name := range b.names {
		if index, ok := indexIn(name, "leaves/", ".json"); ok {
			b.leaf(index)
		}
	}
	for _, name := range b.names {
		b.detail(name)
	}
	pair(&r, b.parsed, b.hashes, "the bundle")
	if r.Leaves == 0 {
		r.lack("the bundle has no leaf")
	}
	return r, nil
}

type bundle struct {
	report  *Report
	trust   *trust
	archive *archive
	names   []string        // in MANIFEST, sorted
	files   map[string]bool // the same; whether it can be read
	parsed  map[uint64]value
	hashes  map[uint64][32]byte
}

const policyName = "trust/policy"

// indexIn returns the index a file of the bundle is named after.
func indexIn(name, dir, suffix string) (uint64, bool) {
	base, in := strings.CutPrefix(name, dir)
	base, ok := strings.CutSuffix(base, suffix)
	index, err := strconv.ParseUint(base, 10, 62)
	return index, in && ok && err == nil && strconv.FormatUint(index, 10) == base
}

// manifest hashes every file MANIFEST names. The manifest is a convenience that
// shows damage early; what convinces are the proofs.
func (b *bundle) manifest() error {
	text, err := b.archive.read("MANIFEST")
	if err != nil {
		return fmt.Errorf("reading MANIFEST: %w", err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if !ok {
			return fmt.Errorf("a line of MANIFEST is malformed")
		}
		if _, twice := b.files[name]; twice {
			b.report.problem("%s: it is named in MANIFEST twice", name)
			continue
		}
		data, err := b.archive.read(name)
		if have := sha256.Sum256(data); err != nil {
			b.report.problem("%s: it is named in MANIFEST and cannot be read", name)
		} else if hex.EncodeToString(have[:]) != sum {
			b.report.problem("%s: it is not what MANIFEST says", name)
		}
		b.files[name] = err == nil
		b.names = append(b.names, name)
	}
	slices.Sort(b.names)
	return nil
}

// strays reports files that MANIFEST does not name.
func (b *bundle) strays() {
	stray := func(dir string, expected func(name string) bool) {
		names, err := b.archive.list(dir)
		if err != nil {
			b.report.problem("%s: %v", dir, err)
		}
		for _, name := range names {
			if !expected(name) {
				b.report.problem("%s: MANIFEST does not name it, so it proves nothing", path.Join(dir, name))
			}
		}
	}
	dirs := []string{"disclosed", "leaves", "payload", "proofs", "trust"}
	stray(".", func(name string) bool { return name == "MANIFEST" || slices.Contains(dirs, name) })
	for _, dir := range dirs {
		stray(dir, func(name string) bool { _, named := b.files[dir+"/"+name]; return named })
	}
}

func (b *bundle) leaf(index uint64) {
	text, err := b.archive.read(fmt.Sprintf("proofs/%d.tlog-proof", index))
	if err != nil {
		b.report.problem("leaves/%d.json has no proof", index)
		return
	}
	p, err := ParseProof(text)
	if err != nil || p.Index != index {
		b.report.problem("proofs/%d.tlog-proof is not a proof of that leaf", index)
		return
	}
	leaf, err := b.archive.read(fmt.Sprintf("leaves/%d.json", index))
	if err != nil {
		return // which is said already
	}
	if v, ok := b.trust.proof(text, leaf, b.report); ok {
		b.parsed[index], b.hashes[index] = v, leafHash(leaf)
	}
}

// detail checks a file that is not a leaf.
func (b *bundle) detail(name string) {
	if index, ok := indexIn(name, "disclosed/", ".json"); ok {
		b.disclosed(name, index)
	} else if index, ok := indexIn(name, "payload/", ".bin"); ok {
		b.payload(name, index)
	} else if index, ok := indexIn(name, "proofs/", ".tlog-proof"); ok {
		b.at(name, index)
	} else if _, ok := indexIn(name, "leaves/", ".json"); !ok && name != policyName {
		b.report.problem("%s: it is no part of a bundle", name)
	}
}

func (b *bundle) at(name string, index uint64) (value, bool) {
	v, ok := b.parsed[index]
	if !ok {
		b.report.problem("%s: it belongs to no leaf that verifies", name)
	}
	return v, ok
}

func (b *bundle) disclosed(name string, index uint64) {
	v, ok := b.at(name, index)
	if !ok {
		return
	}
	text, err := b.archive.read(name)
	if err != nil {
		return // which is said already
	}
	list, err := parseDisclosures(text)
	if err != nil {
		b.report.problem("%s is malformed", name)
		return
	}
	for _, d := range list {
		if err := d.check(v); err != nil || d.Index != index {
			b.report.problem("%s: %q does not open the leaf's commitment", name, d.Tag)
			continue
		}
		b.report.Opened++
	}
}

func (b *bundle) payload(name string, index uint64) {
	v, ok := b.at(name, index)
	if !ok {
		return
	}
	data, err := b.archive.read(name)
	if err != nil {
		return // which is said already
	}
	if want, ok := decodeHash(v.get("pay").get("h")); !ok || sha256.Sum256(data) != want {
		b.report.problem("%s: it is not the payload its leaf commits to", name)
		return
	}
	b.report.Payloads++
}

// pair checks outcomes whose intent is there too, and says what is not.
func pair(r *Report, parsed map[uint64]value, hashes map[uint64][32]byte, where string) {
	answered := map[uint64]bool{}
	for _, index := range slices.Sorted(maps.Keys(parsed)) {
		v := parsed[index]
		if v.get("type").str != "outcome" {
			continue
		}
		intent := uint64(v.get("intent").get("i").num)
		says, _ := decodeHash(v.get("intent").get("h"))
		have, there := hashes[intent]
		switch {
		case !there:
			r.lack("leaf %d: its intent, leaf %d, is not in %s", index, intent, where)
		case have != says || parsed[intent].get("type").str != "intent":
			r.problem("leaf %d: it names another intent than leaf %d", index, intent)
		default:
			answered[intent] = true
		}
	}
	for _, index := range slices.Sorted(maps.Keys(parsed)) {
		if parsed[index].get("type").str == "intent" && !answered[index] {
			r.Unmatched = append(r.Unmatched, index)
			r.lack("leaf %d: no outcome of it is in %s", index, where)
		}
	}
}
