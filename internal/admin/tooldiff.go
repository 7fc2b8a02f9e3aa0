package admin

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// ToolDiff compares an approved definition with what was last listed.
type ToolDiff struct {
	Server   string             `json:"server"`
	Name     string             `json:"name"`
	State    registry.ToolState `json:"state"`
	Pinned   string             `json:"pinned,omitempty"` // canonical digest
	Seen     string             `json:"seen,omitempty"`
	Spelling bool               `json:"spelling,omitempty"` // only whitespace, key order or escapes differ
	Fields   []FieldDiff        `json:"fields,omitempty"`
	Class    registry.ToolClass `json:"class"`    // that counts now
	Proposed registry.ToolClass `json:"proposed"` // that approving makes count
	// Suggested is what the definition suggests by itself, where a person has said
	// another class or a lower tier: whoever approves is asked to look again.
	Suggested *registry.ToolClass `json:"suggested,omitempty"`
	// Grade and Changes say how much the difference matters, Tier and Findings what
	// inspection sees in what is listed now.
	Grade    registry.Grade         `json:"grade,omitempty"`
	Changes  []registry.DriftChange `json:"changes,omitempty"`
	Tier     string                 `json:"tier,omitempty"`
	Findings []FoundText            `json:"findings,omitempty"`
}

// FoundText is a finding with the text it is about, spelled out: only a person
// who decides is shown it.
type FoundText struct {
	registry.Finding
	Text        string `json:"text,omitempty"`
	DecodedText string `json:"decodedText,omitempty"`
}

// FieldDiff is one member of a definition that differs. Text has its hidden
// characters spelled out, so that what a person reads is what a model reads.
type FieldDiff struct {
	Field  string    `json:"field"` // for example inputSchema.properties.path.description
	Before string    `json:"before,omitempty"`
	After  string    `json:"after,omitempty"`
	Added  bool      `json:"added,omitempty"`
	Gone   bool      `json:"gone,omitempty"`
	Words  []Segment `json:"words,omitempty"` // for text on both sides
	Hidden []string  `json:"hidden,omitempty"`
}

// Segment is a run of words that is in both texts, only before or only after.
type Segment struct {
	Op   string `json:"op"` // "=", "-", "+"
	Text string `json:"text"`
}

// DiffTool compares what is pinned under name (registry.NameOf) with what was
// last seen.
func (a *Admin) DiffTool(server, name string) (ToolDiff, error) {
	cur := a.current.Load()
	t, err := findTool(cur, server, name)
	if err != nil {
		return ToolDiff{}, err
	}
	d := ToolDiff{Server: server, Name: name, State: t.State, Pinned: t.PinDigest, Seen: t.SeenDigest, Class: cur.View.Class(t)}
	d.Proposed = d.Class
	before, err := leaves(t.Pinned)
	if err != nil {
		return ToolDiff{}, err
	}
	after, err := leaves(t.Seen)
	if err != nil {
		return ToolDiff{}, err
	}
	if len(t.Seen) == 0 {
		return d, nil // nothing was listed since the pin was restored
	}
	a.inspectDiff(cur, t, &d)
	if next, err := registry.Approve(t, a.inspect.on(cur.View), "", a.now()); err == nil {
		d.Proposed = cur.View.Class(next)
	}
	if def, err := rawjson.Parse(t.Seen, rawjson.Limits{Bytes: registry.MaxDefinition}); err == nil {
		if c := registry.ProposeClass(t.Kind(), def); c.Class != d.Proposed.Class || c.Tier > d.Proposed.Tier {
			d.Suggested = &c
		}
	}
	d.Spelling = t.PinDigest == t.SeenDigest && !bytes.Equal(t.Pinned, t.Seen)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, f := range slices.Sorted(maps.Keys(all)) {
		if fd, differs := compareLeaf(f, before, after); differs {
			d.Fields = append(d.Fields, fd)
		}
	}
	return d, nil
}

// inspectDiff adds what inspection says of the difference.
func (a *Admin) inspectDiff(cur *Current, t registry.Tool, d *ToolDiff) {
	def, err := rawjson.Parse(t.Seen, rawjson.Limits{Bytes: registry.MaxDefinition})
	if err != nil {
		return // leaves has read it
	}
	ins, s := a.inspect.on(cur.View), t.Subject(def)
	found := ins.Inspect(s)
	d.Tier = found.Tier
	for _, f := range found.Findings {
		d.Findings = append(d.Findings, a.inspect.shown(s, f))
	}
	if t.PinDigest == "" || t.PinDigest == t.SeenDigest {
		return
	}
	if pinned, err := rawjson.Parse(t.Pinned, rawjson.Limits{Bytes: registry.MaxDefinition}); err == nil {
		drift := ins.Drift(pinned, s)
		d.Grade, d.Changes = drift.Grade, drift.Changes
	}
}

func compareLeaf(field string, before, after map[string]leaf) (FieldDiff, bool) {
	b, was := before[field]
	n, is := after[field]
	if was && is && b.canonical == n.canonical {
		return FieldDiff{}, false
	}
	fd := FieldDiff{Field: Visible(field), Before: Visible(b.text), After: Visible(n.text), Added: !was, Gone: !is, Hidden: hiddenIn(n.text)}
	if was && is {
		fd.Words = words(fd.Before, fd.After)
	}
	return fd, true
}

// leaf is one value of a definition that is no object.
type leaf struct{ canonical, text string }

// leaves flattens a definition: members by path, items of lists by number.
func leaves(def []byte) (map[string]leaf, error) {
	out := map[string]leaf{}
	if len(def) == 0 {
		return out, nil
	}
	v, err := rawjson.Parse(def, rawjson.Limits{Bytes: registry.MaxDefinition})
	if err != nil {
		return nil, &access.Error{Code: access.CodeInternal, Msg: "a kept definition cannot be read", Err: err}
	}
	var walk func(path string, v rawjson.Value)
	walk = func(path string, v rawjson.Value) {
		if v.Len() > 0 && v.Kind() == rawjson.Object {
			for k, m := range v.Members() {
				key, _ := k.Str()
				walk(member(path, key), m)
			}
			return
		}
		if v.Len() > 0 && v.Kind() == rawjson.Array {
			i := 0
			for m := range v.Items() {
				walk(fmt.Sprintf("%s[%d]", path, i), m)
				i++
			}
			return
		}
		text, ok := v.Str()
		if !ok {
			text = string(v.Raw())
		}
		out[path] = leaf{string(rawjson.AppendCanonical(nil, v)), text}
	}
	walk("", v)
	return out, nil
}

// member is the path of a member. A key that could be read as more than one step
// is quoted, so that no member is shown, or hidden, as another.
func member(path, key string) string {
	plain := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-$", r) }
	switch {
	case key == "" || strings.TrimFunc(key, plain) != "":
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// Visible spells out every character a reader does not see: \u{200b}. A line
// break and a tab stay, a backslash before "u{" is spelled out too, so that the
// text cannot pretend to be spelled out.
func Visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == '\\' && strings.HasPrefix(s[i:], `\u{`):
			b.WriteString(`\u{5c}`)
		case hidden(r) || unicode.IsSpace(r) && r != ' ':
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hiddenIn lists the hidden characters of s, each once.
func hiddenIn(s string) []string {
	var out []string
	for _, r := range s {
		if r != '\n' && r != '\t' && hidden(r) {
			if u := fmt.Sprintf("%U", r); !slices.Contains(out, u) {
				out = append(out, u)
			}
		}
	}
	return out
}

// maxWords bounds the word by word comparison, which is quadratic; longer texts
// are shown as wholes.
const maxWords = 2000

// words compares two texts word by word: the longest common subsequence.
func words(before, after string) []Segment {
	a, b := split(before), split(after)
	if len(a) > maxWords || len(b) > maxWords {
		return []Segment{{"-", before}, {"+", after}}
	}
	table := make([][]uint16, len(a)+1)
	for i := range table {
		table[i] = make([]uint16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	var out []Segment
	add := func(op, text string) {
		if n := len(out); n > 0 && out[n-1].Op == op {
			out[n-1].Text += text
			return
		}
		out = append(out, Segment{op, text})
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			add("=", a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && table[i+1][j] >= table[i][j+1]:
			add("-", a[i])
			i++
		default:
			add("+", b[j])
			j++
		}
	}
	return out
}

// split cuts a text into words and the blanks between them.
func split(s string) []string {
	var out []string
	start, blank := 0, false
	for i, r := range s {
		if is := unicode.IsSpace(r); i > 0 && is != blank {
			out = append(out, s[start:i])
			start, blank = i, is
		} else if i == 0 {
			blank = is
		}
	}
	if s != "" {
		out = append(out, s[start:])
	}
	return out
}
