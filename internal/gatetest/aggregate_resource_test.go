package gatetest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/daemon"
)

// A URI goes to its server byte for byte and comes back under the aggregate's
// form, wherever the protocol has one; texts stay as they are.
func TestAggregateResources(t *testing.T) {
	t.Parallel()
	r, token, old, modern, _ := gathered(t, "")
	uris := []string{"test://a", "file:///a/../b//c", "test://é%C3%A9?x=1#f", "rutile+modern:test://a", "rutile+old:rutile+old:x", "urn:x:y:z", "weird", "test://" + strings.Repeat("x", 4080)}
	for name, p := range map[string]*peer{"old": old, "modern": modern} {
		for _, uri := range uris {
			whole := "rutile+" + name + ":" + uri
			text, _ := json.Marshal(whole)
			got := r.ask(token, "resources/read", encoded(whole), `"uri":`+string(text))
			var res struct{ Contents []struct{ URI string } }
			if err := json.Unmarshal(got.msg.Result, &res); err != nil || len(res.Contents) != 1 || res.Contents[0].URI != whole {
				t.Errorf("%s: answered %d %s", whole, got.status, got.body)
				continue
			}
			var sent struct{ URI string }
			if _ = json.Unmarshal([]byte(p.last("resources/read").params), &sent); sent.URI != uri {
				t.Errorf("%s: the server was asked for %q", whole, sent.URI)
			}
		}
	}
	if !strings.Contains(r.ask(token, "resources/read", "rutile+modern:test://a", `"uri":"rutile+modern:test://a"`).body, `"cacheScope":"private"`) {
		t.Error("what one agent may read is offered to a shared cache")
	}
	const link = `{"type":"resource_link","uri":"test://l","name":"l"},{"type":"resource","resource":{"uri":"test://e","text":"see test://t"}},{"type":"text","text":"see test://t","uri":"test://t"}`
	for _, p := range []*peer{old, modern} {
		p.handle("tools/call", func(x *exchange) {
			stamp := ""
			if x.modern {
				stamp = `"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"peer","version":"1"},"vendor":1},`
			}
			x.result(`{` + stamp + `"content":[` + link + `],"contents":[{"uri":"test://vendor"}],"structuredContent":{"uri":"test://s","n":1.0}}`)
		})
		p.handle("prompts/get", func(x *exchange) {
			x.result(`{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"test://p","text":"x"}}},{"role":"user","content":{"type":"resource_link","uri":"test://q","name":"q"}}]}`)
		})
		p.handle("completion/complete", func(x *exchange) {
			x.result(`{"completion":{"values":["` + strings.ReplaceAll(x.params, `"`, `'`) + `"]}}`)
		})
	}
	c := r.legacyAll(token, v2511, `{}`)
	for _, name := range []string{"old", "modern"} {
		for era, got := range map[string]reply{
			"modern": r.ask(token, "tools/call", name+"__echo", `"name":"`+name+`__echo","arguments":{"uri":"rutile+old:test://x"}`), "legacy": c.call(name+"__echo", `{"uri":"rutile+old:test://x"}`),
		} {
			mapped := strings.NewReplacer(`"resource_link","uri":"`, `"resource_link","uri":"rutile+`+name+`:`, `"resource":{"uri":"`, `"resource":{"uri":"rutile+`+name+`:`).Replace(link)
			if !strings.Contains(got.body, `"content":[`+mapped+`],"contents":[{"uri":"test://vendor"}],"structuredContent":{"uri":"test://s","n":1.0}`) {
				t.Errorf("%s, %s client: answered %s", name, era, got.body)
			}
			if strings.Contains(got.body, `"peer"`) || era == "modern" && name == "modern" && !strings.Contains(got.body, `"name":"rutile"`) {
				t.Errorf("%s, %s client: who answered is not the aggregate: %s", name, era, got.body)
			}
		}
		if got := r.ask(token, "prompts/get", name+"__hi", `"name":"`+name+`__hi"`); !strings.Contains(got.body, `"rutile+`+name+`:test://p"`) || !strings.Contains(got.body, `"rutile+`+name+`:test://q"`) {
			t.Errorf("the prompt of %s: %s", name, got.body)
		}
		for ref, want := range map[string]string{
			`{"type":"ref/resource","uri":"rutile+` + name + `:test://{x}"}`: `'ref':{'type':'ref/resource','uri':'test://{x}'}`,
			`{"type":"ref/prompt","name":"` + name + `__hi"}`:                `'ref':{'type':'ref/prompt','name':'hi'}`,
		} {
			if got := r.ask(token, "completion/complete", "", `"ref":`+ref+`,"argument":{"name":"x","value":"y"}`); !strings.Contains(got.body, want) {
				t.Errorf("completion of %s: %s", ref, got.body)
			}
		}
	}
	for _, p := range []*peer{old, modern} {
		if got := p.last("tools/call").params; !strings.Contains(got, `"arguments":{"uri":"rutile+old:test://x"}`) {
			t.Errorf("an argument was changed: %s", got)
		}
	}
	old.handle("resources/read", func(x *exchange) { x.fault(-32002, "gone", `{"uri":"test://gone"}`) })
	got := c.request("resources/read", `{"uri":"rutile+old:test://gone"}`)
	if got.msg.code() != -32002 || string(got.msg.Error.Data) != `{"uri":"rutile+old:test://gone"}` {
		t.Errorf("a resource that is gone: %s", got.body)
	}
}

// encoded is the header form of a name.
func encoded(s string) string {
	for i := range len(s) {
		if s[i] > 0x7e {
			return "=?base64?" + base64Of(s) + "?="
		}
	}
	return s
}

// Templates and prompts are listed under names of the aggregate, with everything
// else of their definitions as it was approved.
func TestAggregateListsDefinitionsAsApproved(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	p.list("tools/list", `"tools":[{"vendor":{"name":"x","n":9007199254740993},"name":"ech\u006f","title":"Echo","inputSchema":{"type":"object","properties":{"name":{"const":"echo"}}},"annotations":{"readOnlyHint":true},"_meta":{"k":[1.0]}},`+
		`{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}},{"name":"no spaces","inputSchema":{"type":"object"}},{"name":"`+strings.Repeat("l", 125)+`","inputSchema":{"type":"object"}}]`)
	p.list("prompts/list", `"prompts":[{"name":"Say hé","description":"d"}]`)
	p.list("resources/templates/list", `"resourceTemplates":[{"uriTemplate":"test://{+path}/{?q*}","name":"t"}]`)
	p.list("resources/list", `"resources":[{"name":"r","uri":"test:\/\/r","size":1}]`)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"up": p.URL}, "")
	for method, want := range map[string]string{
		"tools/list":               `,{"vendor":{"name":"x","n":9007199254740993},"name":"up__echo","title":"Echo","inputSchema":{"type":"object","properties":{"name":{"const":"echo"}}},"annotations":{"readOnlyHint":true},"_meta":{"k":[1.0]}}],`,
		"prompts/list":             `"prompts":[{"name":"up__Say hé","description":"d"}],`,
		"resources/list":           `"resources":[{"name":"r","uri":"rutile+up:test://r","size":1}],`,
		"resources/templates/list": `"resourceTemplates":[{"uriTemplate":"rutile+up:test://{+path}/{?q*}","name":"t"}],`,
	} {
		got := r.ask(token, method, "", "")
		if !strings.Contains(got.body, want) || !strings.Contains(got.body, `"cacheScope":"private"`) || !strings.Contains(got.body, `"resultType":"complete"`) {
			t.Errorf("%s: answered %s\nwant %s", method, got.body, want)
		}
	}
	// What has no name here cannot be called here either, and is not lost there.
	for name, bare := range map[string]string{"up__no spaces": "no spaces", "up__" + strings.Repeat("l", 125): strings.Repeat("l", 125)} {
		got := r.ask(token, "tools/call", name, `"name":"`+name+`","arguments":{}`)
		if got.msg.code() != -32602 {
			t.Errorf("%s: answered %s", name, got.body)
		}
		if got := r.call(r.token("bot", "up"), "up", bare, `{}`); got.msg.Result == nil {
			t.Errorf("%s at its server: answered %s", bare, got.body)
		}
	}
	if n := strings.Count(r.logs.String(), "left out of the aggregate"); n != 3 {
		t.Errorf("%d definitions were said to be left out, want 3", n)
	}
}

// Pages hold every entry once, whatever comes or goes between two of them, and
// no cursor shows more than its reader may see.
func TestAggregatePages(t *testing.T) {
	t.Parallel()
	var defs []string
	for i := range 1300 {
		defs = append(defs, tool(fmt.Sprintf("t%04d", i)))
	}
	a, b := newUpstream(t, defs...), newUpstream(t, defs...)
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"a": a.URL, "b": b.URL}, "---\nkind: Agent\nid: eve\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"b/t0001\"]\n")
	page := func(cursor string) (reply, []string, string) {
		t.Helper()
		params := ""
		if cursor != "" {
			params = `"cursor":"` + cursor + `"`
		}
		got := r.ask(token, "tools/list", "", params)
		var res struct{ NextCursor string }
		_ = json.Unmarshal(got.msg.Result, &res) // names checks it
		return got, names(t, got, "tools"), res.NextCursor
	}
	_, first, next := page("")
	if len(first) != 1000 || next == "" {
		t.Fatalf("the first page holds %d entries, cursor %q", len(first), next)
	}
	// The last entry of the page goes, and so does one of the next.
	a.setTools(append(defs[:999:999], append(defs[1000:1100:1100], defs[1101:]...)...)...)
	if err := r.d.Proxy.Learn(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	seen := append([]string(nil), first...)
	for cursor := next; cursor != ""; {
		var more []string
		_, more, cursor = page(cursor)
		seen = append(seen, more...)
	}
	var want []string
	for i := range 1300 {
		if i != 1100 {
			want = append(want, fmt.Sprintf("a__t%04d", i))
		}
	}
	for i := range 1300 {
		want = append(want, fmt.Sprintf("b__t%04d", i))
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	for name, forged := range map[string]string{
		"not base64": "!", "another list": cursorOf("prompts/a/t"), "no name": cursorOf("tools/a/"), "no server": cursorOf("tools//t"), "not UTF-8": cursorOf("tools/a/\xff"), "padded": next + "=",
	} {
		if got := r.ask(token, "tools/list", "", `"cursor":"`+strings.TrimRight(forged, "\n")+`"`); got.status != 200 || got.msg.code() != -32602 {
			t.Errorf("a cursor that is %s: answered %d %.200s", name, got.status, got.body)
		}
	}
	if got := r.ask(token, "tools/list", "", `"cursor":7`); got.msg.code() != -32602 {
		t.Errorf("a cursor that is a number: answered %d %.200s", got.status, got.body)
	}
	// A cursor of somebody else's list shows nobody more.
	evil := post(t, r.all(), modernHeaders(r.token("eve", "*"), "tools/list", ""), modernBody("1", "tools/list", `"cursor":"`+next+`"`))
	if got := names(t, evil, "tools"); len(got) != 1 || got[0] != "b__t0001" {
		t.Errorf("another agent's cursor shows %v", got)
	}
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func cursorOf(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// No text that nobody approved is listed, not even where calls are only
// observed; where a server's definitions are observed, what it listed last is.
func TestAggregateListsOnlyApprovedText(t *testing.T) {
	t.Parallel()
	for mode, pinning := range map[string]string{"enforce": "enforce", "monitor": "enforce", "observed": "observe"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, tool("kept"), tool("changes"), tool("goes"))
			r := newRig(t, func(c *daemon.Config) {
				c.Inspection.Drift = "strict"
				if mode == "monitor" {
					c.Mode = mode
				}
			})
			token := aggregate(t, r, nil, strings.Replace(serverAt("up", u.URL), "owner:", "pinning: "+pinning+"\nowner:", 1))
			if err := r.d.Proxy.Learn(t.Context(), "up"); err != nil {
				t.Fatal(err)
			}
			u.setTools(tool("kept"), strings.Replace(tool("changes"), `"text"`, `"poison"`, 1), strings.Replace(tool("new"), `"text"`, `"poison"`, 1))
			one := names(t, r.list(r.token("bot", "up"), "up"), "tools") // which looks at it again
			got := r.ask(token, "tools/list", "", "")
			want := []string{"up__kept"}
			if pinning == "observe" {
				want = []string{"up__changes", "up__kept", "up__new"}
			}
			if diff := cmp.Diff(want, names(t, got, "tools")); diff != "" || len(one) != len(want) {
				t.Errorf("listed, beside %v at the server (-want +got):\n%s", one, diff)
			}
			if strings.Contains(got.body, "poison") != (pinning == "observe") {
				t.Errorf("listed %s", got.body)
			}
		})
	}
}
