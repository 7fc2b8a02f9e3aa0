package fact

import (
	"errors"
	"strconv"
	"strings"

	"rutile/internal/rawjson"
)

// maxPointer bounds a JSON pointer, in bytes.
const maxPointer = 512

// pointer is a JSON pointer (RFC 6901) to one argument. The zero value points to
// the arguments as a whole.
type pointer struct {
	text  string
	steps []step
}

type step struct {
	key   string
	index int // -1 if the token is no index
}

// parsePointer reads a pointer to an argument: it begins with "/".
func parsePointer(s string) (pointer, error) {
	switch {
	case s == "" || s[0] != '/':
		return pointer{}, errors.New(`not a JSON pointer to an argument: it must begin with "/"`)
	case len(s) > maxPointer:
		return pointer{}, errors.New("longer than 512 bytes")
	}
	p := pointer{text: s}
	for token := range strings.SplitSeq(s[1:], "/") {
		for i := 0; i < len(token); i++ {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return pointer{}, errors.New(`not a JSON pointer: "~" must be followed by 0 or 1`)
			}
		}
		key := strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		n, err := strconv.Atoi(key)
		if err != nil || n < 0 || strconv.Itoa(n) != key {
			n = -1
		}
		p.steps = append(p.steps, step{key, n})
	}
	return p, nil
}

// String is the pointer as it was written.
func (p pointer) String() string { return p.text }

// find returns what p points to. It is an error where nothing is there, and where
// a key differs from the named one only in case: a server that folds case might
// read that one.
func (p pointer) find(args rawjson.Value) (rawjson.Value, error) {
	v := args
	for _, s := range p.steps {
		switch v.Kind() {
		case rawjson.Object:
			if _, _, ok := v.FoldsTo(s.key); ok {
				return rawjson.Value{}, errors.New("a key differs from the named one only in case")
			}
			v = v.Get(s.key)
		case rawjson.Array:
			v = itemAt(v, s.index)
		default:
			v = rawjson.Value{}
		}
		if !v.Exists() {
			return rawjson.Value{}, errors.New("it is missing")
		}
	}
	return v, nil
}

func itemAt(v rawjson.Value, index int) rawjson.Value {
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
