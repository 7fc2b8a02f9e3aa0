package discovery_test

import (
	"testing"

	"rutile/internal/discovery"
)

// TestOnlyWhatWasLookedForIsGone: a place counts as looked through if a pattern of
// this source and user led there, and not if one of another did or would nearly.
func TestOnlyWhatWasLookedForIsGone(t *testing.T) {
	all := discovery.Lookers([]discovery.Whole{
		{Source: "client", User: "ann", Patterns: []string{"~/.cursor/mcp.json", "~/.config/Code/User/profiles/*/mcp.json", "~/.claude/plugins/**/.mcp.json"}},
		{Source: "client", User: "ann", Roots: []string{"shop@12"}, Below: []string{"/.mcp.json", "/.vscode/mcp.json"}},
		{Source: "client", User: "ann", Roots: []string{"~/src"}, Below: []string{"/AGENTS.json"}},
		{Source: "client", User: "bob", Patterns: []string{"~/.gemini/settings.json"}},
	})
	ann := all[[2]string{"client", "ann"}]
	for place, want := range map[string]bool{
		"~/.cursor/mcp.json":                        true,
		"~/.cursor/mcp.json/x":                      false,
		"~/.config/Code/User/profiles/a/mcp.json":   true,
		"~/.config/Code/User/profiles/a/b/mcp.json": false,
		"~/.config/Code/User/profiles/a/other.json": false,
		"~/.claude/plugins/.mcp.json":               true,
		"~/.claude/plugins/a/b/c/.mcp.json":         true,
		"~/.claude/plugins/a/b/c/x.mcp.json":        false,
		"shop@12/.mcp.json":                         true,
		"shop@12/.vscode/mcp.json":                  true,
		"shop@12/sub/.mcp.json":                     false,
		"shop@13/.mcp.json":                         false,
		"~/src/AGENTS.json":                         true,
		"~/src/.mcp.json":                           false,
		"~/.gemini/settings.json":                   false,
		"":                                          false,
	} {
		if got := ann.Looked(place); got != want {
			t.Errorf("%s: looked through %v, want %v", place, got, want)
		}
	}
	if all[[2]string{"process", "ann"}].Looked("~/.cursor/mcp.json") {
		t.Error("a source that said nothing looked somewhere")
	}
}
