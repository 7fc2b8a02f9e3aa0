package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// tlogPolicy is a C2SP tlog-policy: which logs, and whose cosignatures make a
// checkpoint acceptable.
type tlogPolicy struct {
	logs      []string
	witnesses map[string]note.Verifier
	groups    map[string]policyGroup
	quorum    string
}

type policyGroup struct {
	need    int
	members []string
}

const noQuorum = "none"

// parsePolicy reads a policy file. What it does not understand it refuses.
func parsePolicy(text []byte) (*tlogPolicy, error) {
	p := &tlogPolicy{witnesses: map[string]note.Verifier{}, groups: map[string]policyGroup{}}
	member := map[string]bool{}
	keys := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("line %d has a control character", i+1)
		}
		f := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if err := p.line(f, member, keys); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.quorum == "" {
		return nil, errors.New("it has no quorum line")
	}
	return p, nil
}

func (p *tlogPolicy) line(f []string, member, keys map[string]bool) error {
	switch {
	case f[0] == "log" && (len(f) == 2 || len(f) == 3):
		if _, err := note.NewVerifier(f[1]); err != nil {
			return err
		}
		if !fresh(keys, f[1]) {
			return errors.New("the log's key stands twice")
		}
		p.logs = append(p.logs, f[1])
	case f[0] == "witness" && (len(f) == 3 || len(f) == 4):
		v, err := newCosigner(f[2])
		if err != nil {
			return err
		}
		if p.known(f[1]) || f[1] == noQuorum || !fresh(keys, f[2]) {
			return fmt.Errorf("the witness %q or its key stands twice", f[1])
		}
		p.witnesses[f[1]] = v
	case f[0] == "group" && len(f) >= 4:
		return p.group(f[1], f[2], f[3:], member)
	case f[0] == "quorum" && len(f) == 2:
		if p.quorum != "" || f[1] != noQuorum && !p.known(f[1]) {
			return fmt.Errorf("the quorum %q is not defined before, or stands twice", f[1])
		}
		p.quorum = f[1]
	default:
		return fmt.Errorf("%q is not understood", f[0])
	}
	return nil
}

func fresh(keys map[string]bool, vkey string) bool {
	key := vkey[strings.LastIndex(vkey, "+")+1:]
	if keys[key] {
		return false
	}
	keys[key] = true
	return true
}

func (p *tlogPolicy) known(name string) bool {
	_, witness := p.witnesses[name]
	_, group := p.groups[name]
	return witness || group
}

func (p *tlogPolicy) group(name, need string, members []string, member map[string]bool) error {
	if p.known(name) || name == noQuorum {
		return fmt.Errorf("the name %q stands twice", name)
	}
	for _, m := range members {
		if !p.known(m) || member[m] {
			return fmt.Errorf("the member %q is not defined before, or is in a group already", m)
		}
		member[m] = true
	}
	n := len(members)
	switch need {
	case "all":
	case "any":
		n = 1
	default:
		k, err := strconv.Atoi(need)
		if err != nil || k < 1 || k > n {
			return fmt.Errorf("%q of %d is not a number of members", need, n)
		}
		n = k
	}
	p.groups[name] = policyGroup{n, members}
	return nil
}

// lacks says what a checkpoint lacks to fulfil the policy, "" if nothing.
func (p *tlogPolicy) lacks(signed []byte) string {
	if p.quorum == noQuorum {
		return ""
	}
	signedBy := map[string]bool{}
	for name, v := range p.witnesses {
		if n, err := note.Open(signed, note.VerifierList(v)); err == nil && len(n.Sigs) > 0 {
			signedBy[name] = true
		}
	}
	if p.holds(p.quorum, signedBy) {
		return ""
	}
	return fmt.Sprintf("the checkpoint has not the cosignatures of the quorum %q", p.quorum)
}

func (p *tlogPolicy) holds(name string, signedBy map[string]bool) bool {
	g, ok := p.groups[name]
	if !ok {
		return signedBy[name]
	}
	have := 0
	for _, m := range g.members {
		if p.holds(m, signedBy) {
			have++
		}
	}
	return have >= g.need
}

// cosigner verifies C2SP cosignature/v1, Ed25519 with a time (key type 4).
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

const algCosignature = 4

func newCosigner(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, key, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(key)
	sum, herr := strconv.ParseUint(id, 16, 32)
	if !ok || name == "" || err != nil || herr != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algCosignature {
		return nil, fmt.Errorf("%q is not the key of a witness", vkey)
	}
	h := sha256.Sum256(append([]byte(name+"\n"), raw...))
	if binary.BigEndian.Uint32(h[:]) != uint32(sum) {
		return nil, fmt.Errorf("the key %q has another id than it says", vkey)
	}
	return &cosigner{name, uint32(sum), ed25519.PublicKey(raw[1:])}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

// Verify checks a signature of 8 bytes of time and the Ed25519 signature over
// the time and the note.
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	var signed bytes.Buffer
	fmt.Fprintf(&signed, "cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	signed.Write(msg)
	return ed25519.Verify(c.key, signed.Bytes(), sig[8:])
}
