package gatetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/registry"
)

// door is one way to ask: an address, in one era.
type door struct {
	r     *rig
	token string
	old   *oldClient // the legacy session, nil for the modern era
	all   bool       // the aggregate
}

func (d door) String() string {
	return fmt.Sprintf("aggregate %v, legacy %v", d.all, d.old != nil)
}

// request is one request of an agent, not yet written for a door.
type request struct {
	method, server, target, rest string // rest are further params, with a comma before
}

// asking is the client's side of a call that may ask back.
const asking = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}`

func (d door) send(q request) reply {
	name, uri := q.target, q.target
	if d.all {
		name, uri = q.server+"__"+q.target, "rutile+"+q.server+":"+q.target
	}
	key, value := "name", name
	if strings.HasPrefix(q.method, "resources/") {
		key, value = "uri", uri
	}
	text, _ := json.Marshal(value)
	params := fmt.Sprintf("%q:%s%s", key, text, q.rest)
	mirror := value
	if q.method == "completion/complete" {
		mirror = ""
		params = fmt.Sprintf(`"ref":{"type":"ref/prompt","name":%s},"argument":{"name":"x","value":"y"}`, text)
	}
	if d.old != nil {
		return d.old.request(q.method, "{"+params+"}")
	}
	url := d.r.url(q.server)
	if d.all {
		url = d.r.all()
	}
	return post(d.r.t, url, modernHeaders(d.token, q.method, mirror), `{"jsonrpc":"2.0","id":1,"method":"`+q.method+`","params":{`+params+`,`+asking+`}}`)
}

// verdict is what an answer says, without what is new in every answer.
func verdict(t *testing.T, got reply) string {
	t.Helper()
	var res struct {
		IsError bool
		Content []struct{ Text string }
		Meta    map[string]map[string]any `json:"_meta"`
	}
	switch {
	case got.msg.Error != nil:
		var data map[string]any
		_ = json.Unmarshal(got.msg.Error.Data, &data) // there may be none
		msg := got.msg.Error.Message
		if id, _ := data["decision"].(string); id != "" {
			msg = strings.ReplaceAll(msg, id, "ID")
			delete(data, "decision")
		}
		return fmt.Sprint(got.status, " error ", got.msg.Error.Code, " ", msg, " ", data)
	case got.msg.Result == nil || json.Unmarshal(got.msg.Result, &res) != nil:
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	if denial := res.Meta["io.rutile/denial"]; denial != nil {
		id, _ := denial["decision"].(string)
		delete(denial, "decision")
		return fmt.Sprint(got.status, " denied ", strings.ReplaceAll(res.Content[0].Text, id, "ID"), " ", denial)
	}
	return "permitted"
}

// TestSameVerdictOnEveryPath drives random requests down /mcp/{server} and /mcp,
// in both eras, as calls, retries and lists: agents with random allow-lists and
// policies get the same decision everywhere, and a list shows what some call of
// is permitted, wherever it is asked for.
func TestSameVerdictOnEveryPath(t *testing.T) {
	t.Parallel()
	worlds, requests := 24, 80
	if testing.Short() {
		worlds, requests = 10, 60
	}
	const seed = 20261126
	rnd := rand.New(rand.NewPCG(seed, 2))
	var defs []string
	for i := range 6 {
		defs = append(defs, fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}},"annotations":{"readOnlyHint":true}}`, i))
	}
	r := newRig(t)
	manifests := ""
	servers := []string{"up", "up-2"} // one id begins with the other
	peers := map[string]*peer{}
	for i, id := range servers {
		p := newPeer(t, [][]string{{v2026, v2511}, {v2511}}[i]...)
		peers[id] = p
		p.list("tools/list", `"tools":[`+strings.Join(defs, ",")+`]`)
		p.list("prompts/list", `"prompts":[{"name":"p0"},{"name":"p1"}]`)
		p.list("resources/list", `"resources":[{"uri":"test://r0","name":"r0"},{"uri":"test://r1","name":"r1"}]`)
		p.handle("tools/call", func(x *exchange) {
			if x.modern && strings.Contains(x.params, `"name":"t0"`) && !strings.Contains(x.params, "inputResponses") {
				x.result(`{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s-` + id + `"}`)
				return
			}
			p.answer(x)
		})
		manifests += "---\nkind: Server\nid: " + id + "\nowner: team\nstate: sanctioned\ntransport: {http: {url: \"" + p.URL + "/mcp\"}}\n"
	}
	manifests += "---\nkind: Policy\nid: ask\ncedar: |\n  permit (principal, action in [Mcp::Action::\"up/requests/elicitation\", Mcp::Action::\"up-2/requests/elicitation\"], resource);\n"
	var texts []string
	for w := range worlds {
		text := strings.NewReplacer("up/", servers[w%2]+"/").Replace(world(rnd, w))
		if w%3 == 0 {
			text = strings.Replace(text, "tools: [", `tools: ["`+servers[(w+1)%2]+`/t*", `, 1)
			text = strings.Replace(text, ", ]", "]", 1)
		}
		texts = append(texts, text)
		manifests += text
	}
	r.apply(manifests, servers...)
	for _, id := range servers { // t4 changes and waits, t5 is blocked
		if _, err := r.d.Admin.ChangeTool(t.Context(), operator, id, "t5", registry.VerbBlock, "test"); err != nil {
			t.Fatal(err)
		}
		peers[id].list("tools/list", `"tools":[`+strings.Join(append(defs[:4:4], strings.Replace(defs[4], `"a"`, `"A"`, 1), defs[5]), ",")+`]`)
		if err := r.d.Proxy.Learn(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	tally := map[string]int{}
	for w := range worlds {
		agent := fmt.Sprintf("w%d", w)
		doors := map[string][]door{}
		all := r.token(agent, "*")
		session := r.legacyAll(all, v2511, `{"elicitation":{}}`)
		for _, id := range servers {
			one := r.token(agent, id)
			doors[id] = []door{
				{r, one, nil, false}, {r, all, nil, true},
				{r, one, r.legacy(one, id, v2511, `{"elicitation":{}}`), false}, {r, all, session, true},
			}
		}
		// Random requests, the same at every door.
		for range requests {
			q := randomRequest(rnd, servers)
			for era := range 2 {
				direct, joint := doors[q.server][2*era], doors[q.server][2*era+1]
				first, second := direct.send(q), joint.send(q)
				want, got := verdict(t, first), verdict(t, second)
				if got != want {
					t.Errorf("world %d: %+v at %s: %s\nat %s: %s\n%s", w, q, direct, want, joint, got, texts[w])
				}
				tally[strings.SplitN(want, " ", 3)[0]]++
				retry(t, direct, joint, q, first, second, tally)
			}
		}
		// Lists: the aggregate shows of every server what that shows itself.
		for _, list := range []struct{ method, member, format string }{
			{"tools/list", "tools", "%s__%s"}, {"prompts/list", "prompts", "%s__%s"}, {"resources/list", "resources", "rutile+%s:%s"},
		} {
			want := []string{}
			for _, id := range servers {
				for _, n := range names(t, post(t, r.url(id), modernHeaders(doors[id][0].token, list.method, ""), modernBody("1", list.method, "")), list.member) {
					want = append(want, fmt.Sprintf(list.format, id, n))
				}
			}
			for era, got := range map[string]reply{"modern": r.ask(all, list.method, "", ""), "legacy": session.request(list.method, `{}`)} {
				if diff := cmp.Diff(want, names(t, got, list.member)); diff != "" {
					t.Errorf("world %d, %s, %s (-servers +aggregate):\n%s%s", w, list.method, era, diff, texts[w])
				}
			}
			tally["listed"] += len(want)
		}
	}
	for _, what := range []string{"permitted", "200", "retried", "listed"} {
		if tally[what] < worlds {
			t.Errorf("only %d of %q: the worlds show nothing: %v", tally[what], what, tally)
		}
	}
	t.Logf("%v", tally)
}

// retry answers what a server asked, at each door with the state it gave.
func retry(t *testing.T, direct, joint door, q request, first, second reply, tally map[string]int) {
	t.Helper()
	var states [2]struct{ ResultType, RequestState string }
	if json.Unmarshal(first.msg.Result, &states[0]) != nil || json.Unmarshal(second.msg.Result, &states[1]) != nil || states[0].ResultType != "input_required" {
		return
	}
	with := func(state string) request {
		text, _ := json.Marshal(state)
		again := q
		again.rest += `,"inputResponses":{"k":{"action":"accept","content":{}}},"requestState":` + string(text)
		return again
	}
	want, got := verdict(t, direct.send(with(states[0].RequestState))), verdict(t, joint.send(with(states[1].RequestState)))
	if want != got || want != "permitted" {
		t.Errorf("the retry of %+v: %s at %s, %s at %s", q, want, direct, got, joint)
	}
	tally["retried"]++
}

func randomRequest(rnd *rand.Rand, servers []string) request {
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	q := request{server: pick(servers...)}
	switch rnd.IntN(8) {
	case 0:
		q.method, q.target = "prompts/get", pick("p0", "p1", "p2", "p__0")
	case 1:
		q.method, q.target = "resources/read", pick("test://r0", "test://r1", "test://other", "rutile+up:test://r0")
	case 2:
		q.method, q.target = "completion/complete", pick("p0", "p1", "p2")
	default:
		q.method, q.target = "tools/call", pick("t0", "t0", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "up__t0", "t0__t0")
		q.rest = `,"arguments":` + pick(`{}`, `{"a":"yes","b":"ok"}`, `{"a":"no","b":"ok"}`, `{"a":"yes","b":"no"}`, `{"A":"x"}`, `[]`)
	}
	return q
}

// legacyAll opens a session of the aggregate.
func (r *rig) legacyAll(token, version, caps string) *oldClient {
	r.t.Helper()
	return r.legacy(token, "", version, caps)
}
