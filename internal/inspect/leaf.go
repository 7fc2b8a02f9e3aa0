package inspect

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/rawjson"
)

// Definition inspects a definition: every string and every key in it.
func (e *Engine) Definition(def rawjson.Value) Report { return e.document(Definition, def) }

// Document inspects every string and key of a JSON value in a profile.
func (e *Engine) Document(p Profile, v rawjson.Value) Report { return e.document(p, v) }

// Text inspects one text in a profile. Its findings have the pointer "".
func (e *Engine) Text(p Profile, text []byte) Report {
	s := e.begin(p, len(text))
	return s.guarded(func() { s.inspect("", nil, text, nil) })
}

// Layer is a text that was decoded out of another: what was undone from the
// outside in, the text, and the bytes of the outer text it came from.
type Layer struct {
	Decoded    []string
	Text       string
	Start, End int
}

// Layers returns what inspecting a text decodes, for a person who looks at a
// finding in it.
func (e *Engine) Layers(p Profile, text []byte) []Layer {
	var out []Layer
	s := e.begin(p, len(text))
	s.opened = func(l Layer) { out = append(out, l) }
	s.guarded(func() { s.inspect("", nil, text, nil) })
	return out
}

func (e *Engine) begin(p Profile, size int) *scan {
	s := e.scratch.Get().(*scan)
	s.profile, s.found, s.dropped, s.opened = p, nil, false, nil
	s.budget = min(max(4*size, 4096), maxDecoded)
	return s
}

func (e *Engine) document(p Profile, v rawjson.Value) Report {
	s := e.begin(p, len(v.Raw()))
	return s.guarded(func() {
		w := walk{scan: s, buf: make([]byte, 0, 1024)}
		w.value("", v, 0)
		if w.over {
			s.add(layer{}, Finding{Rule: "limit.leaves", Family: "limit", Hard: true, Weight: .8, Why: "has more texts, or nested deeper, than are read"}, 0, 0)
		}
	})
}

// guarded runs do and reports. An inspection that breaks is a finding, never a
// clean report, and its working memory is not used again.
func (s *scan) guarded(do func()) (r Report) {
	defer func() {
		if recover() != nil {
			r = Combine(append(s.found, Finding{Rule: "limit.broken", Family: "limit", Hard: true, Weight: .95, Why: "could not be inspected to its end"}))
		}
	}()
	do()
	r = s.report()
	s.e.scratch.Put(s)
	return r
}

// walk goes through a document, leaf by leaf.
type walk struct {
	*scan
	buf   []byte
	joint []byte
	n     int
	over  bool

	// Of messages, see Stream.
	most   int  // strings that are read, 0: maxLeaves
	opaque bool // what no model reads is left out
	told   func(pointer string, text []byte)
	places []place
	// columns are those strings as longer texts, by their paths, in the order they came;
	// nil where nobody reads them so. ended is what columns of an earlier message ended in.
	columns map[string]*column
	order   []string
	ended   map[string][]byte
	path    []byte
	outer   string // the pointer of the string this document stands in, "" if in none
	parent  string // of the last string of a column
	many    bool   // those of columns have more than one parent
	quiet   bool   // strings are only put in columns: they were read where they stand
}

func (w *walk) value(pointer string, v rawjson.Value, depth int) {
	if depth > maxNesting || w.n > cmp.Or(w.most, maxLeaves) {
		w.over = true
		return
	}
	switch v.Kind() {
	case rawjson.String:
		w.leaf(pointer, v)
	case rawjson.Array:
		w.array(pointer, v, depth)
	case rawjson.Object:
		w.object(pointer, v, depth)
	}
}

func (w *walk) leaf(pointer string, v rawjson.Value) {
	w.n++
	w.buf = rawjson.AppendUnescaped(w.buf[:0], v)
	if !w.quiet {
		w.inspect(pointer, nil, w.buf, nil)
	}
	if !w.opaque {
		w.cell(pointer, w.buf)
		return
	}
	w.inner(pointer, w.buf)
	if goesOn(pointer) {
		w.told(pointer, w.buf)
	} else {
		w.cell(pointer, w.buf)
	}
}

func (w *walk) array(pointer string, v rawjson.Value, depth int) {
	i := 0
	for item := range v.Items() {
		w.value(pointer+"/"+strconv.Itoa(i), item, depth+1)
		i++
	}
	w.together(pointer, v)
}

func (w *walk) object(pointer string, v rawjson.Value, depth int) {
	for key, member := range v.Members() {
		name, _ := key.Str()
		if w.opaque && isOpaque(v, name, depth) {
			continue
		}
		at := pointer + "/" + escapeKey(name)
		if !w.quiet && !plainKey(name) {
			w.n++
			w.buf = append(w.buf[:0], name...)
			w.inspect(at, nil, w.buf, nil)
		}
		w.value(at, member, depth+1)
	}
	w.together(pointer, v)
}

// escapeKey writes a key as a segment of a JSON pointer (RFC 6901).
func escapeKey(key string) string {
	if !strings.ContainsAny(key, "~/") {
		return key
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// plainKey reports whether a key is an identifier short enough to say nothing.
func plainKey(s string) bool {
	if len(s) > 24 {
		return false
	}
	for i := range len(s) {
		if !wordByte(s[i]) && s[i] != '-' && s[i] != '$' && s[i] != '.' || s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// together inspects the strings right inside v as one text, so that an order cut
// in pieces is read whole. What was found in a piece is not found again.
func (w *walk) together(pointer string, v rawjson.Value) {
	if w.quiet {
		return
	}
	parts := 0
	joint := w.joint[:0]
	add := func(s rawjson.Value) {
		if s.Kind() != rawjson.String || len(s.Raw()) > 4096 {
			return
		}
		if parts++; parts > 1 {
			joint = append(joint, ' ')
		}
		joint = rawjson.AppendUnescaped(joint, s)
	}
	if v.Kind() == rawjson.Array {
		for item := range v.Items() {
			add(item)
		}
	} else {
		for key, member := range v.Members() {
			if key.Equals("type") || key.Equals("name") || key.Equals("format") || key.Equals("$schema") {
				continue
			}
			add(member)
			if key.Equals("enum") || key.Equals("examples") {
				for item := range member.Items() {
					add(item)
				}
			}
		}
	}
	w.joint = joint
	if parts < 2 || bytes.IndexByte(joint, ' ') < 0 {
		return
	}
	before := len(w.found)
	w.inspect(pointer, nil, joint, nil)
	kept := w.found[:before]
	for _, f := range w.found[before:] {
		if !seenBelow(w.found[:before], f) {
			kept = append(kept, f)
		}
	}
	w.found = kept
}

func seenBelow(found []Finding, f Finding) bool {
	for _, g := range found {
		if g.Rule == f.Rule && strings.HasPrefix(g.Pointer, f.Pointer) {
			return true
		}
	}
	return false
}

// inspect runs everything over one text. from says where it came from, nil if it
// is as received.
func (s *scan) inspect(pointer string, chain []string, text []byte, from *view) {
	t := look(text)
	src := view{text: text}
	if from != nil {
		src.flat, src.from, src.to = true, from.from, from.to
		if s.opened != nil {
			s.opened(Layer{slices.Clone(chain), string(text), from.from, from.to})
		}
	}
	s.hidden(pointer, chain, src, &t)
	s.json = from == nil && s.profile == Result && isDocument(text)
	l := layer{view: src, pointer: pointer, chain: chain}
	if !t.plain {
		v := s.e.normalise(text)
		if from != nil {
			v.flat, v.from, v.to = true, from.from, from.to
		}
		l.view = v
	}
	s.unpack(l, s.match(l))
}

// isDocument reports whether a text begins and ends as an object or list of JSON does.
func isDocument(text []byte) bool {
	text = bytes.TrimSpace(text)
	if len(text) < 2 {
		return false
	}
	first, last := text[0], text[len(text)-1]
	return (first == '{' && last == '}' || first == '[' && last == ']') && bytes.IndexByte(text, '"') > 0
}
