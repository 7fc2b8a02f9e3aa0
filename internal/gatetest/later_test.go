package gatetest_test

import (
	"strings"
	"testing"

	"rutile/internal/registry"
)

// The first listing after sanction is approved as it comes. A server that offers
// no prompts or resources by then must not bring them in unseen later: as any new
// definition, they wait.
func TestKindOfferedOnlyLaterWaits(t *testing.T) {
	t.Parallel()
	for _, version := range []string{v2026, v2511} {
		p := newPeer(t, version)
		offers := func(caps string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.caps = caps
		}
		offers(`{"tools":{}}`)
		data := t.TempDir()
		r := rigAt(t, data, "127.0.0.1:0")
		r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
		r.stop()
		offers(`{"tools":{},"prompts":{},"resources":{}}`)
		p.list("resources/templates/list", `"resourceTemplates":[{"uriTemplate":"test://{x}","name":"x"}]`)
		r = rigAt(t, data, "127.0.0.1:0")
		r.learn("up")
		view := r.d.Admin.Current().View
		if tool, _ := view.Tool("up", "echo"); tool.State != registry.ToolApproved {
			t.Errorf("%s: the tool of the first listing is %q", version, tool.State)
		}
		for kind, name := range map[registry.Kind]string{registry.KindPrompt: "hi", registry.KindResource: "test://a", registry.KindTemplate: "test://{x}"} {
			if d, ok := view.Tool("up", registry.NameOf(kind, name)); !ok || d.State != registry.ToolPending {
				t.Errorf("%s: %s %q, offered only later, is %q", version, kind, name, d.State)
			}
		}
		token := r.token("bot", "up")
		for _, list := range []string{"prompts/list", "resources/list", "resources/templates/list"} {
			if got := r.modern(token, list, "", ""); strings.Contains(got.body, `"name"`) {
				t.Errorf("%s: %s shows what nobody approved: %s", version, list, got.body)
			}
		}
		if got := r.modern(token, "prompts/get", "hi", `"name":"hi"`); len(p.got("prompts/get")) > 0 {
			t.Errorf("%s: the prompt was fetched: %s", version, got.body)
		}
		r.stop()
	}
}
