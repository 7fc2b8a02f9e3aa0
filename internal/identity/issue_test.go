package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

func TestZeroClientGetsNoToken(t *testing.T) {
	w := newWorld(t)
	if _, err := w.ClientCredentials(t.Context(), identity.Client{}, files, ""); code(err) != identity.InvalidClient {
		t.Errorf("got %v", err)
	}
}

func TestTokenIsForAKnownResourceAndScope(t *testing.T) {
	w := newWorld(t)
	c, err := w.authenticate(w.assertion(), w.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		resource, scope string
		want            identity.ErrorCode
	}{
		{files, "", ""},
		{files, "mcp", ""},
		{issuer + "/mcp", "mcp", ""},
		{"", "", identity.InvalidTarget},
		{issuer + "/mcp/hidden", "", identity.InvalidTarget},
		{files + "/", "", identity.InvalidTarget},
		{files + " " + releases, "", identity.InvalidTarget},
		{files, "admin", identity.InvalidScope},
		{files, "mcp offline_access", identity.InvalidScope},
		{files, "mcp ", identity.InvalidScope},
		{files, "MCP", identity.InvalidScope},
		{files, "*", identity.InvalidScope},
	} {
		tok, err := w.ClientCredentials(t.Context(), c, r.resource, r.scope)
		if r.want != "" {
			if code(err) != r.want || tok != (identity.Token{}) {
				t.Errorf("%q %q: %v, want %s", r.resource, r.scope, err, r.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q %q: %v", r.resource, r.scope, err)
			continue
		}
		if who, err := w.Verify(t.Context(), tok.Value, r.resource); err != nil || who.Scope != "mcp" {
			t.Errorf("%q %q: %v %v", r.resource, r.scope, who, err)
		}
	}
}

// TestAgentCannotWashItsHistory: asking again joins the open session; a new one
// starts only after idle or absolute time, or with another key, person or task.
func TestAgentCannotWashItsHistory(t *testing.T) {
	w := newWorld(t)
	first := w.token().Session
	if again := w.tokenFor(releases).Session; again != first {
		t.Errorf("a second token opened session %s beside %s", again, first)
	}
	w.restart()
	if again := w.token().Session; again != first {
		t.Error("a restart opened a new session")
	}
	w.clock.advance(30 * time.Minute)
	if again := w.token().Session; again != first {
		t.Error("a new session within the idle time")
	}
	w.clock.advance(30*time.Minute + time.Second)
	second := w.token().Session
	if second == first {
		t.Error("no new session after the idle time")
	}
	next := newEd25519(t)
	w.agents.set("release-bot", w.key, next)
	old := w.key
	w.key = next
	if other := w.token().Session; other == second {
		t.Error("another key joined the session")
	}
	w.key = old
	dev, err := w.Development(t.Context(), "release-bot", files, "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if dev.Session == second {
		t.Error("a development token joined the session of a key")
	}
}

func TestTokenDoesNotOutliveItsSession(t *testing.T) {
	w := newWorld(t)
	w.cfg.Absolute, w.cfg.TokenTTL = 10*time.Minute, 5*time.Minute
	w.restart()
	first := w.token()
	w.clock.advance(8 * time.Minute)
	late := w.token()
	if late.Session != first.Session {
		t.Fatal("another session")
	}
	if left := late.Expires.Sub(w.clock.now()); left != 2*time.Minute {
		t.Errorf("the token lives %v, the session 2m", left)
	}
	if _, err := w.Verify(t.Context(), late.Value, files); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Minute)
	w.Invalidate()
	if _, err := w.Verify(t.Context(), late.Value, files); problem(err) != identity.ProblemInvalid {
		t.Errorf("accepted after the session's end: %v", err)
	}
	if w.token().Session == first.Session {
		t.Error("joined a session that had ended")
	}
}

func TestDevelopmentToken(t *testing.T) {
	w := newWorld(t)
	tok, err := w.Development(t.Context(), "release-bot", files, "alice", "release 1.2", 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	who, err := w.Verify(t.Context(), tok.Value, files)
	if err != nil {
		t.Fatal(err)
	}
	want := access.Identity{
		Actor:   access.Actor{Agent: "release-bot", Source: "development", Attested: true},
		Subject: access.Subject{Issuer: issuer, ID: "alice"},
		Session: tok.Session, Task: "release 1.2", TokenID: tok.ID, Scope: "mcp",
		Expires: w.clock.now().Add(10 * time.Minute).UTC(), Epoch: w.revoked.Position(),
	}
	if who != want {
		t.Errorf("got  %+v\nwant %+v", who, want)
	}
	if act := payload(t, tok.Value)["act"]; fmt.Sprint(act) != "map[sub:release-bot]" {
		t.Errorf("act is %v", act)
	}
	// A person with the name of the agent is a person.
	tok, err = w.Development(t.Context(), "release-bot", files, "release-bot", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := w.Verify(t.Context(), tok.Value, files); err != nil || who.Subject.Autonomous() {
		t.Errorf("%+v %v", who, err)
	}
}

func TestDevelopmentTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	w.agents.refuse("other-bot", access.Errorf(access.CodeDenied, "agent other-bot is suspended"))
	for name, c := range map[string]struct {
		agent, resource, subject, task string
		ttl                            time.Duration
		want                           access.Code
	}{
		"unknown agent":    {"nobody", files, "", "", 0, access.CodeNotFound},
		"suspended agent":  {"other-bot", files, "", "", 0, access.CodeDenied},
		"unknown resource": {"release-bot", files + "x", "", "", 0, access.CodeNotFound},
		"too long":         {"release-bot", files, "", "", time.Hour + 1, access.CodeInvalid},
		"negative":         {"release-bot", files, "", "", -time.Second, access.CodeInvalid},
		"subject control":  {"release-bot", files, "a\nb", "", 0, access.CodeInvalid},
		"task too long":    {"release-bot", files, "", strings.Repeat("t", 129), 0, access.CodeInvalid},
	} {
		tok, err := w.Development(t.Context(), c.agent, c.resource, c.subject, c.task, c.ttl)
		if access.CodeOf(err) != c.want || tok != (identity.Token{}) {
			t.Errorf("%s: %v (%s), want %s", name, err, access.CodeOf(err), c.want)
		}
	}
	w.store.fail(errors.New("disk on fire"))
	if _, err := w.Development(t.Context(), "release-bot", files, "", "", 0); access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("store down: %v", err)
	}
}

func TestPrintingATokenDoesNotShowIt(t *testing.T) {
	tok := newWorld(t).token()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if s := fmt.Sprintf(format, tok); strings.Contains(s, tok.Value) || !strings.Contains(s, tok.ID) {
			t.Errorf("%s prints %s", format, s)
		}
	}
	if s := tok.LogValue().String(); s != tok.ID {
		t.Errorf("logs %s", s)
	}
}
