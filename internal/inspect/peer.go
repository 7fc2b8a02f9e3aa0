package inspect

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"rutile/internal/rawjson"
)

// Peer is a tool of another server that agents may use beside the one inspected.
type Peer struct {
	Server, Name, Description string
}

// Peers are all of them, compiled. It is immutable and safe for concurrent use;
// what Against finds changes with it, and is cached apart from what a text says
// alone.
type Peers struct {
	engine    *Engine
	peers     []Peer
	names     map[string][]int           // by skeleton
	stems     map[string][]int           // by words without version and praise
	near      map[int][]int              // by length of the skeleton
	skel      []string                   // of each
	shape     []map[uint64]bool          // shingles of each description
	telltale  map[uint64][]int           // by shingle: the descriptions it is a telling one of
	shared    map[uint64]int             // in how many descriptions each shingle stands
	mentioned map[string][]int           // names worth looking for, alone and as server__tool
	own       map[string]map[string]bool // by server: skeletons of its names
}

const (
	shortestMention = 6   // letters of a name without a separator that is looked for
	cloneAt         = 0.8 // similarity of two descriptions
	shingle         = 3   // words
	fewestShingles  = 6
)

// Peers compiles the tools of other servers, in the order given.
func (e *Engine) Peers(peers []Peer) *Peers {
	p := &Peers{engine: e, peers: peers, names: map[string][]int{}, stems: map[string][]int{}, near: map[int][]int{},
		telltale: map[uint64][]int{}, shared: map[uint64]int{}, mentioned: map[string][]int{}, own: map[string]map[string]bool{}}
	first := func(m map[string][]int, key string, n int) {
		// One of each of two servers is enough: one of them is another's.
		if have := m[key]; key != "" && (len(have) == 0 || len(have) == 1 && peers[have[0]].Server != peers[n].Server) {
			m[key] = append(have, n)
		}
	}
	for n, one := range peers {
		skel := e.skeleton(one.Name)
		if p.own[one.Server] == nil {
			p.own[one.Server] = map[string]bool{}
		}
		p.own[one.Server][skel] = true
		p.skel = append(p.skel, skel)
		first(p.names, skel, n)
		first(p.stems, stemOf(e, one.Name), n)
		p.near[len(skel)] = append(p.near[len(skel)], n)
		shape := p.shingles(one.Description)
		p.shape = append(p.shape, shape)
		for h := range shape {
			p.shared[h]++
		}
		if len(skel) >= shortestMention || strings.ContainsAny(skel, "_-.") {
			first(p.mentioned, skel, n)
		}
		first(p.mentioned, e.skeleton(one.Server+"__"+one.Name), n)
	}
	for n, shape := range p.shape {
		for _, h := range p.telling(shape) {
			p.telltale[h] = append(p.telltale[h], n)
		}
	}
	return p
}

// telling are the rarest shingles of a description, so many that one that is
// similar enough has one of its own among them: prefix filtering, as known from
// similarity joins of sets.
func (p *Peers) telling(shape map[uint64]bool) []uint64 {
	all := slices.SortedFunc(maps.Keys(shape), func(a, b uint64) int { return cmp.Or(cmp.Compare(p.shared[a], p.shared[b]), cmp.Compare(a, b)) })
	keep := len(all) - int(math.Ceil(cloneAt*float64(len(all)))) + 1
	return all[:min(max(keep, 0), len(all))]
}

// Against inspects a definition of a server for what only shows beside the tools
// of others: the same name, one like it, the same description, orders about them.
// Peers of the same server are left out. An order about a name that the server has
// too is not hard: it may be about its own.
func (p *Peers) Against(server string, def rawjson.Value) Report {
	return p.Among(server, nil, def)
}

// Among is Against, beside tools of the same server that are no peers yet, by the
// skeletons of their names.
func (p *Peers) Among(server string, siblings map[string]bool, def rawjson.Value) Report {
	name, _ := def.Get("name").Str()
	description, _ := def.Get("description").Str()
	c := &beside{Peers: p, server: server, own: p.engine.skeleton(name), siblings: siblings}
	c.name(name, description)
	c.clone(description)
	c.mentions("", def, 0)
	return Combine(c.found)
}

// beside is one definition held against its peers.
type beside struct {
	*Peers
	server string
	own    string
	// siblings are names of the server's own tools besides those that are peers.
	siblings map[string]bool
	found    []Finding
	leaves   int
}

// another is the first of some peers that is of another server.
func (c *beside) another(of []int) (n int, ok bool) {
	for _, n := range of {
		if c.foreign(n) {
			return n, true
		}
	}
	return 0, false
}

func (c *beside) foreign(n int) bool { return c.peers[n].Server != c.server }

func (c *beside) peer(n int) string { return c.peers[n].Server + "/" + c.peers[n].Name }

func (c *beside) add(f Finding, pointer string, start, end int) {
	f.Pointer, f.Start, f.End = pointer, start, end
	for _, g := range c.found {
		if g.Rule == f.Rule && g.Pointer == f.Pointer {
			return
		}
	}
	c.found = append(c.found, f)
}

// name compares the name with those of others.
func (c *beside) name(name, description string) {
	if name == "" {
		return
	}
	at := func(f Finding) { c.add(f, "/name", 0, len(name)) }
	if n, ok := c.another(c.names[c.own]); ok {
		f := Finding{Rule: "peer.name", Family: "collision", Weight: .45, Why: "has the name of a tool of another server"}
		if c.peers[n].Name != name {
			f = Finding{Rule: "peer.lookalike", Family: "collision", Hard: true, Weight: .9, Why: "looks like a tool of another server and is written otherwise"}
		}
		f.Peer = c.peer(n)
		at(f)
		return
	}
	if stem := stemOf(c.engine, name); stem != "" {
		if n, ok := c.another(c.stems[stem]); ok {
			at(Finding{Rule: "peer.variant", Peer: c.peer(n), Family: "collision", Weight: .65, Why: "has the name of a tool of another server but for its version or a word of praise"})
			return
		}
	}
	allowed := 0
	switch {
	case len(c.own) >= 10:
		allowed = 2
	case len(c.own) >= 6:
		allowed = 1
	}
	for length := len(c.own) - allowed; length <= len(c.own)+allowed; length++ {
		for _, n := range c.near[length] {
			if c.foreign(n) && distance(c.own, c.skel[n], allowed) <= allowed && !c.meant(name, description, c.peers[n]) {
				at(Finding{Rule: "peer.near", Peer: c.peer(n), Family: "collision", Weight: .6, Why: "has nearly the name of a tool of another server"})
				return
			}
		}
	}
}

// clone compares the description with those of others.
func (c *beside) clone(description string) {
	own := c.shingles(description)
	if len(own) < fewestShingles {
		return
	}
	var candidates []int
	for _, h := range c.telling(own) {
		candidates = append(candidates, c.telltale[h]...)
	}
	slices.Sort(candidates)
	for _, n := range slices.Compact(candidates) {
		other := c.shape[n]
		if !c.foreign(n) || len(other) < fewestShingles {
			continue
		}
		both := 0
		for h := range own {
			if other[h] {
				both++
			}
		}
		if float64(both) >= cloneAt*float64(len(own)+len(other)-both) {
			c.add(Finding{Rule: "peer.clone", Peer: c.peer(n), Family: "clone", Weight: .6, Why: "describes itself as a tool of another server does"}, "/description", 0, len(description))
			return
		}
	}
}

// mentions looks through every text for names of foreign tools.
func (c *beside) mentions(pointer string, v rawjson.Value, depth int) {
	if depth > maxNesting || c.leaves > maxLeaves {
		return
	}
	switch v.Kind() {
	case rawjson.String:
		c.leaves++
		text, _ := v.Str()
		c.mention(pointer, text)
	case rawjson.Array:
		i := 0
		for item := range v.Items() {
			c.mentions(fmt.Sprintf("%s/%d", pointer, i), item, depth+1)
			i++
		}
	case rawjson.Object:
		for key, member := range v.Members() {
			name, _ := key.Str()
			if pointer == "" && name == "name" {
				continue
			}
			c.mentions(pointer+"/"+escapeKey(name), member, depth+1)
		}
	}
}

// reach is how far from a name words count that make it an order, in bytes.
const reach = 48

func (c *beside) mention(pointer, text string) {
	v := c.engine.normalise([]byte(text))
	for start := 0; start < len(v.text); {
		if !nameByte(v.text[start]) {
			start++
			continue
		}
		end := start
		for end < len(v.text) && nameByte(v.text[end]) {
			end++
		}
		c.named(pointer, v, start, end)
		start = end
	}
}

// Skeleton is the form in which names are compared.
func (e *Engine) Skeleton(name string) string { return e.skeleton(name) }

// nameByte reports whether a byte may stand in the name of a tool.
func nameByte(b byte) bool { return wordByte(b) || b == '-' || b == '.' || b == '/' || b >= 0x80 }

// named judges a word that may be the name of a foreign tool, or end in one.
func (c *beside) named(pointer string, v view, start, end int) {
	for end > start && (v.text[end-1] == '.' || v.text[end-1] == '-' || v.text[end-1] == '/') {
		end--
	}
	name := string(v.text[start:end])
	n, ok := c.another(c.mentioned[name])
	if cut := strings.LastIndexByte(name, '/'); !ok && cut >= 0 {
		name = name[cut+1:]
		start = end - len(name)
		n, ok = c.another(c.mentioned[name])
	}
	if !ok || name == c.own {
		return
	}
	f := Finding{Rule: "peer.mention", Family: "xtool", Weight: .2, Why: "names a tool of another server"}
	if (!ordinary(c.peers[n].Name) || strings.Contains(name, "__") || asName(v.text, start, end)) && c.ordered(v.text, start, end) {
		f = Finding{Rule: "peer.order", Family: "xtool", Hard: true, Weight: .85, Position: Imperative, Why: "orders when or how a tool of another server is used"}
		if c.siblings[name] || c.Peers.own[c.server][name] {
			f.Hard, f.Weight, f.Why = false, .6, "orders when or how a tool is used, and another server has one of that name too"
		}
	}
	f.Peer = c.peer(n)
	c.add(f, pointer, v.raw(start), v.rawEnd(end))
}

// ordered reports whether the sentence round a name orders something about it.
func (c *beside) ordered(text []byte, start, end int) bool {
	from, to := max(0, start-reach), min(len(text), end+reach)
	e := c.engine
	words, _ := e.words.search(nil, text[from:to])
	for _, t := range words {
		for _, k := range e.words.words[t.word].classes {
			if !e.ordering[k] {
				continue
			}
			between := text[min(from+int(t.end), end):max(start, min(from+int(t.end), end))]
			if from+int(t.start) >= end {
				between = text[end : from+int(t.start)]
			}
			if !strings.Contains(string(between), ". ") {
				return true
			}
		}
	}
	return false
}

func (p *Peers) shingles(text string) map[uint64]bool {
	words := strings.FieldsFunc(p.engine.skeleton(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	out := map[uint64]bool{}
	for i := 0; i+shingle <= len(words) && i < 2000; i++ {
		h := fnv.New64a()
		_, _ = h.Write([]byte(strings.Join(words[i:i+shingle], " ")))
		out[h.Sum64()] = true
	}
	return out
}

// stemOf is the words of a name without version and praise, sorted; "" where
// nothing was left out or too little is left.
func stemOf(e *Engine, name string) string {
	var words []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			words = append(words, e.skeleton(b.String()))
			b.Reset()
		}
	}
	before := ' '
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case unicode.IsUpper(r) && unicode.IsLower(before):
			flush()
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	flush()
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains(qualifiers, w) || version(w) })
	slices.Sort(words)
	stem := strings.Join(words, " ")
	if len(stem) < shortestMention {
		return ""
	}
	return stem
}

// qualifiers are words that make another name of a tool without another meaning.
var qualifiers = []string{"secure", "safe", "new", "pro", "plus", "enhanced", "official", "better", "fast", "improved", "advanced", "premium", "verified", "trusted", "fixed", "beta", "latest", "updated", "ext", "extended", "tool", "fn", "func", "function", "real", "true", "my", "the", "a", "mcp", "proxy", "wrapper", "alt", "copy", "original"}

func version(w string) bool {
	w = strings.TrimPrefix(w, "v")
	return w != "" && strings.Trim(w, "0123456789") == ""
}

// distance is the number of letters to insert, leave out, change or swap to make
// a of b (Damerau, restricted), or more than limit.
func distance(a, b string, limit int) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		two, last, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
			best = min(best, row[j])
		}
		if best > limit {
			return best
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
