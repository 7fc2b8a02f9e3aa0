package admin

import (
	"fmt"
	"slices"
	"strings"
)

// RulesDiff is what differs between two generations of the rules.
type RulesDiff struct {
	From    Version      `json:"from"` // without what they hold
	To      Version      `json:"to"`
	Objects []ObjectDiff `json:"objects"` // sorted by kind and id
}

// ObjectDiff is one policy, entitlement or allow-list before and after, as a
// unified diff of its text. An allow-list is the agent's, one pattern a line.
type ObjectDiff struct {
	Kind   string `json:"kind"` // Policy, Entitlement, Agent
	ID     string `json:"id"`
	Action Action `json:"action"` // create, update, delete
	Diff   string `json:"diff"`
}

// DiffRules compares two versions.
func DiffRules(from, to Version) RulesDiff {
	before, after := textsOf(from.Rules), textsOf(to.Rules)
	d := RulesDiff{From: from, To: to, Objects: []ObjectDiff{}}
	d.From.Rules, d.To.Rules = nil, nil
	keys := keysOf(before)
	for _, k := range keysOf(after) {
		if _, ok := before[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		old, was := before[k]
		now, is := after[k]
		if was && is && old == now {
			continue
		}
		kind, id, _ := strings.Cut(k, "/")
		o := ObjectDiff{Kind: kind, ID: id, Action: ActionUpdate}
		switch {
		case !was:
			o.Action = ActionCreate
		case !is:
			o.Action = ActionDelete
		}
		o.Diff = unified(k, from.N, to.N, old, now)
		d.Objects = append(d.Objects, o)
	}
	return d
}

// textsOf is every object of the rules as text, by kind and id.
func textsOf(r *Rules) map[string]string {
	out := map[string]string{}
	if r == nil {
		return out
	}
	for _, p := range r.Policies {
		text := p.Cedar
		if p.Layer != "" {
			text = "// layer: " + p.Layer + "\n" + text
		}
		if p.State != "" {
			text = "// state: " + p.State + "\n" + text
		}
		out[kindPolicy+"/"+p.ID] = text
	}
	for _, x := range r.Entitlements {
		e := &emitter{}
		e.entitlement(x)
		out[kindEntitlement+"/"+x.ID] = e.String()
	}
	for _, l := range r.Lists {
		tools := slices.Sorted(slices.Values(l.Tools)) // the order says nothing
		out[kindAgent+"/"+l.Agent] = strings.Join(tools, "\n") + "\n"
	}
	return out
}

// around is how many unchanged lines a unified diff shows on either side.
const around = 3

// maxLines bounds the comparison line by line, which is quadratic; what is longer
// is shown as a whole before and a whole after.
const maxLines = 2000

// edit is one line of a diff: ' ', '-' or '+' and the line.
type edit struct {
	op   byte
	text string
}

// unified returns the unified diff of two texts, "" if they are equal.
func unified(name string, from, to uint64, before, after string) string {
	if before == after {
		return ""
	}
	edits := compareLines(lineList(before), lineList(after))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s %s\n+++ %s %s\n", name, generationName(from), name, generationName(to))
	for i := 0; i < len(edits); {
		first := slices.IndexFunc(edits[i:], func(e edit) bool { return e.op != ' ' })
		if first < 0 {
			break
		}
		start := max(i, i+first-around)
		end, quiet := i+first, 0
		for ; end < len(edits) && quiet <= 2*around; end++ {
			quiet++
			if edits[end].op != ' ' {
				quiet = 0
			}
		}
		end -= max(0, quiet-around)
		hunk(&b, edits, start, end)
		i = end
	}
	return b.String()
}

func generationName(n uint64) string {
	if n == 0 {
		return "(in force)"
	}
	return fmt.Sprintf("(generation %d)", n)
}

// hunk writes the edits from start to end with the lines they are at.
func hunk(b *strings.Builder, edits []edit, start, end int) {
	at := func(side byte, from, to int) (n int) {
		for _, e := range edits[from:to] {
			if e.op == ' ' || e.op == side {
				n++
			}
		}
		return n
	}
	span := func(side byte) string {
		n, length := at(side, 0, start), at(side, start, end)
		if length > 0 {
			n++
		}
		if length == 1 {
			return fmt.Sprint(n)
		}
		return fmt.Sprintf("%d,%d", n, length)
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", span('-'), span('+'))
	for _, e := range edits[start:end] {
		b.WriteByte(e.op)
		b.WriteString(e.text)
		if !strings.HasSuffix(e.text, "\n") {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func lineList(s string) []string {
	if s == "" {
		return nil
	}
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// compareLines returns the edits that turn a into b: the longest common
// subsequence between what they begin and end with alike.
func compareLines(a, b []string) []edit {
	var out, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		out = append(out, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	slices.Reverse(tail)
	if len(a) > maxLines || len(b) > maxLines {
		for _, l := range a {
			out = append(out, edit{'-', l})
		}
		for _, l := range b {
			out = append(out, edit{'+', l})
		}
		return append(out, tail...)
	}
	common := longestCommon(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return append(out, tail...)
}

// longestCommon returns how long the longest common subsequence of a[i:] and
// b[j:] is.
func longestCommon(a, b []string) [][]uint16 {
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
	return table
}
