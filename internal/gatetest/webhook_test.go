package gatetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
	"rutile/internal/grant"
	"rutile/internal/webhook"
)

const hookKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

const hooks = `
---
kind: Webhook
id: pager
owner: team
url: "HOOK"
events: [request.pending, request.answered, grant.issued]
secret: {ref: hook-key}
---
kind: Webhook
id: inside
owner: team
url: https://10.0.0.7/hook
events: [request.pending]
secret: {ref: other-key}
`

// paged is one delivery, verified.
type paged struct {
	id, body string
	event    struct {
		Type string
		Data webhook.Data
	}
}

// pager answers that it approves, and hands out what it is told.
func pager(t *testing.T) (url string, next func(event string) paged) {
	t.Helper()
	got := make(chan paged, 64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		out := paged{id: r.Header.Get(webhook.HeaderID), body: string(body)}
		stamp, err := strconv.ParseInt(r.Header.Get(webhook.HeaderTimestamp), 10, 64)
		if err == nil {
			err = json.Unmarshal(body, &out.event)
		}
		if mac, _ := webhook.Sign([]byte(hookKey), out.id, time.Unix(stamp, 0), body); err != nil || mac != r.Header.Get(webhook.HeaderSignature) {
			t.Errorf("the signature of %s is %s, want %s (%v)", body, r.Header.Get(webhook.HeaderSignature), mac, err)
		}
		got <- out
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"approve":true,"approved":true,"state":"issued"}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/rutile", func(event string) paged {
		t.Helper()
		for {
			select {
			case x := <-got:
				if x.event.Type == event {
					return x
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("nothing is told of %s", event)
			}
		}
	}
}

// TestAWebhookIsToldAndDecidesNothing goes the whole way: the receiver's answer
// changes nothing, it is told no value of an argument, again after a restart under
// the same id, and no address inside is ever dialled.
func TestAWebhookIsToldAndDecidesNothing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	url, next := pager(t)
	data := t.TempDir()
	r := newRig(t, func(c *daemon.Config) { c.Data = data })
	r.secret("hook-key", hookKey)
	r.secret("other-key", "another-key-0123456789")
	r.apply(strings.ReplaceAll(entitled, "UP", u.URL+"/mcp")+strings.ReplaceAll(hooks, "HOOK", url), "up")
	request := wanting(t, r.call(r.token("bot", "up"), "up", "echo", `{"text":"the-value-nobody-may-see"}`))
	first := next(webhook.RequestPending)
	d := first.event.Data
	if d.Request != request || d.Agent != "bot" || d.Server != "up" || d.Name != "echo" || d.URL != r.d.ApprovalURL(request) || strings.Contains(first.body, "nobody-may-see") || strings.Contains(first.body, "sha256:") {
		t.Errorf("told %s", first.body)
	}
	r.stop()
	logs := r.logs.String()

	r = newRig(t, func(c *daemon.Config) { c.Data = data })
	if again := next(webhook.RequestPending); again.id != first.id || again.event.Data.Request != request {
		t.Errorf("told %s as %s, after a restart as %s", first.body, first.id, again.id)
	}
	if v, err := r.d.Desk.Request(t.Context(), request); err != nil || v.State != grant.RequestPending || len(v.Approvals) != 0 || u.count() != 0 {
		t.Fatalf("after the receiver's answers: %+v, %v", v, err)
	}
	id := r.approve(request)
	if x := next(webhook.RequestAnswered); x.event.Data.Request != request || x.event.Data.State != string(grant.RequestIssued) || x.id == first.id {
		t.Errorf("of the answer: %s", x.body)
	}
	if x := next(webhook.GrantIssued); x.event.Data.Grant != id || strings.Contains(x.body, "nobody-may-see") {
		t.Errorf("of the grant: %s", x.body)
	}
	logs += r.logs.String()
	if !strings.Contains(logs, "or is none that may be") || strings.Contains(logs, hookKey) || strings.Contains(logs, "MfKQ9r8GKYqrTwjU") {
		t.Error("the log does not say that the address inside cannot be reached, or holds the key")
	}
}
