package audit

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// checkLeaf checks one leaf by itself: canonical form, common members and those
// its type demands.
func checkLeaf(leaf []byte) (value, error) {
	if len(leaf) > 16<<10 {
		return value{}, fmt.Errorf("it has %d bytes, over the bound", len(leaf))
	}
	v, err := parseLeaf(leaf)
	if err != nil {
		return v, err
	}
	if v.get("v").kind != '0' || v.get("v").num != 1 {
		return v, fmt.Errorf("its version is not 1")
	}
	if err := checkMembers(v, commonMembers); err != nil {
		return v, err
	}
	if err := checkMembers(v, typeMembers[v.get("type").str]); err != nil {
		return v, err
	}
	return v, checkSigned(v)
}

// CheckLeaf reports what is wrong with the form of a leaf, nil if nothing is.
func CheckLeaf(leaf []byte) error {
	_, err := checkLeaf(leaf)
	return err
}

// commonMembers and typeMembers say what a leaf has and of which form: s a
// string, i an integer that is not negative, t a time, h a hash, u a ULID, o an
// object, l a list, c a retention class. A leading ? allows absence. A type not
// in the table is one of a later version: its common members are checked.
var commonMembers = map[string]string{
	"at": "t", "boot": "i", "class": "c", "id": "u", "node": "s", "tenant": "s", "type": "s",
	"cause": "?l", "com": "?o", "key": "?s", "pay": "?o", "pay.h": "?h", "pay.k": "?s", "pay.n": "?i", "sealed": "?s",
}

var typeMembers = map[string]map[string]string{
	"log.open":  {"durability": "s", "origin": "s", "size": "i", "vkey": "s"},
	"log.close": {},
	"intent":    callMembers,
	"verdict":   callMembers,
	"outcome": {
		"in": "i", "intent": "o", "intent.h": "h", "intent.i": "i", "out": "i", "reached": "s", "st": "s", "us": "i",
		"findings": "?l", "release": "?o", "unlocks": "?l", "dur": "?s", "labels_added": "?l",
	},
	"admin":      {"actor": "s", "object": "?o", "verb": "s", "change": "?s", "webauthn": "?o"},
	"revocation": {"actor": "s", "object": "?o", "verb": "s", "change": "?s", "revocation": "o", "revocation.epoch": "i", "revocation.id": "s", "revocation.kind": "s", "revocation.target": "?s"},
	"receipt": {
		"actor": "s", "object": "?o", "verb": "s", "change": "?s", "revocation": "o", "revocation.epoch": "i", "revocation.id": "s", "revocation.kind": "s", "revocation.target": "?s",
		"revocation.calls": "i", "revocation.grants": "i", "revocation.sessions": "i", "revocation.nodes": "l", "revocation.credentials": "?l", "revocation.denied_us": "i", "revocation.cut_us": "i",
	},
	"erasure": {"actor": "s", "object": "?o", "verb": "s", "change": "?s", "erasure": "o", "erasure.id": "s", "erasure.keys": "?l", "erasure.n": "i", "erasure.subjects": "?l"},
	"retention": {
		"actor": "s", "object": "?o", "verb": "s", "change": "?s", "retention": "o", "retention.before": "?t", "retention.decision": "?i", "retention.payload": "?i", "retention.months": "?l",
		"retention.minimum": "?i", "retention.kept": "?i",
	},
	"loss": {"count": "i", "first": "t", "last": "t", "why": "s"},
}

var callMembers = map[string]string{
	"dec": "o", "dec.id": "?s", "dec.out": "s", "dec.permits": "?l", "dec.forbids": "?l", "dec.errors": "?l", "dec.masks": "?l", "dec.us": "i",
	"dec.shadow": "?o", "dec.shadow.by": "?l", "dec.shadow.out": "?s",
	"what": "o", "what.tier": "i", "who": "o", "who.agent": "s", "cred": "?o", "dur": "?s", "trace": "?s",
	"risk": "?o", "risk.session": "?i", "risk.agent": "?i", "risk.person": "?i", "risk.model": "?s", "risk.learned": "?i", "risk.without": "?i", "risk.top": "?l",
	"touched": "?o", "touched.flow": "?o", "touched.labels": "?l", "touched.leaves": "?l", "touched.taint": "?l",
	"why": "?o", "why.grant": "?s", "why.request": "?s",
}

func checkMembers(v value, members map[string]string) error {
	for path, form := range members {
		m := v
		for _, k := range strings.Split(path, ".") {
			m = m.get(k)
		}
		form, optional := strings.CutPrefix(form, "?")
		if m.kind == 0 && optional {
			continue
		}
		if !hasForm(m, form[0]) {
			return fmt.Errorf("its member %q is missing or malformed", path)
		}
	}
	return nil
}

func hasForm(m value, form byte) bool {
	switch form {
	case 's':
		return m.kind == '"' && m.str != ""
	case 'i':
		return m.kind == '0' && m.num >= 0
	case 't':
		_, err := time.Parse("2006-01-02T15:04:05.000000Z", m.str)
		return m.kind == '"' && err == nil && len(m.str) == len("2006-01-02T15:04:05.000000Z")
	case 'h':
		b, err := base64.RawURLEncoding.Strict().DecodeString(m.str)
		return err == nil && len(b) == 32
	case 'u':
		return len(m.str) == 26 && strings.Trim(m.str, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == "" && m.str[0] <= '7'
	case 'o':
		return m.kind == '{'
	case 'l':
		return m.kind == '['
	case 'c':
		switch m.str {
		case "decision", "approval", "admin", "system":
			return true
		}
	}
	return false
}

// decodeHash reads a hash member; ok is false if it is not one.
func decodeHash(v value) (h [32]byte, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(v.str)
	if err != nil || len(b) != 32 {
		return h, false
	}
	return [32]byte(b), true
}
