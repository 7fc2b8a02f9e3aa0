package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// removed stands where a secret stood. It is safe inside a JSON string.
const removed = "[credential removed]"

// scrubber finds a secret in the forms servers commonly repeat it in.
type scrubber struct {
	value []byte // shared with its owner, which clears it
	forms [][]byte
}

// minForm is the shortest encoded form looked for: shorter ones would hit
// ordinary text.
const minForm = 8

func newScrubber(value []byte) *scrubber {
	s := &scrubber{value: value}
	s.add(value)
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			s.add(base64Core(enc, value, shift))
		}
	}
	lower := hex.EncodeToString(value)
	s.add([]byte(lower))
	s.add([]byte(strings.ToUpper(lower)))
	for _, esc := range []string{url.QueryEscape(string(value)), url.PathEscape(string(value))} {
		s.add([]byte(esc))
		s.add([]byte(lowerEscapes(esc)))
	}
	for _, every := range []string{"%%%02x", "%%%02X", "&#%d;", "&#x%x;", "&#x%X;"} {
		var form []byte
		for _, c := range value {
			form = fmt.Appendf(form, every, c)
		}
		s.add(form)
	}
	for _, html := range []bool{true, false} {
		// A tool's text often is JSON itself, so it is escaped twice.
		once := jsonForm(string(value), html)
		for _, form := range []string{once, jsonForm(once, html), strings.ReplaceAll(once, "/", `\/`)} {
			s.add([]byte(form))
		}
	}
	return s
}

// jsonForm is text as it stands inside a JSON string.
func jsonForm(text string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(text) != nil {
		return "" // strings always encode
	}
	quoted := strings.TrimSuffix(b.String(), "\n")
	return quoted[1 : len(quoted)-1]
}

// clear overwrites the forms; the scrubber is of no use afterwards.
func (s *scrubber) clear() {
	for _, f := range s.forms {
		clear(f)
	}
	s.forms = nil
}

func (s *scrubber) add(form []byte) {
	if len(form) < minForm {
		return
	}
	for _, f := range s.forms {
		if bytes.Equal(f, form) {
			return
		}
	}
	s.forms = append(s.forms, bytes.Clone(form))
}

// base64Core is what every base64 text of a message has in common that holds
// value at an offset of shift bytes modulo 3: the characters value alone
// decides.
func base64Core(enc *base64.Encoding, value []byte, shift int) []byte {
	padded := append(make([]byte, shift), value...)
	text := enc.EncodeToString(padded)
	from := (8*shift + 5) / 6
	to := 8 * len(padded) / 6
	if from >= to {
		return nil
	}
	return []byte(text[from:to])
}

// lowerEscapes writes percent escapes with lower-case digits.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// scrub replaces every form. b is returned unchanged if it holds none.
func (s *scrubber) scrub(b []byte) ([]byte, int) {
	n := 0
	for _, f := range s.forms {
		if c := bytes.Count(b, f); c > 0 {
			n += c
			b = bytes.ReplaceAll(b, f, []byte(removed))
		}
	}
	if bytes.Contains(b, []byte(`\u`)) {
		out, c := s.scrubEscaped(b)
		return out, n + c
	}
	return b, n
}

// scrubEscaped finds the value where any of its characters is written as a
// \uXXXX escape, which every JSON reader turns back: it compares what a reader
// would see and replaces the bytes it stood in.
func (s *scrubber) scrubEscaped(b []byte) ([]byte, int) {
	read := make([]byte, 0, len(b))
	at := make([]int, 0, len(b)+1) // where each byte of read begins in b
	for i := 0; i < len(b); {
		text, width := unescape(b[i:])
		for range len(text) {
			at = append(at, i)
		}
		read = append(read, text...)
		i += width
	}
	at = append(at, len(b))
	defer clear(read)
	out, n, done := []byte(nil), 0, 0
	for from := 0; ; {
		i := bytes.Index(read[from:], s.value)
		if i < 0 {
			break
		}
		start, end := from+i, from+i+len(s.value)
		out = append(append(out, b[done:at[start]]...), removed...)
		done, from = at[end], end
		n++
	}
	if n == 0 {
		return b, 0
	}
	return append(out, b[done:]...), n
}

// unescape reads one character of JSON text: what it stands for and how many
// bytes it takes.
func unescape(b []byte) (text []byte, width int) {
	if b[0] != '\\' || len(b) < 2 {
		return b[:1], 1
	}
	if b[1] != 'u' {
		if i := strings.IndexByte(`"\/bfnrt`, b[1]); i >= 0 {
			return []byte("\"\\/\b\f\n\r\t"[i : i+1]), 2
		}
		return b[:1], 1
	}
	r, ok := hexRune(b)
	if !ok {
		return b[:1], 1
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hexRune(b[6:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return utf8.AppendRune(nil, full), 12
			}
		}
	}
	return utf8.AppendRune(nil, r), 6
}

// hexRune reads \uXXXX.
func hexRune(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
