package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions say whom to trust and what to demand.
type VerifyOptions struct {
	// Keys are the vkeys of accepted logs. Without any, and without a policy, the
	// key the log itself declares in its first leaf is used: that shows that the
	// log is whole and consistent, not whose it is.
	Keys []string
	// Policy is a C2SP tlog-policy: logs, witnesses and a quorum.
	Policy []byte
	// Complete demands that every intent has an outcome.
	Complete bool
}

// Report is what was verified and what was not.
type Report struct {
	Path        string   `json:"path"`
	Kind        string   `json:"kind"` // log, bundle, proof
	Origin      string   `json:"origin,omitempty"`
	Key         string   `json:"key,omitempty"`         // vkey the signature was verified with
	SelfTrusted bool     `json:"selfTrusted,omitempty"` // the key is the log's own word
	Size        uint64   `json:"size"`                  // of the checkpoint
	Root        string   `json:"root,omitempty"`        // base64
	Leaves      uint64   `json:"leaves"`                // leaves checked
	Pruned      uint64   `json:"pruned,omitempty"`      // leaves that went for their age, of which the hashes are checked
	Witnessed   uint64   `json:"witnessed,omitempty"`   // leaves under a checkpoint with the cosignatures the policy demands
	Payloads    uint64   `json:"payloads"`              // payloads that match their leaf
	Opened      uint64   `json:"opened"`                // disclosed commitments that open
	Missing     uint64   `json:"missing,omitempty"`     // payloads that are gone, which breaks nothing
	Unmatched   []uint64 `json:"unmatched,omitempty"`   // intents without an outcome
	Problems    []string `json:"problems,omitempty"`    // what does not verify
	Lacking     []string `json:"lacking,omitempty"`     // what verifies but is less than was demanded
}

// maxProblems bounds a report; a log that is rotten all through needs no more.
const maxProblems = 100

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Report) lack(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(r.Lacking) < maxProblems && !slices.Contains(r.Lacking, text) {
		r.Lacking = append(r.Lacking, text)
	}
}

// Exit statuses of `rutile audit verify`.
const (
	ExitVerified = 0
	ExitProblems = 3
	ExitLacking  = 5
)

// ExitStatus is 0 if all verified, 3 if something does not verify, 5 if all
// verified but less than was demanded. (2, usage, and 1, could not run, are the
// caller's.)
func (r *Report) ExitStatus() int {
	switch {
	case len(r.Problems) > 0:
		return ExitProblems
	case len(r.Lacking) > 0:
		return ExitLacking
	}
	return ExitVerified
}

// Verify verifies a log directory, an exported bundle or one proof file,
// whichever path is. It needs no server, no network and no store. An error
// means that it could not run.
func Verify(path string, opts VerifyOptions) (Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	if !info.IsDir() {
		return VerifyProofFile(path, opts)
	}
	if _, err := os.Stat(filepath.Join(path, "MANIFEST")); err == nil {
		return VerifyBundle(path, opts)
	}
	return VerifyDir(path, opts)
}

// trust is whose signatures count.
type trust struct {
	policy *tlogPolicy
	keys   map[string]string // origin to vkey
	logs   []note.Verifier
	self   bool
	seen   map[seenAt]tlog.Hash // roots
}

// seenAt is a size of a log.
type seenAt struct {
	origin string
	size   uint64
}

// newTrust reads the options; it trusts nobody yet if they name nobody.
func newTrust(opts VerifyOptions) (*trust, error) {
	t := &trust{keys: map[string]string{}, seen: map[seenAt]tlog.Hash{}}
	keys := opts.Keys
	if len(opts.Policy) > 0 {
		p, err := parsePolicy(opts.Policy)
		if err != nil {
			return nil, fmt.Errorf("reading the policy: %w", err)
		}
		t.policy = p
		keys = append(append([]string(nil), keys...), p.logs...)
	}
	for _, k := range keys {
		if err := t.add(k); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *trust) add(vkey string) error {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("reading the key %q: %w", vkey, err)
	}
	t.logs = append(t.logs, v)
	t.keys[v.Name()] = vkey
	return nil
}

// open verifies a checkpoint and reports what the largest says. ok is false if
// it does not verify, which is then in the report.
func (t *trust) open(signed []byte, r *Report) (h head, ok bool) {
	h, err := openCheckpoint(signed, t.logs...)
	if err != nil {
		r.problem("%v", err)
		return h, false
	}
	if root, ok := t.seen[seenAt{h.origin, h.size}]; ok && root != h.root {
		r.problem("the log signed two roots of size %d, so it shows two histories", h.size)
		return h, false
	}
	t.seen[seenAt{h.origin, h.size}] = h.root
	if t.policy != nil {
		if lacks := t.policy.lacks(signed); lacks != "" {
			r.lack("%s", lacks)
		}
	}
	if h.size >= r.Size {
		r.Origin, r.Key, r.SelfTrusted, r.Size, r.Root = h.origin, t.keys[h.origin], t.self, h.size, h.root.String()
	}
	return h, true
}
