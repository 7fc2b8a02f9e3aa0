package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
)

const hook = `kind: Webhook
id: pager
owner: ops
url: https://hooks.example.com/rutile
events: [request.pending, request.answered, grant.issued]
form: json
secret: {ref: hook-key}
`

const slackHook = `kind: Webhook
id: chat
owner: ops
url: https://hooks.slack.com/services
path: {ref: chat-path}
events: [request.pending]
form: slack
state: retired
`

// TestWebhooksComeBackAsTheyWere: applied again nothing changes, and an export
// applied to an empty store exports the same bytes.
func TestWebhooksComeBackAsTheyWere(t *testing.T) {
	o := open(t)
	o.apply(hook + "---\n" + slackHook)
	if plan, err := o.Diff(t.Context(), doc(hook+"---\n"+slackHook)); err != nil || plan.Changes() {
		t.Errorf("is different from itself: %+v %v", plan, err)
	}
	exported := o.export()
	again := open(t)
	again.apply(exported)
	equal(t, "exported again", again.export(), exported)
	if w := again.Current().Webhooks["chat"]; w.State != "retired" || w.Path != "chat-path" || w.Secret != "" {
		t.Errorf("kept: %+v", w)
	}
	again.apply(strings.Replace(hook, "[request.pending, request.answered, grant.issued]", "[grant.issued]", 1))
	if w := again.Current().Webhooks["pager"]; len(w.Events) != 1 || w.State != "active" {
		t.Errorf("changed: %+v", w)
	}
}

func TestWebhooksAreStrict(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"credentials in the url": {"https://hooks", "https://me:pw@hooks", "must not hold a user name or password"},
		"token in the url":       {"/rutile", "/rutile?token=abcdef0123456789", "holds what looks like a secret"},
		"in clear":               {"https://hooks", "http://hooks", "would travel in clear"},
		"another scheme":         {"https://hooks", "file://hooks", "must start with https://"},
		"unknown event":          {"request.pending", "request.approve", `"request.approve" is unknown`},
		"no event":               {"[request.pending, request.answered, grant.issued]", "[]", "name what it is to be told"},
		"unknown form":           {"form: json", "form: xml", "form"},
		"secret in its place":    {"hook-key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must be the name of a sealed credential"},
		"secret as text":         {"{ref: hook-key}", "hook-key", "secret"},
		"unsigned":               {"secret: {ref: hook-key}\n", "", "is required with form json"},
		"unknown key":            {"owner: ops", "owner: ops\nanswer: yes", "answer"},
		"unknown state":          {"form: json", "state: paused", "state"},
		"query and path":         {"/rutile\n", "/rutile?a=1\npath: {ref: x}\n", "path"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t).Diff(t.Context(), doc(strings.Replace(hook, c.old, c.new, 1)))
			if err == nil || access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MfKQ9r8GKYqrTwjU") {
				t.Errorf("got %v", err)
			}
		})
	}
}
