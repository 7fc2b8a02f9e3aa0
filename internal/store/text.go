package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/access"
)

// Bounds of what is kept.
const (
	maxKey   = 1024    // bytes of a name that is a key: PostgreSQL indexes at most 2,704
	maxField = 256     // bytes of an indexed field of the search index
	maxWord  = 64      // bytes of one indexed word
	maxWords = 1 << 16 // bytes of all words of one row
)

// clean reports whether both databases can hold s as text.
func clean(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// checkKey says why s cannot be a key, nil if it can.
func checkKey(what, s string) error {
	switch {
	case s == "":
		return access.Errorf(access.CodeInvalid, "%s is empty", what)
	case len(s) > maxKey:
		return access.Errorf(access.CodeInvalid, "%s has %d bytes, more than %d", what, len(s), maxKey)
	default:
		return checkText(what, s)
	}
}

func checkText(what, s string) error {
	if !clean(s) {
		return unclean(what)
	}
	return nil
}

func unclean(what string) error {
	return access.Errorf(access.CodeInvalid, "%s holds the character NUL or is not UTF-8: write it without", what)
}

// encode returns v as a document. Text both databases cannot hold is refused:
// package json would quietly replace it.
func encode(what string, v any) (string, error) {
	if !cleanValue(reflect.ValueOf(v)) {
		return "", unclean(what)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "%s holds a value that cannot be kept, such as a year after 9999", what)
	}
	return string(b), nil
}

// cleanValue reports whether every string in v is clean.
func cleanValue(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Invalid: // null
	case reflect.String:
		return clean(v.String())
	case reflect.Pointer, reflect.Interface:
		return v.IsNil() || cleanValue(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return true
		}
		for i := range v.Len() {
			if !cleanValue(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for k, e := range v.Seq2() {
			if !cleanValue(k) || !cleanValue(e) {
				return false
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return true
		}
		if m, ok := marshaler(v); ok { // what it holds is not what is written
			b, err := m.MarshalJSON()
			var written any
			return err == nil && json.Unmarshal(b, &written) == nil && cleanValue(reflect.ValueOf(written))
		}
		for i := range v.NumField() {
			if !cleanValue(v.Field(i)) {
				return false
			}
		}
	}
	return true
}

func marshaler(v reflect.Value) (json.Marshaler, bool) {
	if !v.CanInterface() {
		return nil, false
	}
	m, ok := v.Interface().(json.Marshaler)
	return m, ok
}

// decode reads a document. A member this version does not know is an error: it
// may be a restriction.
func decode(table, id, doc string, v any) error {
	d := json.NewDecoder(strings.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return rowError{table, id}
	}
	return nil
}

// partly reads only the members of a document that v has.
func partly(table, id, doc string, v any) error {
	if json.Unmarshal([]byte(doc), v) != nil {
		return rowError{table, id}
	}
	return nil
}

// exact returns t as it will come back: UTC, microseconds.
func exact(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// micros is how a time is kept in a column. The zero time comes back as itself.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// digest is the SHA-256 of words, told apart by their lengths.
func digest(words ...string) []byte {
	h := sha256.New()
	for _, w := range words {
		_ = binary.Write(h, binary.BigEndian, uint64(len(w))) // a hash takes everything
		h.Write([]byte(w))
	}
	return h.Sum(nil)
}

// field is how a field of the search index is kept: nil if it is empty, the
// value if both databases can hold and index it, else a digest of it. Values
// come from the outside and MUST NOT be able to keep a row out of the index.
func field(s string) any {
	switch {
	case s == "":
		return nil
	case len(s) <= maxField && clean(s) && s[0] != 1:
		return s
	default:
		return "\x01" + hex.EncodeToString(digest(s))
	}
}

// words cuts text into the words search knows: runs of letters, marks and
// digits, compatibility forms and case folded, each once. Both the index and a
// query go through here, so what a query says is never syntax.
func words(text string) []string {
	if len(text) > maxWords {
		text = text[:maxWords]
	}
	text = strings.ToLower(norm.NFKC.String(strings.ToValidUTF8(text, " ")))
	var out []string
	seen := map[string]bool{}
	size := 0
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r)
	}) {
		for len(w) > maxWord {
			_, n := utf8.DecodeLastRuneInString(w)
			w = w[:len(w)-n]
		}
		if seen[w] {
			continue
		}
		if size += len(w) + 1; size > maxWords {
			break
		}
		seen[w] = true
		out = append(out, w)
	}
	return out
}
