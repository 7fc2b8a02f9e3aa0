package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
)

// removed stands where a secret stood. It is safe inside a JSON string.
const removed = "[credential removed]"

// scrubber finds a secret in the forms servers commonly repeat it in.
type scrubber struct{ forms [][]byte }

// minForm is the shortest encoded form looked for: shorter ones would hit
// ordinary text.
const minForm = 8

func newScrubber(value []byte) *scrubber {
	s := &scrubber{}
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
	return b, n
}
