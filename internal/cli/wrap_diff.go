package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
)

// around is how many lines of a file are shown beside a change.
const around = 2

// redactedDiff shows how a file changes, without what is or could be a secret.
func redactedDiff(f *clientconfig.File, routes []wrap.Route, after []byte) string {
	hide := map[string]bool{}
	for _, e := range f.Entries {
		for _, list := range [][]clientconfig.Value{e.Env, e.Headers, e.Fields} {
			for _, v := range list {
				if v.Value != "" && !discovery.Harmless(v.Name, v.Value) {
					hide[v.Value] = true
				}
			}
		}
		for _, i := range discovery.SecretArguments(e.Spec.Command, e.Spec.Args) {
			hide[e.Spec.Args[i]] = true
		}
		if e.Spec.URL != "" && !discovery.Harmless("", e.Spec.URL) {
			hide[e.Spec.URL] = true
		}
	}
	secrets := slices.SortedFunc(maps.Keys(hide), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return diffText(f.Show, string(f.Raw), string(after), func(line string) string { return blanked(line, secrets) })
}

// blanked is a line without these texts, however the file spells them, and without
// what looks like a secret anywhere else in it.
func blanked(line string, secrets []string) string {
	for _, s := range secrets {
		for _, form := range []string{s, strings.Trim(fmt.Sprintf("%q", s), `"`)} {
			if form != "" {
				line = strings.ReplaceAll(line, form, "<redacted>")
			}
		}
	}
	return discovery.RedactLine(line)
}

// diffText is how one text becomes another, line by line, in the form of diff -u.
func diffText(name, before, after string, show func(string) string) string {
	a, b := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", name, name)
	line := func(mark, s string) {
		out.WriteString(mark + show(strings.TrimRight(s, "\r\n")) + "\n")
	}
	from := max(0, head-around)
	fmt.Fprintf(&out, "@@ line %d @@\n", from+1)
	for _, op := range edits(a[head:len(a)-tail], b[head:len(b)-tail], a[from:head]) {
		line(op.mark, op.text)
	}
	for _, s := range a[len(a)-tail : min(len(a), len(a)-tail+around)] {
		if s != "" {
			line(" ", s)
		}
	}
	return out.String()
}

type diffLine struct{ mark, text string }

// maxDiff bounds the lines that are compared with each other.
const maxDiff = 1500

// edits are the lines that go and come, after those before them.
func edits(a, b, before []string) []diffLine {
	var out []diffLine
	for _, s := range before {
		out = append(out, diffLine{" ", s})
	}
	if len(a) > maxDiff || len(b) > maxDiff {
		for _, s := range a {
			out = append(out, diffLine{"-", s})
		}
		for _, s := range b {
			out = append(out, diffLine{"+", s})
		}
		return out
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, diffLine{"-", a[i]})
			i++
		default:
			out = append(out, diffLine{"+", b[j]})
			j++
		}
	}
	return shortened(out)
}

// shortened leaves out lines that stay and are far from any change.
func shortened(all []diffLine) []diffLine {
	var out []diffLine
	for i, l := range all {
		near := false
		for j := max(0, i-around); j <= min(len(all)-1, i+around); j++ {
			near = near || all[j].mark != " "
		}
		switch {
		case near:
			out = append(out, l)
		case len(out) > 0 && out[len(out)-1].mark != "…":
			out = append(out, diffLine{"…", ""})
		}
	}
	return out
}
