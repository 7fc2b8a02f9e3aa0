package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/audit"
)

var update = flag.Bool("update", false, "write the stored evidence anew, with a new key")

// TestStoredEvidenceVerifies reads evidence an earlier build wrote: what was
// handed to somebody verifies for ever.
func TestStoredEvidenceVerifies(t *testing.T) {
	dir := "testdata"
	if *update {
		store(t, dir)
	}
	vkey := strings.TrimSpace(get(t, dir, "vkey"))
	opts := audit.VerifyOptions{Keys: []string{vkey}, Complete: true}
	if r := verifyOK(t, filepath.Join(dir, "log"), opts); r.Size != 13 || r.Leaves != 13 {
		t.Errorf("log: %+v", r)
	}
	if r := verifyOK(t, filepath.Join(dir, "bundle"), opts); r.Leaves != 4 || r.Opened != 4 || r.Payloads != 4 {
		t.Errorf("bundle: %+v", r)
	}
	if n := independently(t, filepath.Join(dir, "log"), vkey); n != 13 {
		t.Errorf("an independent reading finds %d leaves", n)
	}
}

// store writes a small log and a bundle of two of its calls.
func store(t *testing.T, dir string) {
	t.Helper()
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	for i := range 4 {
		call(t, l, i)
	}
	r := request(t, 4)
	r.Target = "tell \"Waldtraut\"\u2028\x01"
	if _, err := l.Verdict(ctx, audit.Intent{Request: r, Decision: deny(r)}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Admin(ctx, change()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Loss(ctx, audit.Loss{Stream: "lists", Count: 1, First: r.At, Last: r.At, Why: "for the record"}); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := l.Export(ctx, audit.Query{From: 1, Before: 5, Ascending: true}, bundle, audit.ExportOptions{Disclose: true, Payloads: true}); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	for name, from := range map[string]string{"log": filepath.Join(cfg.Dir, "log"), "bundle": bundle} {
		to := filepath.Join(dir, name)
		if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, "vkey", l.VerifierKey()+"\n")
}

// TestLeafVectors holds the verifier to the leaves other implementers test
// with: a word, the leaf hash in hex, and the leaf as a Go string.
func TestLeafVectors(t *testing.T) {
	seen := map[string]int{}
	for i, line := range strings.Split(strings.TrimSpace(get(t, "testdata", "leaves.txt")), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 {
			t.Fatalf("line %d: %q", i+1, line)
		}
		leaf, err := strconv.Unquote(f[2])
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if sum := hashLeaf([]byte(leaf)); fmt.Sprintf("%x", sum) != f[1] {
			t.Errorf("line %d: the leaf hash is %x", i+1, sum)
		}
		if err := audit.CheckLeaf([]byte(leaf)); (err == nil) != (f[0] == "good") {
			t.Errorf("line %d: a %s leaf gives %v: %s", i+1, f[0], err, leaf)
		}
		seen[f[0]]++
	}
	if seen["good"] < 4 || seen["bad"] < 20 || len(seen) != 2 {
		t.Errorf("vectors: %v", seen)
	}
}

// docs/evidence.md is enough to verify a log: this is done from that page alone,
// with the standard library and x/mod, and fails for what the page does not say.
func TestDocumentedFormatIsEnough(t *testing.T) {
	cfg, _, vkey := filled(t, 300) // full and partial tiles of two levels
	if n := independently(t, filepath.Join(cfg.Dir, "log"), vkey); n != 604 {
		t.Errorf("%d leaves", n)
	}
}

// independently verifies log/ without our code and returns its size.
func independently(t *testing.T, dir, vkey string) uint64 {
	t.Helper()
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := note.Open([]byte(get(t, dir, "checkpoint")), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(checkpoint.Text, "\n")
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || lines[0] != verifier.Name() {
		t.Fatalf("checkpoint %q, %v", checkpoint.Text, err)
	}
	tile := func(prefix string, n, all uint64) []byte {
		path := fmt.Sprintf("%03d", n%1000)
		for m := n / 1000; m > 0; m /= 1000 {
			path = fmt.Sprintf("x%03d/", m%1000) + path
		}
		if width := all - n*256; width < 256 {
			path += fmt.Sprintf(".p/%d", width)
		}
		return []byte(get(t, dir, prefix+path))
	}
	var hashes []tlog.Hash // of x/mod's tree
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	var level []tlog.Hash
	open := map[uint64]tlog.Hash{}
	for n := uint64(0); n*256 < size; n++ {
		bundle := tile("tile/entries/", n, size)
		for len(bundle) > 0 {
			leaf := bundle[2 : 2+binary.BigEndian.Uint16(bundle)]
			bundle = bundle[2+len(leaf):]
			index := uint64(len(level))
			stored, err := tlog.StoredHashes(int64(index), leaf, read)
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, stored...)
			level = append(level, sha256.Sum256(append([]byte{0}, leaf...)))
			pairUp(t, index, leaf, level[index], open)
		}
	}
	root, err := tlog.TreeHash(int64(size), read)
	if err != nil || uint64(len(level)) != size || base64.StdEncoding.EncodeToString(root[:]) != lines[2] {
		t.Fatalf("%d leaves give the root %s, the checkpoint says %s of %d, %v", len(level), root, lines[2], size, err)
	}
	for l := 0; len(level) > 0; l++ {
		var above []tlog.Hash
		for n := 0; n*256 < len(level); n++ {
			part := level[n*256 : min(len(level), n*256+256)]
			var want []byte
			for _, h := range part {
				want = append(want, h[:]...)
			}
			if !bytes.Equal(tile(fmt.Sprintf("tile/%d/", l), uint64(n), uint64(len(level))), want) {
				t.Errorf("tile %d of level %d differs", n, l)
			}
			for ; len(part) > 1 && len(want) == 8192; part = part[:len(part)/2] {
				next := make([]tlog.Hash, len(part))
				for i := 0; i < len(part); i += 2 {
					next[i/2] = tlog.NodeHash(part[i], part[i+1])
				}
				part = next
			}
			if len(want) == 8192 {
				above = append(above, part[0])
			}
		}
		level = above
	}
	if len(open) > 0 {
		t.Errorf("intents without an outcome: %v", open)
	}
	return size
}

// pairUp checks the form of a leaf and lets an outcome strike out its intent.
func pairUp(t *testing.T, index uint64, leaf []byte, hash tlog.Hash, open map[uint64]tlog.Hash) {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(leaf))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("leaf %d: %v", index, err)
	}
	var again bytes.Buffer
	e := json.NewEncoder(&again) // which sorts keys; our leaves need no more of RFC 8785 than that and its escapes
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	canonical := bytes.TrimSuffix(again.Bytes(), []byte("\n"))
	canonical = bytes.ReplaceAll(canonical, []byte(`\u2028`), []byte("\u2028"))
	if !bytes.Equal(canonical, leaf) {
		t.Errorf("leaf %d is not canonical: %s", index, leaf)
	}
	switch v["type"] {
	case "intent":
		open[index] = hash
	case "outcome":
		intent, _ := v["intent"].(map[string]any)
		i, err := strconv.ParseUint(fmt.Sprint(intent["i"]), 10, 63)
		if h := open[i]; err != nil || intent["h"] != base64.RawURLEncoding.EncodeToString(h[:]) {
			t.Errorf("leaf %d is the outcome of no open intent", index)
		}
		delete(open, i)
	}
}
