package gatetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/boundary"
	"rutile/internal/grant"
)

// What stands behind the placeholders of these tests. The key is none: it has the form
// of one.
const (
	maskedMail = "anna.keller@mail.lyon.fr"
	maskedKey  = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
)

const sendTool = `{"name":"send","description":"Sends a text.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}`

// maskedWorld are agents bot and other at a server whose answers are masked: echo says
// the two values, send may be given them back, and post may not.
const maskedWorld = `kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Agent
id: other
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Server
id: up
owner: team
transport: {http: {url: "UP"}}
restore: {send: [pii, secret]}
state: sanctioned
---
kind: Policy
id: values
cedar: |
  @id("values") @outcome("mask") @mask("pii, secret") forbid (principal, action in Mcp::Action::"call", resource) when { context has output };
`

// newMaskedUpstream is the server of that world.
func newMaskedUpstream(t *testing.T) *upstream {
	t.Helper()
	u := newUpstream(t, echoTool, sendTool, strings.Replace(sendTool, `"send"`, `"post"`, 1))
	u.onCall(func(w http.ResponseWriter, _ *http.Request, id json.RawMessage, body []byte) bool {
		said := "done"
		if strings.Contains(string(body), `"name":"echo"`) {
			said = "It is " + maskedMail + ", with the key " + maskedKey
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(id)+`,"result":{"resultType":"complete","content":[{"type":"text","text":`+strconv.Quote(said)+`}]}}`)
		return true
	})
	return u
}

// masked reads the two values and returns the placeholders of both.
func (r *rig) masked(token string) []string {
	r.t.Helper()
	got := r.call(token, "up", "echo", `{}`)
	tokens := boundary.Tokens(got.body)
	if len(tokens) != 2 || strings.Contains(got.body, maskedMail) || strings.Contains(got.body, maskedKey) {
		r.t.Fatalf("the agent reads %s", got.body)
	}
	return tokens
}

// sends requires that the server is given both values for the placeholders, that the
// leaf of the call commits to them, and that none of it shows them.
func (r *rig) sends(when string, u *upstream, token string, tokens []string) {
	r.t.Helper()
	from := r.d.Evidence.Size()
	got := r.call(token, "up", "send", `{"text":"to `+strings.Join(tokens, " with ")+`"}`)
	if got.msg.Result == nil || strings.Contains(got.body, "denial") || !strings.Contains(u.lastCall(), `"to `+maskedMail+" with "+maskedKey+`"`) {
		r.t.Errorf("%s: the server gets %s, the agent reads %s", when, u.lastCall(), got.body)
	}
	leaves := r.opened(from)
	if len(leaves) == 0 {
		r.t.Fatalf("%s: nothing is in the evidence", when)
	}
	if len(leaves) != 2 || leaves[0].Row.Type != "intent" || leaves[0].Row.Outcome != "permit" || !strings.Contains(string(leaves[0].Leaf), `"sent":"`) || !strings.Contains(string(leaves[0].Payload), tokens[0]) {
		r.t.Errorf("%s: the evidence has %d leaves, the first says %s with %s", when, len(leaves), leaves[0].Leaf, leaves[0].Payload)
	}
	for _, l := range leaves {
		noneHolds(r.t, []string{string(l.Leaf), string(l.Payload)}, maskedMail)
		noneHolds(r.t, []string{string(l.Leaf), string(l.Payload)}, maskedKey)
	}
}

func (u *upstream) lastCall() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.calls) == 0 {
		return ""
	}
	return string(u.calls[len(u.calls)-1])
}

// keptBack requires that a call of agent with a placeholder was refused because of why,
// that nothing was sent, and that one leaf says so of it and shows the placeholder, not
// what it stands for. It returns the session the leaf names.
func (r *rig) keptBack(when string, u *upstream, agent, placeholder, why string, do func() reply) string {
	r.t.Helper()
	from, before := r.d.Evidence.Size(), u.count()
	got := do()
	if u.count() != before {
		r.t.Errorf("%s: the server gets %s", when, u.lastCall())
	}
	if no := denied(r.t, got); no.Outcome != "deny" || no.Class != "arguments" || !strings.Contains(no.Reason, why) {
		r.t.Errorf("%s: it is refused as %+v, want %q", when, no, why)
	}
	leaves := r.opened(from)
	if len(leaves) != 1 {
		r.t.Fatalf("%s: %d leaves were written, want 1", when, len(leaves))
	}
	l := leaves[0]
	if l.Row.Type != "verdict" || l.Row.Outcome != "deny" || !strings.Contains(string(l.Leaf), `"class":"arguments"`) || l.Row.Agent != agent || l.Row.Server != "up" {
		r.t.Errorf("%s: the leaf is %s", when, l.Leaf)
	}
	if !strings.Contains(l.Sealed["reason"], why) || !strings.Contains(string(l.Payload), placeholder) {
		r.t.Errorf("%s: the leaf says %q of %s", when, l.Sealed["reason"], l.Payload)
	}
	for _, secret := range []string{maskedMail, maskedKey} {
		noneHolds(r.t, []string{got.body, string(l.Leaf), string(l.Payload), l.Sealed["reason"]}, secret)
	}
	return l.Row.Session
}

const notOfSession = "none of this session's"

// A placeholder that another session has got hold of is worth nothing to it, at a tool
// that may have the value: not to the same agent in another session, for another person
// or another task, nor to another agent, even where they were shown the same value
// themselves. That they tried is evidence.
func TestAPlaceholderIsWorthNothingElsewhere(t *testing.T) {
	t.Parallel()
	u := newMaskedUpstream(t)
	r := newRig(t)
	r.apply(strings.Replace(maskedWorld, "UP", u.URL+"/mcp", 1), "up")
	task, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: "another"})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(req admin.TokenRequest) string {
		t.Helper()
		tk, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, req)
		if err != nil {
			t.Fatal(err)
		}
		return tk.Value
	}
	owner := r.token("bot", "up")
	stolen := r.masked(owner)
	from := r.d.Evidence.Size()
	r.sends("its own", u, owner, stolen)
	sessions := map[string]bool{r.opened(from)[0].Row.Session: true}

	for name, req := range map[string]admin.TokenRequest{
		"the agent for a person": {Agent: "bot", Subject: "ann"},
		"the agent for another":  {Agent: "bot", Subject: "ben"},
		"the agent for a task":   {Agent: "bot", Task: task.ID},
		"another agent":          {Agent: "other"},
		"another agent for one":  {Agent: "other", Subject: "ann"},
	} {
		req.Server = "up"
		token := issue(req)
		req.Server = "*"
		all := issue(req)
		session := ""
		tries := func(when string) {
			t.Helper()
			for _, p := range stolen {
				args := `{"text":"to ` + p + `"}`
				for how, do := range map[string]func() reply{
					"modern":      func() reply { return r.call(token, "up", "send", args) },
					"legacy":      func() reply { return r.legacy(token, "up", v2511, `{}`).call("send", args) },
					"all servers": func() reply { return r.call(all, "", "up__send", args) },
					"escaped":     func() reply { return r.call(token, "up", "send", `{"text":"\u0052`+p[1:]+`"}`) },
				} {
					shown := p
					if how == "escaped" {
						shown = p[1:]
					}
					session = r.keptBack(name+", "+how+", "+when, u, req.Agent, shown, notOfSession, do)
				}
			}
		}
		tries("who never saw the value")
		if session == "" || sessions[session] {
			t.Errorf("%s: the leaves name session %q, which is another's", name, session)
		}
		sessions[session] = true
		own := r.masked(token)
		r.sends(name+" with its own", u, token, own)
		for i := range own {
			if own[i] == stolen[i] {
				t.Errorf("%s: two sessions have the same placeholder", name)
			}
		}
		tries("who has one of its own")
		r.keptBack(name+", one of each", u, req.Agent, stolen[1], notOfSession, func() reply {
			return r.call(token, "up", "send", `{"text":"`+own[0]+" "+stolen[1]+`"}`)
		})
	}
	r.sends("its own still", u, owner, stolen)
}

// Placeholders outlive the gateway, and nothing else does: after a restart the session
// gets its values where it may have them and nowhere else, and once it was revoked none
// is worth anything, whoever asks and however often the gateway starts. No file has a
// value in it at any time.
func TestPlaceholdersOverARestart(t *testing.T) {
	t.Parallel()
	u := newMaskedUpstream(t)
	data, addr := t.TempDir(), "127.0.0.1:"+freePort(t) // tokens are of the gateway at an address
	r := rigAt(t, data, addr)
	r.apply(strings.Replace(maskedWorld, "UP", u.URL+"/mcp", 1), "up")
	restart := func() {
		t.Helper()
		r.stop()
		said := files(t, data)
		noneHolds(t, said, maskedMail)
		noneHolds(t, said, maskedKey)
		r = rigAt(t, data, addr)
	}
	notHere := func(when, token string, placeholder string) string {
		t.Helper()
		return r.keptBack(when, u, "bot", placeholder, "may not be given the value of "+placeholder, func() reply { return r.call(token, "up", "post", `{"text":"`+placeholder+`"}`) })
	}
	tokens, placeholders := map[string]string{}, map[string][]string{}
	kinds := []string{"session", "user", "agent", "tenant"} // each ends more
	for _, kind := range kinds {
		tokens[kind] = r.subjectToken("bot", "for-"+kind)
		placeholders[kind] = r.masked(tokens[kind])
		r.sends("before the restart", u, tokens[kind], placeholders[kind])
	}
	restart()
	sessions := map[string]string{}
	for _, kind := range kinds {
		r.sends("after a restart", u, tokens[kind], placeholders[kind])
		sessions[kind] = notHere("after a restart", tokens[kind], placeholders[kind][0])
		if again := r.masked(tokens[kind]); again[0] != placeholders[kind][0] || again[1] != placeholders[kind][1] {
			t.Errorf("after a restart the same values are %q, were %q", again, placeholders[kind])
		}
	}
	ids := map[string]string{"session": sessions["session"], "user": "for-user", "agent": "bot", "tenant": "default"}
	for i, kind := range kinds {
		for _, alive := range kinds[i:] { // what was revoked so far has ended no other
			r.sends("before its session was revoked", u, tokens[alive], placeholders[alive])
		}
		r.revoke(kind, ids[kind])
		if kind == "agent" { // it may sign in anew, in a session of its own
			tokens["tenant"] = r.subjectToken("bot", "for-tenant")
			placeholders["tenant"] = r.masked(tokens["tenant"])
			sessions["tenant"] = notHere("anew", tokens["tenant"], placeholders["tenant"][0])
		}
		over := func(when string) {
			t.Helper()
			from, before := r.d.Evidence.Size(), u.count()
			got := r.call(tokens[kind], "up", "send", `{"text":"`+placeholders[kind][0]+`"}`)
			if got.status != http.StatusUnauthorized && !strings.Contains(got.body, "io.rutile/denial") || u.count() != before {
				t.Errorf("%s revoked, %s: the old token is answered %d %s", kind, when, got.status, got.body)
			}
			for _, l := range r.opened(from) {
				if l.Row.Type != "verdict" || l.Row.Outcome != "deny" {
					t.Errorf("%s revoked, %s: a leaf of the old token is %s", kind, when, l.Leaf)
				}
			}
			token := r.subjectToken("bot", "for-"+kind)
			for _, p := range placeholders[kind] {
				if session := r.keptBack(kind+" revoked, "+when, u, "bot", p, notOfSession, func() reply { return r.call(token, "up", "send", `{"text":"`+p+`"}`) }); session == sessions[kind] {
					t.Errorf("%s revoked, %s: the session is open again", kind, when)
				}
			}
			r.sends(kind+" revoked, "+when+", anew", u, token, r.masked(token))
		}
		over("at once")
		restart()
		over("after a restart")
	}
}
