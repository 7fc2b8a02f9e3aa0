package flow

import (
	"bytes"
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

// Bounds of the arguments that are looked at; what has more is Lost.
const (
	maxLeaves = 2000
	maxLooked = 8192 // fingerprints of all of them
	maxPiece  = 64   // bytes of a value that may be a piece of one
)

// Look finds every value of a call again. It changes nothing.
func (x *Index) Look(c Call) Report {
	var out Report
	if !c.Traits.Sink() {
		return out
	}
	l := look{x: x, c: &c, r: &x.scratch, name: x.keys.of(kindName, fold(nil, []byte(c.Tool), false).text)}
	l.value("", c.Arguments, 0)
	does := actOf(c.Tool, c.Description)
	t := &tool{does, near(does.verbs)}
	out.Facts = l.facts(t)
	out.Order = l.order(t, &out.Facts)
	out.Leaves = l.leaves
	l.findings(&out)
	return out
}

// look is one call being looked at.
type look struct {
	x      *Index
	c      *Call
	r      *reader
	name   uint64 // of the tool, as a text would have it
	leaves []Leaf
	seen   []seen // by leaf
	prints int    // of all leaves
	last   []byte // the value before, if it is short
	over   bool
}

// seen is what a leaf is made of.
type seen struct {
	prints  []tok    // what identifies it
	words   []uint64 // all of its words in order
	source  uint32   // the worst it was found in, if found
	found   bool
	numeric bool
	home    map[uint32]bool // sources that have the address it is
	lost    bool            // an untrusted result that was forgotten may have had it
	buried  uint32          // scopes of forgotten results that have it
	hot     bool            // inspection found something where it stood, which was forgotten
	private []string        // scopes of what it carries, other than where it is known from itself
}

func (l *look) value(pointer string, v rawjson.Value, depth int) {
	if depth > maxNested || len(l.leaves) >= maxLeaves {
		l.over = true
		return
	}
	switch v.Kind() {
	case rawjson.String:
		text := slices.Clone(l.r.unescape(v))
		if inner, ok := nestedJSON(text); ok {
			l.value(pointer, inner, depth+1)
			return
		}
		l.leaf(pointer, text, false)
	case rawjson.Number:
		l.leaf(pointer, v.Raw(), true)
	case rawjson.Array:
		i := 0
		for item := range v.Items() {
			l.value(join(pointer, i, ""), item, depth+1)
			i++
		}
	case rawjson.Object:
		for key, m := range v.Members() {
			name, _ := key.Str()
			l.value(join(pointer, 0, name), m, depth+1)
		}
	}
}

// leaf reads one value.
func (l *look) leaf(pointer string, text []byte, numeric bool) {
	f := fold(nil, text, true)
	l.r.text(&l.x.keys, &f, text, false)
	toks := slices.Clone(l.r.toks)
	inside := l.decoded(text, len(f.text), 0, &toks)
	s := seen{words: l.r.words(&l.x.keys, f.text), numeric: numeric}
	leaf := Leaf{Pointer: pointer, Kind: kindOf(f.text, toks, numeric)}
	if leaf.Role = roleOf(pointer, leaf.Kind); numeric && len(text) < 5 {
		leaf.Role = Selector
	}
	s.prints = l.identity(&leaf, f.text, toks)
	s.prints = append(s.prints, l.joined(f.text)...)
	leaf.Asked = l.asked(&s, f.text)
	l.locate(&leaf, &s, &f)
	if leaf.Role == Content || len(f.text) >= gram+window {
		l.passages(&leaf, &s, f.text, len(f.text))
	}
	for _, g := range inside {
		l.passages(&leaf, &s, g, len(f.text))
	}
	// What was forgotten may have had what a trusted result has now.
	leaf.Lost = s.lost && leaf.Asked != Yes && (leaf.From == nil || !leaf.From.Untrusted)
	if l.prints += len(s.prints); l.prints > maxLooked {
		l.over, s.prints = true, nil
	}
	l.leaves = append(l.leaves, leaf)
	l.seen = append(l.seen, s)
}

// decoded adds the tokens of what a value is the code of, and returns its texts.
func (l *look) decoded(text []byte, end, depth int, toks *[]tok) (out [][]byte) {
	for _, inner := range decoded(text) {
		g := fold(nil, inner, false)
		l.r.text(&l.x.keys, &g, inner, false)
		for _, t := range l.r.toks {
			*toks = append(*toks, tok{fp: t.fp, stem: t.stem, kind: t.kind, end: end})
		}
		out = append(out, g.text)
		if depth+1 < maxDepth {
			out = append(out, l.decoded(inner, end, depth+1, toks)...)
		}
	}
	return out
}

// kindOf is what a value is.
func kindOf(text []byte, toks []tok, numeric bool) string {
	if numeric {
		return "number"
	}
	trimmed := bytes.TrimSpace(text)
	for _, t := range toks {
		if t.end-t.start < len(trimmed)-10 {
			continue
		}
		switch t.kind {
		case kindEmail:
			return "email"
		case kindURL:
			return "url"
		case kindHost:
			return "host"
		case kindNumber:
			return "account"
		case kindName:
			return "name"
		}
	}
	if len(trimmed) > maxPhrase || bytes.Count(trimmed, []byte(" ")) > 7 || bytes.IndexByte(trimmed, '\n') >= 0 {
		return "text"
	}
	return "word"
}

// identity is what a leaf is known by: its addresses and numbers; else its names with
// signs in them, the phrase it is, or its words.
func (l *look) identity(leaf *Leaf, text []byte, toks []tok) []tok {
	of := func(kinds string) (out []tok) {
		for _, t := range toks {
			if strings.IndexByte(kinds, t.kind) >= 0 {
				out = append(out, t)
			}
		}
		return out
	}
	if out := of("euhc"); len(out) > 0 {
		return out
	}
	if out := of("f"); len(out) > 0 && (leaf.Kind == "name" || leaf.Kind == "text") {
		return out
	}
	if fp, ok := l.r.phrase(&l.x.keys, text); ok && leaf.Role == Content {
		return []tok{{fp: fp, kind: kindPhrase, end: len(text)}}
	}
	if leaf.Kind == "text" {
		return nil
	}
	return of("w")
}

// joined is what a value and the one before it are together, where a result has that:
// an account number cut in two arguments, a name and its domain.
func (l *look) joined(text []byte) (out []tok) {
	last := l.last
	if l.last = nil; len(text) == 0 || len(text) > maxPiece {
		return nil
	}
	l.last = text
	for _, between := range []string{"", "@", "."} {
		whole := slices.Concat(last, []byte(between), text)
		if len(last) == 0 {
			return nil
		}
		l.r.text(&l.x.keys, &folded{text: whole}, whole, false)
		for _, t := range l.r.toks {
			known := l.x.buriedAny(t.fp)
			for range l.x.table.of(t.fp) {
				known = true
				break
			}
			if known && t.kind != kindWord && t.start < len(last) && t.end > len(last)+len(between) {
				out = append(out, tok{fp: t.fp, kind: t.kind, end: len(text)})
			}
		}
	}
	return out
}

// asked reports whether the user said what a leaf says.
func (l *look) asked(s *seen, text []byte) Answer {
	x := l.x
	switch {
	case !x.known:
		return Unknown
	case x.asked(s.words), x.askedUnspaced(s.prints, text):
		return Yes
	}
	typed := 0
	for _, t := range s.prints {
		if t.kind == kindWord || t.kind == kindPhrase {
			continue
		}
		if _, ok := x.typed[t.fp]; !ok {
			return No
		}
		typed++
	}
	if typed > 0 {
		return Yes
	}
	return No
}

// locate finds the results a leaf's identity stands in.
func (l *look) locate(leaf *Leaf, s *seen, f *folded) {
	start, end := -1, 0
	words := l.sourcesOfWords(s)
	worst := -1
	home := map[uint32]bool{} // sources that have the address itself
	for _, t := range s.prints {
		if _, said := l.x.typed[t.fp]; said && t.kind != kindWord {
			continue // the user said that one
		}
		for at := range l.x.table.of(t.fp) {
			i := at.where & sourceMask
			if t.kind == kindWord && !words[i] {
				continue
			}
			src := l.x.source(*at)
			if !src.untrusted && at.where&flagUnvouched == 0 {
				leaf.Trusted = true
			}
			leaf.Hostile = leaf.Hostile || src.untrusted && at.where&flagHot != 0
			if rank := src.rank(at.where); rank > worst {
				worst, s.source, s.found = rank, i, true
			}
			if start < 0 || t.start < start {
				start = t.start
			}
			end = max(end, t.end)
			leaf.Scopes = merge(leaf.Scopes, l.x.scopesOf(src.scopes))
			if home[i] = home[i] || t.kind == kindHost || t.kind == kindEmail; leaf.Role == Content {
				s.private = merge(s.private, l.x.scopesOf(src.scopes))
			}
		}
		if _, sent := l.x.gone[t.fp]; !sent {
			leaf.Novel = true
		}
	}
	unsaid := slices.DeleteFunc(slices.Clone(s.prints), func(t tok) bool {
		_, said := l.x.typed[t.fp]
		return said && t.kind != kindWord
	})
	s.home, s.buried = home, l.x.buriedScopes(unsaid)
	s.hot = l.x.buried.hadAll(buriedHot, unsaid)
	s.lost = l.x.lost || l.x.buried.hadAll(buriedUntrusted, unsaid)
	if leaf.Role == Content {
		s.private = merge(s.private, l.x.scopesOf(s.buried))
		if leaf.Asked != Yes && len(s.words) > 0 {
			s.private = merge(s.private, l.x.scopesOf(l.x.missed))
		}
	}
	if s.found {
		leaf.Start, leaf.End = f.source(start), f.source(end)
		leaf.From = l.x.public(s.source)
	}
}

// sourcesOfWords are the sources that all words of a leaf stand in.
func (l *look) sourcesOfWords(s *seen) map[uint32]bool {
	count, n := map[uint32]int{}, 0
	for _, t := range s.prints {
		if t.kind != kindWord {
			continue
		}
		n++
		once := map[uint32]bool{}
		for at := range l.x.table.of(t.fp) {
			once[at.where&sourceMask] = true
		}
		for i := range once {
			count[i]++
		}
	}
	out := map[uint32]bool{}
	for i, c := range count {
		out[i] = c == n
	}
	return out
}

// rank orders sources from harmless to bad.
func (s *source) rank(where uint32) int {
	rank := 0
	if s.untrusted {
		rank = 8 + 2*int(s.tier)
		if where&flagHot != 0 {
			rank++
		}
	}
	return rank
}

// passages finds the results a longer text has passages of.
func (l *look) passages(leaf *Leaf, s *seen, text []byte, end int) {
	own := s.buried
	l.r.winnow.passages(&l.x.keys, text, func(fp uint64) {
		if from := l.x.buriedScopes([]tok{{fp: fp, kind: kindPhrase}}); from != 0 {
			leaf.Scopes = merge(leaf.Scopes, l.x.scopesOf(from))
			s.private = merge(s.private, l.x.scopesOf(from&^own))
		}
		s.lost = s.lost || l.x.buried.has(buriedUntrusted, fp)
		for at := range l.x.table.of(fp) {
			src := l.x.source(*at)
			leaf.Scopes = merge(leaf.Scopes, l.x.scopesOf(src.scopes))
			if !s.home[at.where&sourceMask] {
				s.private = merge(s.private, l.x.scopesOf(src.scopes))
			}
			leaf.Hostile = leaf.Hostile || src.untrusted && at.where&flagHot != 0
			if leaf.From == nil {
				s.source, s.found = at.where&sourceMask, true
				leaf.From, leaf.End = l.x.public(s.source), end
			}
		}
	})
}

// public is a source as reports tell of it.
func (x *Index) public(i uint32) *Source {
	s := &x.sources[int(i)-x.first]
	return &Source{Call: s.call, Server: s.server, Tool: s.tool, Untrusted: s.untrusted, Pointed: s.pointed, Scopes: x.scopesOf(s.scopes), Tier: s.tier}
}

func merge(a, b []string) []string {
	for _, s := range b {
		if i, ok := slices.BinarySearch(a, s); !ok {
			a = slices.Insert(a, i, s)
		}
	}
	return a
}
