package admin_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/sink"
)

const siem = `kind: Sink
id: siem
owner: ops
url: https://siem.example.com/in
form: ocsf
events: [call, refusal]
from: start
credential: {ref: siem-token, header: Authorization, value: "Splunk {secret}"}
`

const box = `kind: Sink
id: box
owner: ops
url: "file:"
form: cef
state: retired
`

const (
	pushed = `kind: Sink
id: idp
owner: ops
url: https://receiver.example.com/ssf/events
form: ssf
events: [account-disabled, session-revoked]
from: start
credential: {ref: idp-token, header: Authorization, value: "Bearer {secret}"}
audience: https://receiver.example.com/ssf
naming: email
receiver: {ref: idp-shows}
`
	polled = `kind: Sink
id: peer
owner: ops
url: "poll:"
form: ssf
audience: https://peer.example.com/ssf
receiver: {ref: peer-shows}
`
)

// TestSinksComeBackAsTheyWere: applied again nothing changes, and an export applied
// to an empty store exports the same bytes.
func TestSinksComeBackAsTheyWere(t *testing.T) {
	o := open(t)
	all := strings.Join([]string{siem, box, pushed, polled}, "---\n")
	o.apply(all)
	if plan, err := o.Diff(t.Context(), doc(all)); err != nil || plan.Changes() {
		t.Errorf("is different from itself: %+v %v", plan, err)
	}
	exported := o.export()
	again := open(t)
	again.apply(exported)
	equal(t, "exported again", again.export(), exported)
	if s := again.Current().Sinks["box"]; s.State != "retired" || len(s.Events) != 5 || s.From != "now" {
		t.Errorf("kept: %+v", s)
	}
	if s := again.Current().Sinks["idp"]; s.Audience != "https://receiver.example.com/ssf" || s.Naming != "email" || s.Receiver != "idp-shows" || s.Secret != "idp-token" || len(s.Events) != 2 {
		t.Errorf("kept: %+v", s)
	}
	if s := again.Current().Sinks["peer"]; s.Naming != "iss_sub" || !slices.Equal(s.Events, sink.Told()) {
		t.Errorf("kept: %+v", s)
	}
}

func TestReceiversOfSignalsAreStrict(t *testing.T) {
	for name, c := range map[string]struct{ of, old, new, want string }{
		"no audience":            {pushed, "audience: https://receiver.example.com/ssf\n", "", "audience"},
		"an event of evidence":   {pushed, "[account-disabled, session-revoked]", "[call]", `"call" is unknown`},
		"an unknown name":        {pushed, "naming: email", "naming: phone", "naming"},
		"to a file":              {pushed, "https://receiver.example.com/ssf/events", "\"file:\"", "must be https://"},
		"by syslog":              {pushed, "https://receiver.example.com/ssf/events", "syslog+tls://siem.example.com:6514", "must be https://"},
		"in clear":               {pushed, "https://receiver.example.com/ssf/events", "http://receiver.example.com/ssf", "would travel in clear"},
		"anybody fetches":        {polled, "receiver: {ref: peer-shows}\n", "", "is required with poll"},
		"the token itself":       {polled, "peer-shows", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must be the name of a sealed credential"},
		"a header for who polls": {polled, "audience:", "credential: {ref: x, header: Authorization, value: \"{secret}\"}\naudience:", "https receivers only"},
		"evidence is fetched":    {siem, "https://siem.example.com/in", "\"poll:\"", "of the form ssf only"},
		"evidence for one":       {siem, "from: start", "from: start\naudience: https://siem.example.com", "of the form ssf only"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(c.of, c.old) {
				t.Fatal("nothing is replaced")
			}
			_, err := open(t).Diff(t.Context(), doc(strings.Replace(c.of, c.old, c.new, 1)))
			if err == nil || access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MfKQ9r8GKYqrTwjU") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestReceiversShowWhatNobodyElseDoes: two receivers do not share what they show, and it
// cannot be guessed, whether the sink or the credential comes first.
func TestReceiversShowWhatNobodyElseDoes(t *testing.T) {
	const good, bad = "b1946ac92492d2347c6235b4d2611184", "letmein-letmein"
	seal := func(o *office, id, value string) error {
		_, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: id, MaxTier: 3}, []byte(value))
		return err
	}
	refused := func(what string, err error, want string) {
		t.Helper()
		if access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", what, err)
		}
	}
	o := open(t)
	if err := seal(o, "peer-shows", bad); err != nil {
		t.Fatal(err)
	}
	_, err := o.Apply(t.Context(), ann, doc(polled), false)
	refused("a sink of a credential that can be guessed", err, "could be guessed")
	if _, err := o.RotateCredential(t.Context(), ann, "peer-shows", []byte(good)); err != nil {
		t.Fatal(err)
	}
	o.apply(polled)
	_, err = o.RotateCredential(t.Context(), ann, "peer-shows", []byte(bad))
	refused("rotated to what can be guessed", err, "could be guessed")
	o.apply(pushed)
	refused("set to what can be guessed", seal(o, "idp-shows", bad), "could be guessed")
	if err := seal(o, "idp-token", bad); err != nil {
		t.Errorf("what a push shows is the receiver's to choose: %v", err)
	}

	shared := strings.Replace(pushed, "idp-shows", "peer-shows", 1)
	_, err = o.Apply(t.Context(), ann, doc(shared), false)
	refused("shared with one there is", err, `the receiver of sink "peer"`)
	_, err = open(t).Apply(t.Context(), ann, doc(shared+"---\n"+polled), false)
	refused("shared within one apply", err, `the receiver of sink`)
	o.apply(shared + "---\n" + strings.Replace(polled, "peer-shows", "other-shows", 1)) // it changes hands
	o.apply(shared + "state: active\n---\n" + polled + "state: retired\n")              // who is retired hears nothing
	_, err = o.Apply(t.Context(), ann, doc(polled+"state: active\n"), false)
	refused("brought back", err, `the receiver of sink "idp"`)
}

func TestSinksAreStrict(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"credentials in the url":  {"https://siem", "https://me:pw@siem", "must not hold a user name or password"},
		"token in the url":        {"/in", "/in?token=abcdef0123456789", "holds what looks like a secret"},
		"in clear":                {"https://siem", "http://siem", "would travel in clear"},
		"syslog in clear":         {"https://siem.example.com/in", "syslog://siem.example.com:514", "would travel in clear"},
		"syslog without port":     {"https://siem.example.com/in", "syslog+tls://siem.example.com", "host:port"},
		"syslog with a path":      {"https://siem.example.com/in", "syslog+tls://siem.example.com:6514/x", "host:port"},
		"a path of the machine":   {"https://siem.example.com/in", "file:///etc/passwd", "file:"},
		"another scheme":          {"https://siem", "ftp://siem", "must start with https://"},
		"unknown event":           {"[call, refusal]", "[calls]", `"calls" is unknown`},
		"no event":                {"[call, refusal]", "[]", "name what it is to get"},
		"unknown form":            {"form: ocsf", "form: xml", "form"},
		"otlp to a file":          {"url: https://siem.example.com/in\nform: ocsf", "url: \"file:\"\nform: otlp", "over https only"},
		"credential for a file":   {"https://siem.example.com/in", "\"file:\"", "https receivers only"},
		"secret in its place":     {"siem-token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must be the name of a sealed credential"},
		"secret in the value":     {"Splunk {secret}", "{secret} ghp_abcdefghijklmnopqrstuvwxyz", "looks like a secret"},
		"no place for the secret": {"Splunk {secret}", "Splunk", "exactly once"},
		"a header of ours":        {"header: Authorization", "header: Host", "header that can carry"},
		"unknown key":             {"owner: ops", "owner: ops\nbatch: 1", "batch"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(siem, c.old) {
				t.Fatal("nothing is replaced")
			}
			_, err := open(t).Diff(t.Context(), doc(strings.Replace(siem, c.old, c.new, 1)))
			if err == nil || access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MfKQ9r8GKYqrTwjU") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestOnlyAdminsSendEvidenceAway: whoever receives evidence reads who did what.
func TestOnlyAdminsSendEvidenceAway(t *testing.T) {
	o := open(t)
	o.apply("kind: User\nid: oper\nroles: [operator, auditor, approver]\n")
	oper := admin.Actor{Kind: "user", ID: "oper"}
	_, err := o.Apply(t.Context(), oper, doc(siem), false)
	hasCode(t, "apply", err, access.CodeDenied, "admin")
	o.apply(siem)
	hasCode(t, "skip", o.SkipEvent(t.Context(), oper, &skipper{}, "siem", 4, "why"), access.CodeDenied, "admin")
}

type skipper struct {
	o    *office
	said []string
}

func (s *skipper) Refuses(_ string, index uint64) error {
	if index == 5 {
		return access.Errorf(access.CodeConflict, "leaf 5 is not what it refuses")
	}
	return nil
}

func (s *skipper) Skip(context.Context, string, uint64) error {
	if s.o != nil {
		s.said = s.o.evidence.said()
	}
	return nil
}

// TestLeavingAnEventOutIsRecordedFirst: what a SIEM does not get is in the evidence.
func TestLeavingAnEventOutIsRecordedFirst(t *testing.T) {
	o := open(t)
	o.apply(siem)
	s := &skipper{o: o}
	if err := o.SkipEvent(t.Context(), ann, s, "siem", 4, "too large for it"); err != nil {
		t.Fatal(err)
	}
	equal(t, "recorded before", s.said, []string{"apply Sink siem", "skip Sink siem"})
	hasCode(t, "what is not refused", o.SkipEvent(t.Context(), ann, s, "siem", 5, "why"), access.CodeConflict, "leaf 5")
	equal(t, "what is not refused", o.evidence.said(), []string{"apply Sink siem", "skip Sink siem"})
	hasCode(t, "an unknown sink", o.SkipEvent(t.Context(), ann, s, "other", 4, "why"), access.CodeNotFound, "rutile sink list")
}
