package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/signin/signintest"
)

// grave opens a request of tier 3, which two people approve.
func (r *rig) grave(item string) grant.Request {
	r.t.Helper()
	return r.ask(`{"item":"`+item+`"}`, func(a *grant.Ask) { a.Target.Tier = 3 })
}

// looks is a browser of somebody who looks at a request where passkeys work.
func (r *rig) looks(user, request string) *browser {
	r.t.Helper()
	return r.looksWith(r.token(user).Token, request)
}

func (r *rig) looksWith(token, request string) *browser {
	r.t.Helper()
	b := r.named()
	b.signIn(token, request).wants(r.t, "looking", http.StatusOK)
	return b
}

// asks asks for what a passkey signs to approve a request.
func (b *browser) asks(request string, more ...string) answer {
	b.rig.t.Helper()
	return b.do("POST", "/approve/sign/"+request, b.yes(more...))
}

// yes is the form that approves, with minutes and a reason.
func (b *browser) yes(more ...string) url.Values {
	f := url.Values{"form": {b.form}, "action": {"approve"}, "minutes": {"1"}, "reason": {"agreed"}}
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return f
}

// signs approves a request with a signature of a device.
func (b *browser) signs(d *signintest.Device, request string) answer {
	b.rig.t.Helper()
	asked := b.asks(request)
	asked.wants(b.rig.t, "asking", http.StatusOK)
	return b.do("POST", "/approve/"+request, b.yes("answer", string(d.Use([]byte(asked.body)))))
}

// TestAnApprovalOfTier3IsSigned: of each of its people, and evidence holds what a
// verifier needs.
func TestAnApprovalOfTier3IsSigned(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	ann, bob := r.enrolled("ann"), r.enrolled("bob")
	req := r.grave("tea")
	page := r.looks("ann", req.ID)
	shown := page.get("/approve/" + req.ID)
	shown.wants(t, "the page", http.StatusOK, "signed with your passkey", `data-passkey="use"`, `data-ask="/approve/sign/`+req.ID, "<noscript>", "needs JavaScript", "passkey.")
	if p := shown.header.Get("Content-Security-Policy"); !strings.Contains(p, "script-src 'self'") {
		t.Errorf("its script cannot be loaded: %s", p)
	}
	for b, d := range map[*browser]*signintest.Device{page: ann, r.looks("bob", req.ID): bob} {
		if a := b.signs(d, req.ID); a.status != http.StatusSeeOther {
			t.Fatalf("signing: %d %s\n%s", a.status, text(a.body), r.log)
		}
	}
	got := r.state(req.ID)
	if got.State != grant.RequestIssued || got.Life != 60 || len(got.Approvals) != 2 {
		t.Fatalf("request: %+v", got)
	}
	page.get("/approve/"+req.ID).wants(t, "after it", http.StatusOK, "signed with a passkey")
	n := 0
	for _, e := range r.parts.events {
		if e.Verb != "approve" {
			continue
		}
		n++
		if err := audit.CheckAssertion(grant.KindRequest, req.ID, e.Signed); err != nil {
			t.Errorf("evidence of %s: %v", e.Actor, err)
		}
		if err := audit.CheckAssertion(grant.KindRequest, r.grave("other").ID, e.Signed); err == nil {
			t.Errorf("evidence of %s counts for another request", e.Actor)
		}
		u, _ := r.admin.Current().View.User(strings.TrimPrefix(e.Actor, "user:"))
		if e.Signed == nil || e.Signed.KeyName() != u.Factors[0].Key {
			t.Errorf("evidence of %s is of another key", e.Actor)
		}
	}
	if n != 2 {
		t.Errorf("%d approvals are in evidence", n)
	}
}

// TestNothingElseCountsAsASignature: whatever is tried, nobody has approved.
func TestNothingElseCountsAsASignature(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	ann, bob := r.enrolled("ann"), r.enrolled("bob")
	other, token := r.grave("coffee"), r.token("ann").Token
	ann.Count = 100
	in := r.named()
	in.use(ann.Use(in.ask())).wants(t, "signing in", http.StatusSeeOther) // so that a copy counts back
	for name, try := range map[string]func(b *browser, id string) answer{
		"no signature": func(b *browser, id string) answer { return b.do("POST", "/approve/"+id, b.yes()) },
		"nothing asked": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use(b.ask()))))
		},
		"what signs in": func(b *browser, id string) answer {
			b.asks(id)
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use(b.ask()))))
		},
		"of another request": func(b *browser, id string) answer {
			signed := ann.Use([]byte(b.asks(other.ID).body))
			b.asks(id)
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"of another request, and only that was asked": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(other.ID).body)))))
		},
		"of another person": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(bob.Use([]byte(b.asks(id).body)))))
		},
		"of another person for themselves": func(b *browser, id string) answer {
			b.asks(id)
			signed := bob.Use([]byte(r.looks("bob", id).asks(id).body))
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"of another session": func(b *browser, id string) answer {
			signed := ann.Use([]byte(r.looksWith(token, id).asks(id).body))
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"of the question before": func(b *browser, id string) answer {
			signed := ann.Use([]byte(b.asks(id).body))
			b.asks(id)
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"widened after it": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id).body))), "minutes", ""))
		},
		"narrowed after it": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id, "minutes", "2").body)))))
		},
		"another reason": func(b *browser, id string) answer {
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id).body))), "reason", "whatever"))
		},
		"too late": func(b *browser, id string) answer {
			signed := ann.Use([]byte(b.asks(id).body))
			r.clock.pass(5 * time.Minute)
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"after the clock was set back": func(b *browser, id string) answer {
			signed := ann.Use([]byte(b.asks(id).body))
			r.clock.pass(-time.Second)
			defer r.clock.pass(time.Second)
			return b.do("POST", "/approve/"+id, b.yes("answer", string(signed)))
		},
		"after a try that failed": func(b *browser, id string) answer {
			signed := string(ann.Use([]byte(b.asks(id).body)))
			b.do("POST", "/approve/"+id, b.yes("answer", signed, "minutes", "2"))
			return b.do("POST", "/approve/"+id, b.yes("answer", signed))
		},
		"without verification of the user": func(b *browser, id string) answer {
			defer func(f byte) { ann.Flags = f }(ann.Flags)
			ann.Flags = signintest.Present
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id).body)))))
		},
		"of another origin": func(b *browser, id string) answer {
			defer func(o string) { ann.Origin = o }(ann.Origin)
			ann.Origin = "http://localhost:9999"
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id).body)))))
		},
		"a copy": func(b *browser, id string) answer {
			defer func(n uint32) { ann.Count = n + 1 }(ann.Count)
			ann.Count = 0
			return b.do("POST", "/approve/"+id, b.yes("answer", string(ann.Use([]byte(b.asks(id).body)))))
		},
		"no JSON": func(b *browser, id string) answer {
			b.asks(id)
			return b.do("POST", "/approve/"+id, b.yes("answer", "<script>"))
		},
	} {
		req := r.grave(name)
		b := r.looksWith(token, req.ID)
		if a := try(b, req.ID); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "Nothing was done") {
			t.Errorf("%s: %d %s", name, a.status, text(a.body))
		}
		if got := r.state(req.ID); len(got.Approvals) != 0 {
			t.Errorf("%s: it counts: %+v", name, got.Approvals)
		}
		r.clock.pass(time.Second)
	}
	if n := r.parts.said("approve"); n != 0 {
		t.Errorf("%d approvals are in evidence", n)
	}
}

// TestWhoHasNoPasskeyIsToldWhatToDo: once somebody who may approve has one, nobody
// approves at tier 3 without; before that, and below, everybody does as ever.
func TestWhoHasNoPasskeyIsToldWhatToDo(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	before := r.grave("tea")
	cat := r.looks("cat", before.ID)
	if a := cat.do("POST", "/approve/"+before.ID, cat.yes()); a.status != http.StatusSeeOther {
		t.Fatalf("before anybody has one: %d %s", a.status, text(a.body))
	}
	ann := r.enrolled("ann")
	after := r.grave("coffee")
	bob := r.looks("bob", after.ID)
	bob.get("/approve/"+after.ID).wants(t, "the page", http.StatusOK, "You cannot approve this request", "add one on the account page")
	bob.do("POST", "/approve/"+after.ID, bob.yes()).wants(t, "approving", http.StatusForbidden, "Nothing was done", "add one on the account page")
	bob.asks(after.ID).wants(t, "asking to sign", http.StatusForbidden, "add one on the account page")
	mild := r.ask(`{"item":"milk"}`)
	bob.get("/approve/" + mild.ID)
	if a := bob.answer(mild.ID, "approve"); a.status != http.StatusSeeOther {
		t.Errorf("at tier 2: %d %s", a.status, text(a.body))
	}

	// What cat approved unsigned does not count any more, so ann's is not the last.
	if a := r.looks("ann", before.ID).signs(ann, before.ID); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, text(a.body))
	}
	if got := r.state(before.ID); got.State != grant.RequestPending || len(got.Approvals) != 1 || got.Approvals[0].By != "user:ann" {
		t.Errorf("an approval from before still counts: %+v", got)
	}
	cat.get("/approve/"+before.ID).wants(t, "cat again", http.StatusOK, "You cannot approve this request", "add one on the account page")

	// At the address without a name nothing is signed, and the page leads on.
	r.signedIn("ann", after.ID).get("/approve/"+after.ID).wants(t, "elsewhere", http.StatusOK, "passkeys work at another address", namedOrigin+"/approve/"+after.ID)
}

// TestASignatureEndsWithItsPasskey: what was approved with a passkey that was removed
// before the last approval does not count.
func TestASignatureEndsWithItsPasskey(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	ann, bob := r.enrolled("ann"), r.enrolled("bob")
	req := r.grave("tea")
	if a := r.looks("ann", req.ID).signs(ann, req.ID); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, text(a.body))
	}
	u, _ := r.admin.Current().View.User("ann")
	if err := s.RemoveFactor(t.Context(), keeper, "ann", u.Factors[0].ID, "stolen"); err != nil {
		t.Fatal(err)
	}
	if a := r.looks("bob", req.ID).signs(bob, req.ID); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, text(a.body))
	}
	if got := r.state(req.ID); got.State != grant.RequestPending || len(got.Approvals) != 1 || got.Approvals[0].By != "user:bob" {
		t.Errorf("the first approval still counts: %+v", got)
	}
}

// TestNoTokenApprovesWhatIsSigned: not even with a signature that somebody made up, and
// the refusal says where to go.
func TestNoTokenApprovesWhatIsSigned(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	r.enrolled("ann")
	req := r.grave("tea")
	desk, err := admin.NewDesk(r.admin, r.broker, "http://127.0.0.1:7433", func(context.Context, grant.Minted, []byte) string { return "" }, noCalls{})
	if err != nil {
		t.Fatal(err)
	}
	actor := admin.Actor{Kind: "user", ID: "ann", Token: r.token("ann").ID}
	for name, signed := range map[string]*access.Assertion{"none": nil, "empty": {}, "made up": {Terms: make([]byte, 32), Nonce: make([]byte, 32), ClientData: []byte(`{}`)}} {
		_, err := desk.Approve(t.Context(), actor, req.ID, grant.Answer{Method: "api", Reason: "agreed", Signed: signed})
		if access.CodeOf(err) != access.CodeDenied || signed == nil && !strings.Contains(err.Error(), "/approve/"+req.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.state(req.ID); len(got.Approvals) != 0 {
		t.Errorf("it counts: %+v", got.Approvals)
	}
}

// TestTheInstallationSaysWhoSigns: everybody, or whoever has a passkey, who cannot do
// without it.
func TestTheInstallationSaysWhoSigns(t *testing.T) {
	for rule, others := range map[string]int{admin.SignAuto: http.StatusForbidden, admin.SignPasskey: http.StatusForbidden, admin.SignPerson: http.StatusSeeOther} {
		r := rigOf(t, admin.Config{Node: "n1", Tier3: rule})
		r.withSignIns()
		first := r.grave("tea")
		cat, want := r.looks("cat", first.ID), http.StatusSeeOther
		if rule == admin.SignPasskey {
			want = http.StatusForbidden
		}
		if a := cat.do("POST", "/approve/"+first.ID, cat.yes()); a.status != want {
			t.Errorf("%s: before anybody has a passkey: %d %s", rule, a.status, text(a.body))
		}
		d := r.enrolled("ann")
		req := r.grave("coffee")
		bob, ann := r.looks("bob", req.ID), r.looks("ann", req.ID)
		if a := bob.do("POST", "/approve/"+req.ID, bob.yes()); a.status != others {
			t.Errorf("%s: without a passkey: %d %s", rule, a.status, text(a.body))
		}
		ann.do("POST", "/approve/"+req.ID, ann.yes()).wants(t, rule+": unsigned", http.StatusForbidden, "signed with your passkey")
		if a := ann.signs(d, req.ID); a.status != http.StatusSeeOther {
			t.Errorf("%s: signed: %d %s", rule, a.status, text(a.body))
		}
	}
}
