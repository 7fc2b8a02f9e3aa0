package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"rutile/internal/access"
)

// Revealed is a leaf with what only the holder of the keys can see. The caller
// MUST have authorised its reader.
type Revealed struct {
	Index   uint64
	Leaf    []byte
	Row     Row               // of this leaf alone, with pseudonyms resolved
	Sealed  map[string]string // session, task, target, reason …
	Payload []byte            // excerpt of arguments, result or change; nil if none or gone
	Total   uint64            // bytes the excerpt was cut from
	Erased  bool              // the key was destroyed
	Gone    time.Time         // when retention deleted the excerpt; zero if it did not
}

// Reveal opens what the leaf at index seals, as far as keys and payload exist.
func (l *Log) Reveal(ctx context.Context, index uint64) (*Revealed, error) {
	leaf, err := l.Leaf(ctx, index)
	if err != nil {
		return nil, err
	}
	v, err := parseLeaf(leaf)
	if err != nil {
		return nil, fmt.Errorf("reading leaf %d: %w", index, err)
	}
	r := &Revealed{Index: index, Leaf: leaf}
	d := newDeriver(l)
	if r.Row, err = d.row(ctx, index, leaf); err != nil {
		return nil, err
	}
	if r.Row.Type == typeOutcome {
		call, err := d.intent(ctx, &r.Row)
		if err != nil {
			return nil, err
		}
		r.Row.of(&call)
	}
	if v.get("key").kind == 0 {
		return r, nil
	}
	if _, err := l.keys.openKey(ctx, v.get("key").str); errors.Is(err, errNoKey) {
		r.Erased = true
		return r, nil
	} else if err != nil {
		return nil, fmt.Errorf("opening the key of leaf %d: %w", index, err)
	}
	if v.get("sealed").kind != 0 {
		plain, err := l.openSealed(ctx, v)
		if errors.Is(err, errNoKey) {
			r.Erased = true
			return r, nil
		}
		if err == nil {
			err = json.Unmarshal(plain, &r.Sealed)
		}
		if err != nil {
			return nil, fmt.Errorf("opening leaf %d: %w", index, err)
		}
	}
	plain, err := l.openPayload(ctx, index, leaf, v)
	if errors.Is(err, errNoPayload) {
		if v.get("pay").kind != 0 && v.get("class").str == classDecision {
			r.Gone = l.GonePayload(r.Row.At)
		}
		return r, nil
	}
	if errors.Is(err, errNoKey) {
		r.Erased = true
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the payload of leaf %d: %w", index, err)
	}
	r.Total, r.Payload = binary.BigEndian.Uint64(plain), plain[8:]
	return r, nil
}

// openPayload returns the 8 bytes of total length and the excerpt.
func (l *Log) openPayload(ctx context.Context, index uint64, leaf []byte, v value) ([]byte, error) {
	ct, err := l.sealedPayload(index, leaf, v)
	if err != nil {
		return nil, err
	}
	plain, err := l.decrypt(ctx, v, sealPayload, ct)
	if err != nil {
		return nil, err
	}
	if len(plain) < 8 {
		return nil, errors.New("it is too short")
	}
	return plain, nil
}

// sealedPayload returns the ciphertext a leaf commits to.
func (l *Log) sealedPayload(index uint64, leaf []byte, v value) ([]byte, error) {
	want, ok := decodeHash(v.get("pay").get("h"))
	if !ok {
		return nil, errNoPayload
	}
	ct := l.pendingPayload(index)
	if ct == nil {
		at, err := payOf(index, leaf, nil)
		if err != nil {
			return nil, err
		}
		ct, err = readPayload(l.fs, l.cfg.Dir, packID{at.class, at.month}, index)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errNoPayload // its pack was pruned
		}
		if err != nil {
			return nil, err
		}
	}
	if sha256.Sum256(ct) != want {
		return nil, access.Errorf(access.CodeEvidence, "the payload kept for leaf %d is not the one it commits to", index)
	}
	return ct, nil
}

func (l *Log) pendingPayload(index uint64) []byte {
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	for _, g := range l.seal.pending {
		for _, p := range g.pays {
			if p.index == index {
				return p.data
			}
		}
	}
	return nil
}

// Disclose opens one commitment of a leaf: value must be what was committed to.
func (l *Log) Disclose(ctx context.Context, index uint64, tag string, content []byte) (*Disclosure, error) {
	leaf, err := l.Leaf(ctx, index)
	if err != nil {
		return nil, err
	}
	v, err := parseLeaf(leaf)
	if err != nil {
		return nil, fmt.Errorf("reading leaf %d: %w", index, err)
	}
	key, err := l.keys.openKey(ctx, v.get("key").str)
	if err != nil {
		return nil, fmt.Errorf("opening the key of leaf %d: %w", index, err)
	}
	salt := key.saltFor(v.get("id").str, tag)
	d := &Disclosure{index, tag, base64.RawURLEncoding.EncodeToString(salt[:]), base64.RawURLEncoding.EncodeToString(content)}
	if err := d.check(v); err != nil {
		return nil, access.Errorf(access.CodeInvalid, "disclosing %q: %w", tag, err)
	}
	return d, nil
}

// disclosures opens every commitment of the leaf whose value is still at hand:
// sealed texts, and payloads that were not cut.
func (l *Log) disclosures(ctx context.Context, r *Revealed) ([]Disclosure, error) {
	v, err := parseLeaf(r.Leaf)
	if err != nil {
		return nil, err
	}
	var out []Disclosure
	for _, tag := range v.get("com").keys {
		var content []byte
		switch tag {
		case "arguments", "result":
			if r.Payload == nil || uint64(len(r.Payload)) != r.Total {
				continue
			}
			content = r.Payload
		default:
			s, ok := r.Sealed[tag]
			if !ok {
				continue
			}
			content = []byte(s)
		}
		d, err := l.Disclose(ctx, r.Index, tag, content)
		if access.CodeOf(err) == access.CodeInvalid {
			continue // the sealed text was cut, so it is not what was committed to
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *d)
	}
	return out, nil
}
