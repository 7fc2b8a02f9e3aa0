package inspect

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"rutile/internal/rawjson"
)

// Grade is how much a change of a definition matters (inspection.md section 6).
type Grade uint8

// The grades. What is below High passes by default, with a record.
const (
	GradeNone     Grade = iota // nothing changed
	GradeInfo                  // spelling only
	GradeLow                   // wording, narrower, a plain addition
	GradeHigh                  // a person must look
	GradeCritical              // new findings block
)

// String returns the grade as one word.
func (g Grade) String() string {
	switch g {
	case GradeNone:
		return "none"
	case GradeInfo:
		return "info"
	case GradeLow:
		return "low"
	case GradeHigh:
		return "high"
	default:
		return "critical"
	}
}

// MarshalText writes what String returns.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// Change is one change of a definition: what kind, where, how much it matters.
type Change struct {
	Kind    string `json:"kind"`
	Pointer string `json:"pointer"`
	Grade   Grade  `json:"grade"`
	Why     string `json:"why"`
}

// Drift is what changed between two revisions of one definition.
type Drift struct {
	Grade   Grade    `json:"grade"`
	Changes []Change `json:"changes,omitempty"`
	// New are the findings the later revision has and the earlier one had not.
	New []Finding `json:"new,omitempty"`
}

// Passes reports whether nobody has to look.
func (d Drift) Passes() bool { return d.Grade < GradeHigh }

// Drift grades the change from one revision of a definition to the next. What was
// there before is not held against the later one; the whole new text is read, so
// that an order of old and new words together is seen.
func (e *Engine) Drift(before, after rawjson.Value) Drift {
	return e.DriftOf(Definition, before, after)
}

// DriftOf is Drift of what is read in a profile: Instructions are held to more.
func (e *Engine) DriftOf(p Profile, before, after rawjson.Value) Drift {
	d := drifting{e: e, profile: p}
	if bytes.Equal(rawjson.AppendCanonical(nil, before), rawjson.AppendCanonical(nil, after)) {
		if !bytes.Equal(before.Raw(), after.Raw()) {
			d.add("spelling", "", GradeInfo, "the same definition is written otherwise")
		}
		return d.Drift
	}
	if before.Kind() == rawjson.Object && after.Kind() == rawjson.Object {
		d.members(before, after)
	} else {
		d.other("", before, after) // instructions are one string
	}
	d.newFindings(before, after)
	if d.Grade == GradeNone {
		d.add("spelling", "", GradeInfo, "the same definition is written otherwise")
	}
	return d.Drift
}

type drifting struct {
	e       *Engine
	profile Profile
	Drift
}

func (d *Drift) add(kind, pointer string, g Grade, why string) {
	d.Grade = max(d.Grade, g)
	d.Changes = append(d.Changes, Change{Kind: kind, Pointer: pointer, Grade: g, Why: why})
}

// members compares what a definition consists of, each part by its own rules.
func (d *drifting) members(before, after rawjson.Value) {
	for _, key := range keysOf(before, after) {
		was, is, at := before.Get(key), after.Get(key), "/"+escapeKey(key)
		if same(was, is) && key != "annotations" {
			continue
		}
		switch key {
		case "annotations":
			d.annotations(was, is)
		case "inputSchema":
			d.schema(at, was, is, 0)
		case "description", "title":
			d.wording(at, was, is)
		case "name":
			d.add("name", at, GradeHigh, "it is another name")
		default:
			d.other(at, was, is)
		}
	}
}

// keysOf is the keys of both, in the order of the first and then the second.
func keysOf(a, b rawjson.Value) (keys []string) {
	for _, v := range []rawjson.Value{a, b} {
		for key := range v.Members() {
			if name, _ := key.Str(); !slices.Contains(keys, name) {
				keys = append(keys, name)
			}
		}
	}
	return keys
}

func same(a, b rawjson.Value) bool {
	return a.Exists() == b.Exists() && bytes.Equal(rawjson.AppendCanonical(nil, a), rawjson.AppendCanonical(nil, b))
}

// annotations compares what the annotations come to, defaults applied (MCP
// 2025-06-18, ToolAnnotations).
func (d *drifting) annotations(was, is rawjson.Value) {
	effective := func(v rawjson.Value, key string, byDefault bool) bool {
		if val, ok := v.Get(key).Bool(); ok {
			return val
		}
		return byDefault
	}
	changed := false
	for _, a := range []struct {
		key               string
		byDefault, danger bool
		grade             Grade
	}{
		{"readOnlyHint", false, false, GradeHigh},
		{"destructiveHint", true, true, GradeHigh},
		{"openWorldHint", true, true, GradeHigh},
		{"idempotentHint", false, false, GradeLow},
	} {
		old, now := effective(was, a.key, a.byDefault), effective(is, a.key, a.byDefault)
		if a.key == "destructiveHint" && effective(is, "readOnlyHint", false) {
			continue // says nothing of a tool that only reads
		}
		switch {
		case old == now:
		case now == a.danger:
			changed = true
			d.add("annotation", "/annotations/"+a.key, a.grade, "claims more danger than before")
		default:
			changed = true
			d.add("annotation", "/annotations/"+a.key, GradeLow, "claims less danger than before")
		}
	}
	if !same(was.Get("title"), is.Get("title")) {
		d.wording("/annotations/title", was.Get("title"), is.Get("title"))
		changed = true
	}
	for _, key := range keysOf(was, is) {
		if !slices.Contains([]string{"readOnlyHint", "destructiveHint", "openWorldHint", "idempotentHint", "title"}, key) && !same(was.Get(key), is.Get(key)) {
			d.other("/annotations/"+escapeKey(key), was.Get(key), is.Get(key))
			changed = true
		}
	}
	if !changed && !same(was, is) {
		d.add("spelling", "/annotations", GradeInfo, "the annotations come to the same")
	}
}

// wording compares two texts by their sentences.
func (d *drifting) wording(at string, was, is rawjson.Value) {
	old, _ := was.Str()
	now, _ := is.Str()
	known := map[string]bool{}
	for _, s := range sentences(d.e.skeleton(old)) {
		known[s] = true
	}
	grade, why := GradeLow, "another wording"
	for _, s := range sentences(d.e.skeleton(now)) {
		if known[s] {
			continue
		}
		if reason := d.telling(s, d.e.skeleton(old)); reason != "" {
			grade, why = GradeHigh, reason
			break
		}
	}
	d.add("wording", at, grade, why)
}

// sentences cuts a normalised text at its ends of sentences.
func sentences(text string) (out []string) {
	text = strings.NewReplacer("! ", ". ", "? ", ". ", "\n", ". ").Replace(text)
	for s := range strings.SplitSeq(text, ". ") {
		if s = strings.Trim(s, " .\n"); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// telling says what in a sentence that was added a person should see, "" if
// nothing: an address, a file with secrets or a command that was not there, or an
// order about the conversation, other calls or the user.
func (d *drifting) telling(sentence, old string) string {
	e := d.e
	var alarming []string
	words, _ := e.words.search(nil, []byte(sentence))
	for _, t := range words {
		w := &e.words.words[t.word]
		for _, c := range w.classes {
			if why := e.added[c]; why != "" && !strings.Contains(old, w.text) {
				alarming = append(alarming, why)
			}
		}
	}
	if len(alarming) > 0 {
		return alarming[0]
	}
	for _, w := range strings.FieldsFunc(sentence, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-' }) {
		if hostLike(w) && !strings.Contains(old, w) {
			return "an added sentence names a host"
		}
	}
	for _, f := range e.Text(Definition, []byte(sentence)).Findings {
		if f.Weight >= addedAt {
			return "an added sentence " + f.Why
		}
	}
	return ""
}

// hostLike reports whether a word reads as the name of a machine elsewhere: labels
// with a dot between, the last one of the domains most in use or kept for
// examples. Names of files and versions have no such end.
func hostLike(w string) bool {
	i := strings.LastIndexByte(w, '.')
	return i > 1 && slices.Contains(domains, w[i+1:]) && strings.Trim(w[:i], "0123456789.") != ""
}

var domains = []string{"com", "net", "org", "io", "dev", "app", "co", "ai", "xyz", "info", "biz", "online", "site", "top", "cloud", "me", "tv", "gg", "link", "click", "ru", "cn", "kr", "jp", "de", "uk", "fr", "eu", "example", "test", "invalid", "onion", "local", "internal"}

// addedAt is what a finding must weigh in a sentence that was added: less than
// elsewhere, because somebody added it.
const addedAt = .35

// other compares members nothing is known about: their text is read.
func (d *drifting) other(at string, was, is rawjson.Value) {
	if was.Kind() == rawjson.String && is.Kind() == rawjson.String {
		d.wording(at, was, is)
		return
	}
	old := map[string]bool{}
	eachText(was, 0, func(text string) { old[text] = true })
	grade, why := GradeLow, "another member changed"
	eachText(is, 0, func(text string) {
		if grade == GradeHigh || old[text] {
			return
		}
		if reason := d.telling(d.e.skeleton(text), ""); reason != "" {
			grade, why = GradeHigh, reason
		}
	})
	d.add("member", at, grade, why)
}

// eachText calls do for every text in a value.
func eachText(v rawjson.Value, depth int, do func(string)) {
	if depth > maxNesting {
		return
	}
	switch v.Kind() {
	case rawjson.String:
		text, _ := v.Str()
		do(text)
	case rawjson.Array:
		for item := range v.Items() {
			eachText(item, depth+1, do)
		}
	case rawjson.Object:
		for _, m := range v.Members() {
			eachText(m, depth+1, do)
		}
	}
}

// newFindings adds what the later revision shows and the earlier one did not, by
// rule and text.
func (d *drifting) newFindings(before, after rawjson.Value) {
	known := map[string]int{}
	for _, f := range d.e.Document(d.profile, before).Findings {
		known[f.Rule+"\x00"+spanOf(before, f)]++
	}
	for _, f := range d.e.Document(d.profile, after).Findings {
		key := f.Rule + "\x00" + spanOf(after, f)
		if known[key] > 0 {
			known[key]--
			continue
		}
		d.See(f)
	}
	if all := Combine(slices.Clone(d.New)); all.Tier >= Review && d.Grade < GradeHigh {
		d.add("finding", "", GradeHigh, "what is new weighs enough together")
	}
}

// See adds a finding the later revision has and the earlier one had not.
func (d *Drift) See(f Finding) {
	d.New = append(d.New, f)
	switch f.Tier {
	case Block:
		d.add("finding", f.Pointer, GradeCritical, f.Why)
	case Review:
		d.add("finding", f.Pointer, GradeHigh, f.Why)
	}
}

// spanOf is the text a finding is about.
func spanOf(def rawjson.Value, f Finding) string {
	s, _ := At(def, f.Pointer)
	if f.End > len(s) || f.Start > f.End {
		return f.Pointer
	}
	return s[f.Start:f.End]
}

// At returns the text at a pointer of a definition, and whether there is one.
func At(def rawjson.Value, pointer string) (string, bool) {
	v := def
	if pointer != "" {
		for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
			if v.Kind() == rawjson.Array {
				v = item(v, step)
			} else {
				v = v.Get(step)
			}
		}
	}
	return v.Str()
}

func item(v rawjson.Value, index string) rawjson.Value {
	n := 0
	for _, d := range []byte(index) {
		n = n*10 + int(d-'0')
	}
	i := 0
	for it := range v.Items() {
		if i == n {
			return it
		}
		i++
	}
	return rawjson.Value{}
}
