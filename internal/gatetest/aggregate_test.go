package gatetest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aggregate registers servers by id, and agent "bot" that may use all of them.
func aggregate(t *testing.T, r *rig, servers map[string]string, more string) string {
	t.Helper()
	text := "kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"*/*\"]\n"
	var ids []string
	for id, url := range servers {
		text += fmt.Sprintf("---\nkind: Server\nid: %s\nowner: team\nstate: sanctioned\ntransport: {http: {url: %q}}\n", id, url)
		ids = append(ids, id)
	}
	r.apply(text+more, ids...)
	return r.token("bot", "*")
}

// all is the endpoint of the aggregate.
func (r *rig) all() string { return r.url("") }

// names are the names or URIs a list holds, in its order.
func names(t *testing.T, got reply, list string) []string {
	t.Helper()
	var res map[string]json.RawMessage
	var items []struct{ Name, URI, URITemplate string }
	if got.msg.Result == nil || json.Unmarshal(got.msg.Result, &res) != nil || json.Unmarshal(res[list], &items) != nil {
		t.Fatalf("not a list: %d %s", got.status, got.body)
	}
	out := []string{}
	for _, i := range items {
		switch list {
		case "resources":
			out = append(out, i.URI)
		case "resourceTemplates":
			out = append(out, i.URITemplate)
		default:
			if !slices.Contains(ownTools, i.Name) {
				out = append(out, i.Name)
			}
		}
	}
	return out
}

// ask sends a modern request to the aggregate; name is what Mcp-Name mirrors.
func (r *rig) ask(token, method, name, params string) reply {
	r.t.Helper()
	return post(r.t, r.all(), modernHeaders(token, method, name), modernBody("1", method, params))
}

func tool(name string) string {
	return `{"name":"` + name + `","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"annotations":{"readOnlyHint":true}}`
}

// Two servers behind one address: what each offers under its name, and each call
// at the server it names.
func TestAggregateListsAndCalls(t *testing.T) {
	t.Parallel()
	a, b := newUpstream(t, tool("echo"), tool("more")), newUpstream(t, tool("echo"), tool("a__b"), tool("_c"))
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"a": a.URL, "b": b.URL}, "")
	got := r.ask(token, "tools/list", "", "")
	want := []string{"a__echo", "a__more", "b___c", "b__a__b", "b__echo"}
	if diff := cmp.Diff(want, names(t, got, "tools")); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name, bare string
		at         *upstream
	}{{"a__echo", "echo", a}, {"b__echo", "echo", b}, {"b__a__b", "a__b", b}, {"b___c", "_c", b}} {
		before := c.at.count()
		got := r.ask(token, "tools/call", c.name, `"name":"`+c.name+`","arguments":{"text":"x"}`)
		if got.msg.Result == nil || !strings.Contains(got.body, `{\"text\":\"x\"}`) || c.at.count() != before+1 {
			t.Errorf("%s: answered %d %s", c.name, got.status, got.body)
			continue
		}
		if last := string(c.at.calls[len(c.at.calls)-1]); !strings.Contains(last, `"name":"`+c.bare+`"`) {
			t.Errorf("%s: the server was sent %s", c.name, last)
		}
	}
	for _, name := range []string{"echo", "c__echo", "a__", "__echo", "a_echo", "A__echo", "a__b__echo", "b__b__echo", "a__absent"} {
		got := r.ask(token, "tools/call", name, `"name":"`+name+`","arguments":{}`)
		if got.status != 200 || got.body != `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool"}}` {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	if n := a.count() + b.count(); n != 4 {
		t.Errorf("%d calls reached the servers, want 4", n)
	}
}
