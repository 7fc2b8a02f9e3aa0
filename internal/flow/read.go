package flow

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"

	"rutile/internal/rawjson"
)

// Bounds of one reading.
const (
	maxPrints = 64 << 10 // fingerprints of one result
	maxDepth  = 2        // of what is decoded inside of what was decoded
	maxNested = 64       // levels of JSON
	near400   = 400      // bytes on either side of a finding that are hot with it
	maxDetail = 160      // fingerprints of one order
	maxHead   = 24       // of its first words
)

// reader reads results, user's words and arguments. Its buffers are used again.
type reader struct {
	split  splitter
	winnow winnower
	speech speech
	toks   []tok
	prints []slot
	raw    []byte
	ahead  []int    // by token, the smallest start of it and those behind it
	own    []uint64 // of the order being read
	far    []uint64
	buf    [maxDepth + 2][]byte
}

// tok is a token as it is kept.
type tok struct {
	fp         uint64
	stem       uint64 // of a word, where arguments are read
	kind       byte
	start, end int
}

// text fills toks with the tokens of a folded text, and speech with its words if it is
// asked to.
func (r *reader) text(k *keys, f *folded, raw []byte, hear bool) {
	text := f.text
	r.toks = r.toks[:0]
	r.speech.reset()
	lex := lexicon()
	r.split.tokens(text, func(t token) {
		if t.kind == kindWord {
			said := lex.of(t.text)
			if hear {
				r.speech.hear(lex, said, text, t.start, t.end, capitalAt(raw, f.source(t.start)))
			}
			if len(t.text) < 2 && !isDigit(t.text[0]) || said.marks&markStop != 0 {
				return
			}
		}
		one := tok{fp: k.of(t.kind, t.text), kind: t.kind, start: t.start, end: t.end}
		if !hear && t.kind == kindWord {
			one.stem = k.of(kindStem, stem(t.text))
		}
		r.toks = append(r.toks, one)
	})
	if hear {
		r.speech.finish(text)
		r.speech.unspaced(text)
	}
}

// capitalAt reports whether a capital stands at a byte of text.
func capitalAt(text []byte, at int) bool {
	at = min(at, len(text)-1)
	c := text[at]
	if c < utf8.RuneSelf {
		return c >= 'A' && c <= 'Z'
	}
	r, _ := utf8.DecodeRune(text[at:])
	return unicode.IsUpper(r)
}

// result reads what a call brought back.
func (r *reader) result(x *Index, o Origin, v rawjson.Value) *part {
	p := &part{kind: partResult, prints: r.prints[:0], scopes: o.Scopes, source: source{call: short(o.Call), server: short(o.Server), tool: short(o.Tool)}}
	for _, f := range o.Findings {
		p.source.tier = max(p.source.tier, f.Tier)
	}
	p.source.untrusted = o.Untrusted || p.source.tier >= Review // somebody else wrote in it
	p.source.pointed = r.pointed(x, o.Arguments, 0)
	w := resultWalk{r: r, x: x, p: p, o: &o, left: MaxResult}
	if !p.source.untrusted && o.Arguments.Exists() {
		w.echo = r.echoOf(o.Arguments)
	}
	w.value("", v, 0)
	r.prints = p.prints
	return p
}

func short(s string) string { return s[:min(len(s), maxName)] }

// pointed reports whether an argument has only words of the user's in it, one of them at
// least telling.
func (r *reader) pointed(x *Index, v rawjson.Value, depth int) bool {
	switch v.Kind() {
	case rawjson.String, rawjson.Number:
		text := v.Raw()
		if v.Kind() == rawjson.String {
			text = r.unescape(v)
		}
		f := fold(r.buf[0][:0], text, false)
		telling, foreign := 0, 0
		r.split.tokens(f.text, func(t token) {
			if t.kind != kindWord || lexicon().of(t.text).marks&markStop != 0 {
				return
			}
			switch {
			case !x.stems[x.keys.of(kindStem, stem(t.text))]:
				foreign++
			case len(t.text) > 2:
				telling++
			}
		})
		return telling > 0 && foreign <= telling/3
	case rawjson.Array:
		for item := range v.Items() {
			if depth < maxNested && r.pointed(x, item, depth+1) {
				return true
			}
		}
	case rawjson.Object:
		for _, m := range v.Members() {
			if depth < maxNested && r.pointed(x, m, depth+1) {
				return true
			}
		}
	}
	return false
}

func (r *reader) unescape(v rawjson.Value) []byte {
	r.raw = rawjson.AppendUnescaped(r.raw[:0], v)
	return r.raw
}

// words are the fingerprints of all words of a folded text in order.
func (r *reader) words(k *keys, text []byte) (out []uint64) {
	r.split.tokens(text, func(t token) {
		if t.kind == kindWord {
			out = append(out, k.of(kindWord, t.text))
		}
	})
	return out
}

// resultWalk reads the strings and numbers of a result.
type resultWalk struct {
	r    *reader
	x    *Index
	p    *part
	o    *Origin
	left int    // bytes that are still read
	last []byte // the text before, if it is a piece of a number
	echo *echo  // nil where the result makes nothing trusted
}

func (w *resultWalk) value(pointer string, v rawjson.Value, depth int) {
	if depth > maxNested {
		w.p.lost = true
		return
	}
	switch v.Kind() {
	case rawjson.String:
		text := w.r.unescape(v)
		if inner, ok := nestedJSON(text); ok {
			w.value(pointer, inner, depth+1)
			return
		}
		w.text(pointer, text, 0)
	case rawjson.Number:
		w.text(pointer, v.Raw(), 0)
	case rawjson.Array:
		i := 0
		for item := range v.Items() {
			w.value(w.at(pointer, i, ""), item, depth+1)
			i++
		}
	case rawjson.Object:
		for key, m := range v.Members() {
			name, _ := key.Str()
			w.value(w.at(pointer, 0, name), m, depth+1)
		}
	}
}

// at is the pointer of a member or item; nobody needs it where nothing was found.
func (w *resultWalk) at(pointer string, i int, name string) string {
	if len(w.o.Findings) == 0 {
		return ""
	}
	return join(pointer, i, name)
}

// nestedJSON returns the document a string holds, if it is one.
func nestedJSON(text []byte) (rawjson.Value, bool) {
	t := bytes.TrimSpace(text)
	if len(t) < 2 || t[0] != '{' && t[0] != '[' {
		return rawjson.Value{}, false
	}
	v, err := rawjson.Parse(slices.Clone(t), rawjson.Limits{Bytes: len(t) + 1})
	return v, err == nil
}

// text reads one text, and what is encoded in it.
func (w *resultWalk) text(pointer string, text []byte, depth int) {
	if len(w.p.prints) >= maxPrints {
		w.p.lost = true
		return
	}
	if len(text) > w.left {
		w.p.lost = true
		text = text[:w.left]
	}
	w.left -= len(text)
	r, p := w.r, w.p
	f := fold(r.buf[depth][:0], text, true)
	r.buf[depth] = f.text[:0]
	r.speech.bold, r.speech.lenient = true, false
	r.text(&w.x.keys, &f, text, true)
	hot := w.hot(pointer, text, &f, depth)
	ordered := r.speech.ordered()
	for _, t := range r.toks {
		flags := hotFlag(hot.touches(t.start, t.end))
		if ordered.touches(t.start, t.end) || w.echo.repeats(f.text[t.start:t.end]) {
			flags |= flagUnvouched
		}
		w.put(t.fp, flags)
	}
	w.phrases(f.text, &hot)
	if len(f.text) >= gram && (p.source.untrusted || len(w.o.Scopes) > 0) {
		r.winnow.passages(&w.x.keys, f.text, func(fp uint64) { w.put(fp, flagPassage|hotFlag(hot.all())) })
	}
	w.orders(&hot, f.text)
	w.joined(f.text)
	if depth >= maxDepth {
		return
	}
	for _, inner := range decoded(text) {
		w.text(pointer, inner, depth+1)
	}
}

// joined keeps the number that a short text and the one before it are together.
func (w *resultWalk) joined(text []byte) {
	last := w.last
	w.last = w.last[:0]
	if len(text) == 0 || len(text) > maxPiece/2 || !bytes.ContainsAny(text, "0123456789") || bytes.IndexByte(text, ' ') >= 0 {
		return
	}
	if len(last) > 0 {
		whole := slices.Concat(last, text)
		w.r.split.tokens(whole, func(t token) {
			if t.kind == kindNumber && t.end-t.start == len(whole) {
				w.put(w.x.keys.of(kindNumber, t.text), w.repeated(whole))
			}
		})
	}
	w.last = append(w.last, text...)
}

func hotFlag(hot bool) uint32 {
	if hot {
		return flagHot
	}
	return 0
}

// repeated is the flag of a text that repeats the arguments of the call.
func (w *resultWalk) repeated(text []byte) uint32 {
	if w.echo.repeats(text) {
		return flagUnvouched
	}
	return 0
}

// put keeps a fingerprint with its flags.
func (w *resultWalk) put(fp uint64, flags uint32) {
	if len(w.p.prints) >= maxPrints {
		w.p.lost = true
		return
	}
	w.p.prints = append(w.p.prints, slot{fp: fp, where: flags})
}

// phrases keeps short whole values: of the text itself, of its lines, of what stands
// after a colon, and between quotation marks.
func (w *resultWalk) phrases(text []byte, hot *regions) {
	if len(text) <= maxPhrase {
		w.phrase(text, 0, hot)
	}
	for start := 0; start < len(text); {
		end := start + len(text[start:])
		if i := bytes.IndexByte(text[start:], '\n'); i >= 0 {
			end = start + i
		}
		line := text[start:end]
		if len(line) <= maxPhrase && len(line) < len(text) {
			w.phrase(line, start, hot)
		}
		if i := bytes.IndexByte(line, ':'); i > 0 && len(line)-i <= maxPhrase {
			w.phrase(line[i+1:], start+i+1, hot)
		}
		start = end + 1
	}
	for i := 0; i < len(text); {
		q := bytes.IndexAny(text[i:], "'\"")
		if q < 0 {
			return
		}
		from := i + q + 1
		to := bytes.IndexByte(text[from:min(len(text), from+maxPhrase)], text[from-1])
		if to < 0 {
			i = from
			continue
		}
		w.phrase(text[from:from+to], from, hot)
		i = from + to + 1
	}
}

const maxPhrase = 96

func (w *resultWalk) phrase(text []byte, at int, hot *regions) {
	if fp, ok := w.r.phrase(&w.x.keys, text); ok {
		w.put(fp, hotFlag(hot.touches(at, at+len(text)))|w.repeated(text))
	}
}

// phrase is the fingerprint of the words of a short text; none has fewer than two.
func (r *reader) phrase(k *keys, text []byte) (fp uint64, ok bool) {
	buf := r.buf[maxDepth+1][:0]
	words := 0
	for i := 0; i < len(text); {
		if !isWord(text[i]) {
			i++
			continue
		}
		if words++; words > 1 {
			buf = append(buf, ' ')
		}
		for i < len(text) && isWord(text[i]) {
			buf = append(buf, text[i])
			i++
		}
	}
	r.buf[maxDepth+1] = buf
	if words < 2 {
		return 0, false
	}
	return k.of(kindPhrase, buf), true
}

// orders keeps what the text just read orders.
func (w *resultWalk) orders(hot *regions, text []byte) {
	s := &w.r.speech
	last, from := -1, 0
	w.r.lookAhead(len(s.clauses) > 0)
	for _, c := range s.clauses {
		if c.verbs&^actRead == 0 {
			continue
		}
		start, end := s.span(c)
		verb := s.words[c.at]
		o := order{act: c.act, hot: hot.touches(start, end), light: slices.Contains(lightVerbs, string(text[verb.start:verb.end]))}
		if n := len(w.p.orders); n > 0 && last == c.sentence && w.p.orders[n-1].act == o.act {
			continue
		}
		last = c.sentence
		o.head = w.r.head(&w.x.keys, text, c)
		until := s.words[s.ends[c.sentence]-1].end
		own, far := w.r.own[:0], w.r.far[:0]
		for from < len(w.r.toks) && w.r.toks[from].start < start { // clauses come in order
			from++
		}
		for i := from; i < len(w.r.toks) && w.r.ahead[i] <= end; i++ {
			switch t := &w.r.toks[i]; {
			case t.start < start || t.end > end:
			case t.end <= until && len(own) < maxDetail:
				own = append(own, t.fp)
			case t.kind != kindWord && len(far) < maxDetail:
				far = append(far, t.fp)
			}
		}
		w.r.own, w.r.far = own, far
		o.own, o.far = slices.Clone(sorted(own)), slices.Clone(sorted(far))
		if len(w.p.orders) < maxOrders {
			w.p.orders = append(w.p.orders, o)
		} else {
			w.p.lost = true
		}
	}
}
