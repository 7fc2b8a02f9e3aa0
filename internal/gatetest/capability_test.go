package gatetest_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/registry"
)

// A capability a server declares later is neither told nor used until a person
// approves it; what it declared from the start goes on.
func TestNewCapabilityIsNotCarriedUnapproved(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.caps = `{"tools":{},"prompts":{}}`
	r, token := governPeer(t, p, "")
	declares := func(c *oldClient, want bool) {
		t.Helper()
		said := string(c.init.Result)
		if !strings.Contains(said, `"tools":{}`) {
			t.Errorf("what it always declared is not told: %s", said)
		}
		if strings.Contains(said, `"completions"`) != want {
			t.Errorf("completions are told: %v, want %v: %s", !want, want, said)
		}
		c.request("completion/complete", `{"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":""}}`)
		if used := len(p.got("completion/complete")) > 0; used != want {
			t.Errorf("completion was asked of the server: %v, want %v", used, want)
		}
		if got := c.call("echo", `{}`); !permitted(t, got) {
			t.Errorf("the tool is refused: %s", got.body)
		}
	}
	declares(r.legacy(token, "up", v2511, `{}`), false)

	p.mu.Lock()
	p.caps = `{"tools":{},"prompts":{},"completions":{}}`
	p.mu.Unlock()
	declares(r.legacy(token, "up", v2511, `{}`), false)
	name := registry.NameOf(registry.KindCapabilities, "")
	row, _ := r.d.Admin.Current().View.Tool("up", name)
	if row.State != registry.ToolChanged || row.Drift == nil || row.Drift.Grade != registry.GradeHigh {
		t.Fatalf("the change is kept as %s, %+v", row.State, row.Drift)
	}
	d, err := r.d.Admin.DiffTool("up", name)
	if err != nil || len(d.Fields) != 1 || !d.Fields[0].Added || d.Fields[0].Field != "completions" {
		t.Errorf("the difference is shown as %+v, %v", d.Fields, err)
	}

	if _, err := r.d.Admin.ApproveTool(t.Context(), operator, "up", name, admin.Approval{Digest: d.Seen}); err != nil {
		t.Fatal(err)
	}
	declares(r.legacy(token, "up", v2511, `{}`), true)
}
