package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rutile/internal/webhook"
)

func wrong(id string, since time.Time) webhook.Event {
	return webhook.Event{Type: webhook.FindingOpened, At: since, Finding: &webhook.Finding{
		ID: id, Rule: "tool.drift", Severity: "high", Kind: "tool", Subject: "shop/`pay` <https://evil.example> @channel", State: "open", Since: since, URL: "https://gw.example/console/findings",
	}}
}

// An event of a finding has the finding's members, and no empty agent beside them.
func TestFindingsAndRevocationsAreToldAsWhatTheyAre(t *testing.T) {
	revoked := webhook.Event{Type: webhook.RevocationDone, At: time.Now(), Revocation: &webhook.Revocation{ID: "rev_1", Kind: "agent", Target: "bot", By: "user:ann", State: "done", Calls: 3}}
	for _, c := range []struct {
		e           webhook.Event
		member, has string
	}{{wrong("fnd_1", time.Now()), "finding", "fnd_1"}, {revoked, "revocation", "rev_1"}} {
		body, err := c.e.Body(webhook.FormJSON)
		var got struct {
			Type string
			Data map[string]any
		}
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if _, agent := got.Data["agent"]; err != nil || got.Type != c.e.Type || got.Data[c.member] != c.has || agent {
			t.Errorf("%s: %s, %v", c.e.Type, body, err)
		}
	}
	text, err := revoked.Body(webhook.FormSlack)
	if err != nil || !strings.Contains(string(text), "3 calls in flight") || strings.Contains(string(text), "lives") {
		t.Errorf("as text: %s, %v", text, err)
	}
	revoked.Revocation.State = "partial"
	if text, _ = revoked.Body(webhook.FormSlack); !strings.Contains(string(text), "lives") {
		t.Errorf("what is not over: %s", text)
	}
}

// A name that is markup is none in text.
func TestTheSubjectOfAFindingIsNoMarkup(t *testing.T) {
	body, err := wrong("fnd_1", time.Now()).Body(webhook.FormSlack)
	var got struct{ Text string }
	if err == nil {
		err = json.Unmarshal(body, &got)
	}
	if err != nil || strings.Contains(got.Text, "<https://evil") || strings.Count(got.Text, "`") != 4 {
		t.Errorf("%s, %v", body, err)
	}
}

// The same event has one id, and a finding that comes up again or a receipt that is amended another.
func TestWhatComesUpAgainIsAnotherEvent(t *testing.T) {
	at := time.Now()
	one, same, again := wrong("fnd_1", at), wrong("fnd_1", at), wrong("fnd_1", at.Add(time.Second))
	if one.ID() != same.ID() || one.ID() == again.ID() {
		t.Error("the id of a finding is not that of when it came up")
	}
	first, next := &webhook.Revocation{ID: "rev_1"}, &webhook.Revocation{ID: "rev_1", Amended: 1}
	if (webhook.Event{Type: webhook.RevocationDone, Revocation: first}).ID() == (webhook.Event{Type: webhook.RevocationDone, Revocation: next}).ID() {
		t.Error("an amended receipt is the same event")
	}
}

// However many findings wait, what people are asked has room.
func TestAStormOfFindingsLeavesRoomForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers{"a.example": says(t, 500)}, webhook.Webhook{ID: "a", URL: "https://a.example/hook", Form: webhook.FormJSON, Secret: "key"})
		for i := range 500 {
			w.Tell(wrong(fmt.Sprint("fnd_", i), time.Now()))
		}
		if s := w.Status("a"); s.Waiting != 128 || s.Dropped != 372 {
			t.Fatalf("of 500 findings: %+v", s)
		}
		w.Tell(pending("req_1"))
		if s := w.Status("a"); s.Waiting != 129 || s.Dropped != 372 {
			t.Errorf("a request beside them: %+v", s)
		}
	})
}
