package gatetest_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/finding"
	"rutile/internal/webhook"
)

// Findings and revocations are told by a daemon, each once it is kept.
func TestFindingsAndRevocationsAreToldOutside(t *testing.T) {
	t.Parallel()
	url, next := pager(t)
	r := newRig(t)
	r.secret("hook-key", hookKey)
	hook := strings.Split(hooks, "---")[1]
	hook = strings.Replace(hook, "[request.pending, request.answered, grant.issued]", "["+strings.Join(webhook.Events(), ", ")+"]", 1)
	r.apply(strings.ReplaceAll(entitled, "UP", "https://10.0.0.7/mcp") + "---" + strings.ReplaceAll(hook, "HOOK", url))
	says := finding.Says{Source: "test", Covers: finding.Everything, Raised: []finding.Raised{{
		Rule: "test.wrong", Subject: finding.Subject{Kind: finding.SubjectAgent, ID: "bot"}, Severity: finding.High, Why: "the-reason-nobody-is-told",
	}}}
	if err := r.d.Findings.Tell(t.Context(), says); err != nil {
		t.Fatal(err)
	}
	if x := next(webhook.FindingOpened); !strings.Contains(x.body, `"rule":"test.wrong"`) || !strings.Contains(x.body, `"subject":"bot"`) || strings.Contains(x.body, "nobody-is-told") {
		t.Errorf("opened: %s", x.body)
	}
	says.Raised = nil
	if err := r.d.Findings.Tell(t.Context(), says); err != nil {
		t.Fatal(err)
	}
	if x := next(webhook.FindingResolved); !strings.Contains(x.body, `"rule":"test.wrong"`) || !strings.Contains(x.body, `"state":"resolved"`) {
		t.Errorf("resolved: %s", x.body)
	}
	rec, err := r.d.Effects.Revoke(t.Context(), admin.System(), admin.Order{Kind: "agent", ID: "bot", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if x := next(webhook.RevocationDone); !strings.Contains(x.body, `"revocation":"`+rec.Revocation+`"`) || !strings.Contains(x.body, `"target":"bot"`) {
		t.Errorf("revoked: %s", x.body)
	}
}
