package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/registry"
)

// BenchmarkChange measures one change of a registry with 100 servers of 100
// tools, 200 agents and 50 policies: plan, validate whole, record, commit into
// memory, install.
func BenchmarkChange(b *testing.B) {
	o := openBench(b)
	verbs := []registry.Verb{registry.VerbSuspend, registry.VerbResume}
	for i := 0; b.Loop(); i++ {
		if _, err := o.ChangeAgent(b.Context(), ann, "a0", verbs[i%2], ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkObserveUnchanged measures a listing of 100 tools that changes nothing.
func BenchmarkObserveUnchanged(b *testing.B) {
	o := openBench(b)
	l := listing(pairs(100)...)
	for b.Loop() {
		if c, err := o.Observe(b.Context(), "s0", l); err != nil || len(c) != 0 {
			b.Fatal(c, err)
		}
	}
}

// BenchmarkApplyUnchanged measures a second apply of 300 manifests.
func BenchmarkApplyUnchanged(b *testing.B) {
	o := openBench(b)
	docs := doc(benchManifests())
	for b.Loop() {
		if p, err := o.Apply(b.Context(), ann, docs, false); err != nil || p.Changes() {
			b.Fatal(err)
		}
	}
}

func pairs(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("tool_%d", i), "Reads one thing and says what it found, in two lines of text.")
	}
	return out
}

func benchManifests() string {
	var t strings.Builder
	for i := range 100 {
		fmt.Fprintf(&t, "---\nkind: Server\nid: s%d\nowner: team\nstate: sanctioned\ntransport: {http: {url: \"https://h%d.example/mcp\"}}\n", i, i)
	}
	for i := range 200 {
		fmt.Fprintf(&t, "---\nkind: Agent\nid: a%d\nowner: team\ntools: [\"s%d/*\", \"s%d/tool_1\"]\n", i, i%100, (i+1)%100)
	}
	for i := range 50 {
		fmt.Fprintf(&t, "---\nkind: Policy\nid: p%d\ncedar: |\n  forbid (principal, action == Mcp::Action::\"s%d/tool_1\", resource) unless { context.input.tag like \"v*\" };\n", i, i)
	}
	return t.String()
}

func openBench(b *testing.B) *office {
	b.Helper()
	o := reopen(b, newMemory(), &evidence{}, "")
	if _, err := o.Apply(b.Context(), ann, doc(benchManifests()), false); err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		if _, err := o.Observe(b.Context(), fmt.Sprintf("s%d", i), listing(pairs(100)...)); err != nil {
			b.Fatal(err)
		}
	}
	return o
}
