package credential

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

// removed stands where a secret stood. It is safe inside a JSON string.
const removed = "[credential removed]"

// scrubber finds a secret in the forms servers commonly repeat it in.
type scrubber struct {
	forms [][]byte // looked for as they stand
	core  [][]byte // of them, those looked for in every reading
	grams *grams   // of all forms
	ways  []reading
}

// minForm is the shortest encoded form looked for: shorter ones would hit
// ordinary text.
const minForm = 8

func newScrubber(value []byte) *scrubber {
	s := &scrubber{ways: readings()}
	s.add(value)
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			s.add(base64Core(enc, value, shift))
		}
	}
	lower := hex.EncodeToString(value)
	s.add([]byte(lower))
	s.add([]byte(strings.ToUpper(lower)))
	s.core = s.forms[:len(s.forms):len(s.forms)]
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
	s.grams = newGrams(s.forms)
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
	clear(s.grams.set[:])
	s.forms, s.core, s.grams = nil, nil, newGrams(nil)
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

// scrub replaces every form. b is returned unchanged if it holds none; a JSON
// text stays one.
func (s *scrubber) scrub(b []byte) ([]byte, int) {
	out, n := s.replace(b)
	if n == 0 {
		return b, 0
	}
	if _, err := rawjson.Parse(out, rawjson.Limits{Bytes: len(out)}); err == nil {
		return out, n
	}
	root, err := rawjson.Parse(b, rawjson.Limits{Bytes: len(b)})
	if err != nil {
		return out, n // it was none
	}
	// What was removed began in the middle of an escape, or was a number.
	return s.scrubValues(b, root)
}

// span is a part of a text.
type span struct{ start, end int }

// replace replaces every form, in one pass over b: what is put in its place is
// not looked at.
func (s *scrubber) replace(b []byte) (out []byte, n int) {
	var found []span
	if !s.grams.absent(b) {
		for _, f := range s.forms {
			found = appendEach(found, b, f)
		}
	}
	for i := range s.ways {
		found = s.reread(found, &view{text: b}, &s.ways[i])
	}
	if len(found) == 0 {
		return b, 0
	}
	slices.SortFunc(found, func(x, y span) int { return cmp.Compare(x.start, y.start) })
	done := 0
	for _, f := range found {
		if f.start >= done {
			out = append(append(out, b[done:f.start]...), removed...)
			n++
		}
		done = max(done, f.end) // forms may overlap
	}
	return append(out, b[done:]...), n
}

// appendEach appends where f stands in text.
func appendEach(found []span, text, f []byte) []span {
	for from := 0; ; {
		i := bytes.Index(text[from:], f)
		if i < 0 {
			return found
		}
		found = append(found, span{from + i, from + i + len(f)})
		from += i + len(f)
	}
}

// reread appends where in its source v shows a form when it is read again.
func (s *scrubber) reread(found []span, v *view, way *reading) []span {
	if !way.applies(v.text) {
		return found
	}
	next, changed := v.read(way)
	if !changed {
		return found
	}
	defer clear(next.text)
	if !s.grams.absent(next.text) {
		for _, f := range s.core {
			from := len(found)
			found = appendEach(found, next.text, f)
			for i := range found[from:] {
				found[from+i] = next.source(found[from+i])
			}
		}
	}
	for i := range way.then {
		found = s.reread(found, next, &way.then[i])
	}
	return found
}

// scrubValues replaces every string, key and number that holds a form, as a
// whole, in b, whose root is given.
func (s *scrubber) scrubValues(b []byte, root rawjson.Value) ([]byte, int) {
	var edits []rawjson.Edit
	var visit func(v rawjson.Value)
	visit = func(v rawjson.Value) {
		for k, val := range v.Members() {
			visit(k)
			visit(val)
		}
		for item := range v.Items() {
			visit(item)
		}
		if k := v.Kind(); k != rawjson.String && k != rawjson.Number {
			return
		}
		if _, n := s.replace(v.Raw()); n > 0 {
			start, end := v.Span()
			edits = append(edits, rawjson.Edit{Start: start, End: end, Text: []byte(`"` + removed + `"`)})
		}
	}
	visit(root)
	out := rawjson.Splice(b, edits...)
	if _, n := s.replace(out); n > 0 {
		return []byte(`"` + removed + `"`), n // it lay across values
	}
	return out, len(edits)
}
