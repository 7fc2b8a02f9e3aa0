package gatetest_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/gatetest"
	"rutile/internal/grant"
)

// entitled lets agent bot ask for up/echo.
const entitled = `
kind: Agent
id: bot
owner: team
purpose: test
---
kind: Server
id: up
owner: team
transport: {http: {url: "UP"}}
state: sanctioned
---
kind: Entitlement
id: echo
owner: team
agents: [bot]
tools: ["up/echo"]
maxTTL: 10m
maxUses: 1000
`

// needing is a rig in which bot must ask to echo, and its token.
func needing(t *testing.T, url, more string, change ...func(*daemon.Config)) (*rig, string) {
	t.Helper()
	r := newRig(t, change...)
	r.apply(strings.ReplaceAll(entitled, "UP", url+"/mcp")+more, "up")
	return r, r.token("bot", "up")
}

// wanting is what a denial says of the request it opened; it fails the test where
// the answer is no such denial.
func wanting(t *testing.T, got reply) string {
	t.Helper()
	var res struct {
		IsError bool `json:"isError"`
		Meta    map[string]struct {
			Outcome, Request string
		} `json:"_meta"`
	}
	if err := json.Unmarshal(got.msg.Result, &res); err != nil {
		t.Fatalf("not a denial: %s", got.body)
	}
	d := res.Meta["io.rutile/denial"]
	if !res.IsError || d.Outcome != "require_approval" || !strings.HasPrefix(d.Request, "req_") {
		t.Fatalf("not asked to wait for an approval: %s", got.body)
	}
	return d.Request
}

func (r *rig) approve(request string) string {
	r.t.Helper()
	v, err := r.d.Desk.Approve(r.t.Context(), operator, request, grant.Answer{Method: "cli"})
	if err != nil {
		r.t.Fatalf("approving: %v", err)
	}
	return v.Grant
}

func (r *rig) grantOf(id string) admin.GrantView {
	r.t.Helper()
	g, err := r.d.Desk.Grant(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// What is approved is exactly one call: however it is written, once, by whom it
// was asked for, and nothing else.
func TestApprovedCallRunsOnce(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := needing(t, u.URL, "---\nkind: Agent\nid: eve\nowner: team\n"+strings.NewReplacer("id: echo", "id: eve-echo", "[bot]", "[eve]").Replace(entitled[strings.Index(entitled, "---\nkind: Entitlement"):]))
	old := r.legacy(token, "up", v2511, `{}`)
	from := r.d.Evidence.Size()
	request := wanting(t, r.call(token, "up", "echo", `{"text":"a","path":"/b"}`))
	if again := wanting(t, old.call("echo", ` {"path" : "\u002fb", "text":"a"}`)); again != request {
		t.Errorf("the same call in another form opened %s besides %s", again, request)
	}
	if u.count() != 0 {
		t.Fatal("a denied call reached the server")
	}
	id := r.approve(request)
	for name, got := range map[string]reply{
		"other arguments": r.call(token, "up", "echo", `{"text":"a","path":"/c"}`),
		"more arguments":  r.call(token, "up", "echo", `{"text":"a","path":"/b","n":1}`),
		"another agent":   r.call(r.token("eve", "up"), "up", "echo", `{"text":"a","path":"/b"}`),
		"another person":  r.call(r.subjectToken("bot", "ann"), "up", "echo", `{"text":"a","path":"/b"}`),
	} {
		if other := wanting(t, got); other == request {
			t.Errorf("%s joined the request", name)
		}
	}
	if got := old.call("echo", `{"text":"a","path":"/b"}`); strings.Contains(got.body, "isError") || u.count() != 1 {
		t.Fatalf("the approved call: %s, %d calls reached the server", got.body, u.count())
	}
	if again := wanting(t, r.call(token, "up", "echo", `{"text":"a","path":"/b"}`)); again == request {
		t.Error("a used grant's request is joined")
	}
	if g := r.grantOf(id); g.State != grant.GrantExhausted || g.Counts.Spent != 1 || len(g.Uses) != 1 || g.Uses[0].State != grant.UseCommitted {
		t.Errorf("the grant is %+v", g)
	}
	var intents, lacked int
	for _, l := range r.leaves(from) {
		switch {
		case l.Type == "intent" && strings.Contains(l.raw, `"why":{"grant":"`+id+`"}`):
			intents++
		case l.Type == "verdict" && strings.Contains(l.raw, `"why":{"request":"`+request+`"}`):
			lacked++
		}
	}
	if intents != 1 || lacked != 2 {
		t.Errorf("%d intents name the grant and %d verdicts the request", intents, lacked)
	}
}

// A grant of so many uses covers so many calls, however many come at once; what
// is denied costs nothing, and what the server never got gives its use back.
func TestParallelCallsSpendAGrantExactly(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := needing(t, u.URL, "")
	g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Uses: 7, Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran := 0
	for range calls {
		wg.Go(func() {
			got := r.call(token, "up", "echo", `{"text":"same"}`)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case got.status == 200 && !strings.Contains(got.body, "isError"):
				ran++
			case !strings.Contains(got.body, "require_approval") && !strings.Contains(got.body, "used up the grant"):
				t.Errorf("answered %d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if ran != 7 || u.count() != 7 {
		t.Errorf("%d calls ran and %d reached the server, of a grant of 7", ran, u.count())
	}
	if v := r.grantOf(g.ID); v.State != grant.GrantExhausted || v.Counts.Spent != 7 || v.Counts.Reserved != 0 {
		t.Errorf("the grant is %+v", v.Grant)
	}
}

func TestCallThatReachedNobodyGivesItsUseBack(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := needing(t, u.URL, "")
	id := r.approve(wanting(t, r.call(token, "up", "echo", `{}`)))
	u.Close()
	r.call(token, "up", "echo", `{}`)
	if v := r.grantOf(id); v.State != grant.GrantActive || v.Counts.Spent != 0 || v.Uses[0].State != grant.UseReleased {
		t.Errorf("the grant is %+v", v)
	}
}

// A call that asks its client for input is one call: it runs under one use to its
// end, and a state that comes back twice runs nothing twice.
func TestRoundsRunUnderOneUse(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2511, v2026} {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, era)
			p.list("tools/list", toolList(echoTool))
			if era == v2026 {
				p.handle("tools/call", func(x *exchange) {
					if strings.Contains(x.params, "inputResponses") {
						x.text("the client said yes")
						return
					}
					x.result(`{"resultType":"input_required","inputRequests":{"a":{` + elicit + `}},"requestState":"s"}`)
				})
			} else {
				newAsker(p, elicit)
			}
			r, token := needing(t, p.URL, askPolicy("elicitation"))
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{"text":"a"}`, caps: `{"elicitation":{"form":{}}}`}
			id := r.approve(wanting(t, u.send()))
			in := asked(t, u.send())
			if v := r.grantOf(id); v.State != grant.GrantActive || v.Counts.Reserved != 1 {
				t.Fatalf("while it waits the grant is %+v", v.Grant)
			}
			wanting(t, u.send()) // beginning anew is another call
			good := u.answering(in, accept)
			if got := good.send(); !strings.Contains(got.body, "the client said") {
				t.Fatalf("the retry answered %s", got.body)
			}
			if v := r.grantOf(id); v.State != grant.GrantExhausted || v.Counts.Spent != 1 || len(v.Uses) != 1 {
				t.Errorf("after it the grant is %+v", v)
			}
			calls := len(p.got("tools/call"))
			if got := good.send(); strings.Contains(got.body, "the client said") || len(p.got("tools/call")) != calls {
				t.Errorf("a state used twice answered %s", got.body)
			}
		})
	}
}

// Rights end with their task, at once and for good, and with a restart only where
// they would have ended anyway.
func TestGrantEndsWithItsTask(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	r.apply(strings.ReplaceAll(entitled, "UP", u.URL+"/mcp")+eveAgent, "up")
	party := grant.Party{Agent: "bot"}
	task, err := r.d.Desk.OpenTask(t.Context(), operator, party, grant.TaskSpec{Purpose: "echo things"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Task: task.ID, Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	r.stop()
	r = rigAt(t, data, addr)
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{}`); strings.Contains(got.body, "isError") || u.count() != 1 {
		t.Fatalf("after a restart: %s", got.body)
	}
	waiting, err := r.d.Desk.OpenTask(t.Context(), operator, party, grant.TaskSpec{Purpose: "another"})
	if err != nil {
		t.Fatal(err)
	}
	wanting(t, r.call(token, "up", "echo", `{}`)) // of two open tasks neither is meant
	named := func(task string) reply {
		h := modernHeaders(token, "tools/call", "echo")
		h.Set("Rutile-Task", task)
		return post(t, r.url("up"), h, modernBody("1", "tools/call", `"name":"echo","arguments":{}`))
	}
	if got := named(task.ID); strings.Contains(got.body, "isError") || u.count() != 2 {
		t.Fatalf("named in the header: %s", got.body)
	}
	pending := wanting(t, named(waiting.ID))
	for id, want := range map[string]string{task.ID: "completed", waiting.ID: ""} {
		if _, err := r.d.Desk.CloseTask(t.Context(), operator, id, "done"); err != nil {
			t.Fatal(err)
		}
		if got := named(id); !strings.Contains(got.body, `"class":"task"`) {
			t.Errorf("under a closed task: %s", got.body)
		}
		if want != "" && string(r.grantOf(g.ID).State) != want {
			t.Errorf("the grant is %s", r.grantOf(g.ID).State)
		}
	}
	wanting(t, r.call(token, "up", "echo", `{}`))
	if v, err := r.d.Desk.Request(t.Context(), pending); err != nil || v.State != grant.RequestWithdrawn {
		t.Errorf("the request of a closed task is %s, %v", v.State, err)
	}
	if _, err := r.d.Desk.Approve(t.Context(), operator, pending, grant.Answer{Method: "cli"}); err == nil {
		t.Error("the request of a closed task was approved")
	}
	if u.count() != 2 {
		t.Errorf("%d calls reached the server", u.count())
	}
}

// A name of a task proves nothing, is never ignored and stays here.
func TestTaskCannotBeForged(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.keep = true
	r, token := needing(t, u.URL, "---\nkind: Agent\nid: eve\nowner: team\ntools: [\"up/*\"]\n")
	mine, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "eve"}, grant.TaskSpec{Purpose: "theirs"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Task: mine.ID, Seconds: 600}); err != nil {
		t.Fatal(err)
	}
	send := func(token, inMeta string, inHeader ...string) reply {
		h := modernHeaders(token, "tools/call", "echo")
		h["Rutile-Task"] = inHeader
		body := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
		if inMeta != "" {
			body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.rutile/task":`+inMeta+`,`, 1)
		}
		return post(t, r.url("up"), h, body)
	}
	eve := r.token("eve", "up")
	for name, got := range map[string]reply{
		"of another agent":   send(eve, `"`+mine.ID+`"`),
		"in the header":      send(eve, "", mine.ID),
		"unknown":            send(token, `"tsk_none"`),
		"of another":         send(token, `"`+theirs.ID+`"`),
		"in another case":    send(token, `"`+strings.ToLower(mine.ID)+`"`),
		"of another subject": send(r.subjectToken("bot", "ann"), `"`+mine.ID+`"`),
	} {
		if !strings.Contains(got.body, `"class":"task"`) {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	for name, got := range map[string]reply{
		"two names":    send(token, `"`+mine.ID+`"`, theirs.ID),
		"two headers":  send(token, "", mine.ID, mine.ID),
		"not a string": send(token, `7`),
		"empty":        send(token, `""`),
	} {
		if got.msg.code() != -32602 {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	if u.count() != 0 {
		t.Fatalf("%d calls reached the server", u.count())
	}
	if got := send(token, `"`+mine.ID+`"`, mine.ID); strings.Contains(got.body, "isError") {
		t.Fatalf("its own: %s", got.body)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, b := range u.bodies {
		if strings.Contains(string(b), mine.ID) || strings.Contains(string(b), "io.rutile") {
			t.Errorf("the server got %s", b)
		}
	}
	for _, h := range u.heads {
		if h.Get("Rutile-Task") != "" {
			t.Error("the server got the header")
		}
	}
}

// What was approved is void once its definition is another one, before anybody
// says so, and counts again with it.
func TestChangedDefinitionSuspendsItsGrants(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := needing(t, u.URL, "")
	id := r.approve(wanting(t, r.call(token, "up", "echo", `{"text":"a"}`)))
	pending := wanting(t, r.call(token, "up", "echo", `{"text":"b"}`))
	u.setTools(strings.Replace(echoTool, "Say it back.", "Say it back, louder.", 1))
	if err := r.d.Proxy.Learn(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Admin.ApproveTool(t.Context(), operator, "up", "echo", admin.Approval{}); err != nil {
		t.Fatal(err)
	}
	if again := wanting(t, r.call(token, "up", "echo", `{"text":"a"}`)); again == pending {
		t.Error("another definition joined the request")
	}
	if _, err := r.d.Desk.Approve(t.Context(), operator, pending, grant.Answer{Method: "cli"}); err == nil {
		t.Error("a request for another definition was approved")
	}
	eventually(t, "the grant is suspended", func() bool { return r.grantOf(id).State == grant.GrantSuspended })
	if u.count() != 0 {
		t.Errorf("%d calls reached the server", u.count())
	}
}

// The end of a grant is its time, whatever anybody has said about it.
func TestExpiredGrantDenies(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := needing(t, u.URL, "")
	g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Seconds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(g.Expires); left > 0 {
		time.Sleep(left) // the store's clock and ours are one
	}
	wanting(t, r.call(token, "up", "echo", `{}`))
	eventually(t, "it is said to have expired", func() bool { return r.grantOf(g.ID).State == grant.GrantExpired })
	revoked, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Desk.RevokeGrant(t.Context(), operator, revoked.ID, "no longer"); err != nil {
		t.Fatal(err)
	}
	wanting(t, r.call(token, "up", "echo", `{}`))
	if u.count() != 0 {
		t.Errorf("%d calls reached the server", u.count())
	}
}

// A client that can open an address is sent to where people approve, in the
// exchange itself: its retry runs once what was approved, and nothing else.
func TestApprovalInBand(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.keep = true
	r, token := needing(t, u.URL, "")
	c := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{"text":"a"}`, caps: `{"elicitation":{"url":{}}}`}
	in := asked(t, c.send())
	var ask struct{ Mode, URL, Message string }
	if err := json.Unmarshal(in.Requests["approval"].Params, &ask); err != nil || in.Requests["approval"].Method != "elicitation/create" || ask.Mode != "url" || ask.Message == "" {
		t.Fatalf("asked %+v", in)
	}
	base, request, ok := strings.Cut(ask.URL, "/approve/")
	if !ok || base != r.d.OperatorsURL {
		t.Fatalf("sent to %s", ask.URL)
	}
	// Saying that the address was opened approves nothing.
	answered := make(chan reply, 1)
	opened := c.answering(in, `{"action":"accept"}`)
	go func() { answered <- opened.send() }()
	// Most of the time the retry is received by then, and waits: what it waited for
	// begins after it was sent. Where it is not, the test shows less and is right.
	time.Sleep(200 * time.Millisecond)
	if u.count() != 0 {
		t.Fatal("the call ran before anybody approved it")
	}
	id := r.approve(request)
	if got := <-answered; strings.Contains(got.body, "isError") || u.count() != 1 {
		t.Fatalf("after the approval: %s, %d calls reached the server", got.body, u.count())
	}
	u.mu.Lock()
	for _, b := range u.bodies {
		if strings.Contains(string(b), "inputResponses") || strings.Contains(string(b), "requestState") || strings.Contains(string(b), "approval") {
			t.Errorf("the server got %s", b)
		}
	}
	u.mu.Unlock()
	if v := r.grantOf(id); v.State != grant.GrantExhausted || len(v.Uses) != 1 {
		t.Errorf("the grant is %+v", v)
	}
	// The state is good for this call only, and asks anew once it ran.
	if got := opened.send(); u.count() != 1 || strings.Contains(got.body, `"text":"{`) {
		t.Errorf("sent again: %s", got.body)
	}
	other := opened
	other.args = `{"text":"b"}`
	if got := other.send(); got.msg.code() != -32602 || u.count() != 1 {
		t.Errorf("with other arguments: %s", got.body)
	}
	// A no, of whoever was asked or of who approves, ends it.
	c.args = `{"text":"c"}`
	in = asked(t, c.send())
	for _, action := range []string{"decline", "cancel"} {
		if got := c.answering(in, `{"action":"`+action+`"}`).send(); !strings.Contains(got.body, "did not open") {
			t.Errorf("%s: %s", action, got.body)
		}
	}
	_ = json.Unmarshal(in.Requests["approval"].Params, &ask)
	_, request, _ = strings.Cut(ask.URL, "/approve/")
	if _, err := r.d.Desk.Deny(t.Context(), operator, request, "not on a Friday"); err != nil {
		t.Fatal(err)
	}
	if got := c.answering(in, `{"action":"accept"}`).send(); !strings.Contains(got.body, "is denied") || !strings.Contains(got.body, "not on a Friday") || strings.Contains(got.body, "input_required") {
		t.Errorf("after a no: %s", got.body)
	}
	if u.count() != 1 {
		t.Errorf("%d calls reached the server", u.count())
	}
	// A client of 2025-11-25 is told by the error of its revision, any other by the
	// denial; who declares nothing is sent nowhere.
	old := r.legacy(token, "up", v2511, `{"elicitation":{"url":{}}}`)
	if got := old.call("echo", `{"text":"d"}`); got.msg.code() != -32042 || !strings.Contains(string(got.msg.Error.Data), r.d.OperatorsURL+"/approve/req_") || !strings.Contains(string(got.msg.Error.Data), `"elicitationId":"req_`) {
		t.Errorf("2025-11-25: %s", got.body)
	}
	for version, caps := range map[string]string{v2511: `{"elicitation":{}}`, v2506: `{"elicitation":{"url":{}}}`} {
		wanting(t, r.legacy(token, "up", version, caps).call("echo", `{"text":"e"}`))
	}
}

// A policy can ask by itself, for as many people as it wants to see; where no
// approval would make it permit the call nobody is asked.
func TestPolicyAsksForAnApproval(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := newRig(t)
	r.apply(botAndServer(u.URL+"/mcp", `["up/*"]`)+`---
kind: User
id: ann
roles: [approver]
---
kind: User
id: bob
roles: [approver]
---
kind: Policy
id: eyes
cedar: |
  @outcome("require_approval") @advice("two people look at /srv")
  forbid (principal, action == Mcp::Action::"up/echo", resource)
  when { context.input has path && context.input.path like "/srv/*" }
  unless { context has grant && context.grant.quorum >= 2 };
---
kind: Policy
id: never
cedar: |
  @outcome("require_approval")
  forbid (principal, action == Mcp::Action::"up/echo", resource)
  when { context.input has path && context.input.path like "/etc/*" };
`, "up")
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{"path":"/tmp"}`); strings.Contains(got.body, "isError") {
		t.Fatalf("a call nobody asks about: %s", got.body)
	}
	got := r.call(token, "up", "echo", `{"path":"/srv/a"}`)
	v, err := r.d.Desk.Request(t.Context(), wanting(t, got))
	if err != nil || v.Rule.Quorum != 2 || v.Entitlement != "" || !strings.Contains(got.body, "Two people look") {
		t.Errorf("needs %s, %v; answered %s", v.Rule, err, got.body)
	}
	if got := r.call(token, "up", "echo", `{"path":"/etc/a"}`); !strings.Contains(got.body, `"outcome":"deny"`) || !strings.Contains(got.body, "No approval would be enough") {
		t.Errorf("what no approval lifts: %s", got.body)
	}
	if list, err := r.d.Desk.Requests(t.Context(), grant.Filter{}); err != nil || len(list) != 1 {
		t.Errorf("%d requests, %v", len(list), err)
	}
	if u.count() != 1 {
		t.Errorf("%d calls reached the server", u.count())
	}
}

// Who asks after a task that an approved call became does so under the right the
// call was made under, used up as it is; once that is taken back, or where there
// was none, nobody is asked for another.
func TestTaskOfAnApprovedCallCanBeAskedAfter(t *testing.T) {
	t.Parallel()
	up := &gatetest.TaskServer{}
	s := httptest.NewServer(up)
	t.Cleanup(s.Close)
	r := newRig(t)
	r.apply(strings.ReplaceAll(strings.ReplaceAll(entitled, `"up/echo"`, `"up/slow_compute"`), "UP", s.URL+"/mcp"), "up")
	token := r.token("bot", "up")
	start := func() reply {
		return r.task(token, "up", "tools/call", "slow_compute", `"name":"slow_compute","arguments":{"seconds":60}`)
	}
	id := r.approve(wanting(t, start()))
	task := taskState(t, start()).TaskID
	if v := r.grantOf(id); v.State != grant.GrantExhausted {
		t.Fatalf("the grant is %+v", v.Grant)
	}
	for range 2 {
		if got := r.about(token, "up", "tasks/get", task, ""); got.msg.Result == nil || taskState(t, got).Status != "working" {
			t.Fatalf("asked after: %s", got.body)
		}
	}
	if got := r.about(r.subjectToken("bot", "ann"), "up", "tasks/get", task, ""); got.msg.Result != nil {
		t.Errorf("asked after by another principal: %s", got.body)
	}
	wanting(t, start()) // another call is another
	if got := r.about(token, "up", "tasks/cancel", task, ""); got.msg.Error != nil {
		t.Errorf("cancelled: %s", got.body)
	}
	list, err := r.d.Desk.Requests(t.Context(), grant.Filter{})
	if err != nil || len(list) != 2 {
		t.Errorf("%d requests, %v", len(list), err)
	}
	// A right that is taken back is gone for what was begun under it.
	wide, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "slow_compute", Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	task = taskState(t, start()).TaskID
	if _, err := r.d.Desk.RevokeGrant(t.Context(), operator, wide.ID, "stop"); err != nil {
		t.Fatal(err)
	}
	if got := r.about(token, "up", "tasks/get", task, ""); got.msg.Result != nil || !strings.Contains(got.body, "taken back") {
		t.Errorf("asked after without the right: %s", got.body)
	}
	// So is one that ended with the task it was for.
	work, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: "compute"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "slow_compute", Task: work.ID, Seconds: 600}); err != nil {
		t.Fatal(err)
	}
	task = taskState(t, start()).TaskID
	if got := r.about(token, "up", "tasks/get", task, ""); got.msg.Result == nil {
		t.Fatalf("asked after under its task: %s", got.body)
	}
	if _, err := r.d.Desk.CloseTask(t.Context(), operator, work.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := r.about(token, "up", "tasks/get", task, ""); got.msg.Result != nil || !strings.Contains(got.body, "taken back") {
		t.Errorf("asked after without its task: %s", got.body)
	}
	if list, err := r.d.Desk.Requests(t.Context(), grant.Filter{}); err != nil || len(list) != 2 {
		t.Errorf("asking after it opened a request: %d, %v", len(list), err)
	}
}
