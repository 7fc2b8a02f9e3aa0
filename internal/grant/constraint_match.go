package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// step is one reference token of a JSON pointer: a key, or in an array an index.
type step struct {
	key   string
	index int // -1 if the token is no index
}

// parsePointer reads an RFC 6901 pointer. "-", which names no existing member of
// an array, is a key like any other.
func parsePointer(s string) ([]step, error) {
	switch {
	case s == "":
		return nil, nil
	case s[0] != '/':
		return nil, fmt.Errorf("not a JSON pointer: it must be empty or begin with \"/\"")
	case len(s) > maxPointer:
		return nil, fmt.Errorf("longer than %d bytes", maxPointer)
	}
	var path []step
	for token := range strings.SplitSeq(s[1:], "/") {
		for i := 0; i < len(token); i++ {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return nil, fmt.Errorf("not a JSON pointer: \"~\" must be followed by 0 or 1")
			}
		}
		key := strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		n, err := strconv.Atoi(key)
		if err != nil || n < 0 || strconv.Itoa(n) != key {
			n = -1
		}
		path = append(path, step{key, n})
	}
	return path, nil
}

// Match returns nil if the arguments meet every constraint. Otherwise the error
// has access.CodeDenied and names the pointer and the operator of the first that
// is not met, never a value. A pointer that leads nowhere, a value of another
// type and a key beside the named one that differs only in case are not met.
func (cs Constraints) Match(args rawjson.Value) error {
	for i := range cs {
		if why := cs[i].check(args); why != "" {
			return access.Errorf(access.CodeDenied, "argument %s: %s (constraint %d, %s)", strconv.QuoteToASCII(cs[i].at), why, i, cs[i].op)
		}
	}
	return nil
}

// check returns what is wrong, "" if nothing is.
func (c *Constraint) check(args rawjson.Value) string {
	if c.m == nil {
		return "the constraint is empty"
	}
	v, why := follow(args, c.path)
	if why == "" && !c.m.match(v) {
		return "not what the constraint allows"
	}
	return why
}

// follow walks a pointer, or says why it leads nowhere.
func follow(v rawjson.Value, path []step) (rawjson.Value, string) {
	for _, s := range path {
		switch v.Kind() {
		case rawjson.Object:
			if variant(v, s.key) {
				return rawjson.Value{}, "a key differs from the named one only in case"
			}
			v = v.Get(s.key)
		case rawjson.Array:
			v = item(v, s.index)
		default:
			return rawjson.Value{}, "missing"
		}
		if !v.Exists() {
			return rawjson.Value{}, "missing"
		}
	}
	return v, ""
}

// variant reports whether v has a key that equals key but for case. A server
// that folds case might read it in place of the one that was judged.
func variant(v rawjson.Value, key string) bool {
	_, _, ok := v.FoldsTo(key)
	return ok
}

func item(v rawjson.Value, index int) rawjson.Value {
	if index < 0 || index >= v.Len() {
		return rawjson.Value{}
	}
	for it := range v.Items() {
		if index == 0 {
			return it
		}
		index--
	}
	return rawjson.Value{}
}

// ArgsDigest identifies the arguments of a call: "sha256:" and the hex digest of
// their canonical form (rawjson.AppendCanonical). It does not depend on the order
// of keys, on white space, on escapes or on how a number is spelled, and on
// everything else it does. No arguments differ from the empty object.
func ArgsDigest(args rawjson.Value) string {
	sum := sha256.Sum256(rawjson.AppendCanonical(nil, args))
	return "sha256:" + hex.EncodeToString(sum[:])
}

type digest string

func (d digest) match(args rawjson.Value) bool { return ArgsDigest(args) == string(d) }

func (d digest) valid() bool {
	digits, ok := strings.CutPrefix(string(d), "sha256:")
	raw, err := hex.DecodeString(digits)
	return ok && err == nil && len(raw) == sha256.Size && digits == strings.ToLower(digits)
}
