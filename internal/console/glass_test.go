package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/signin/signintest"
)

const emergencies = `kind: Entitlement
id: orders
owner: team-shop
agents: [bot]
tools: ["shop/order"]
approve: quorum:2
---
kind: Entitlement
id: refunds
owner: team-shop
agents: [bot]
tools: ["shop/refund"]
approve: quorum:2
`

// glassRig is a rig in which bot may ask for two tools, and two people have a passkey.
func glassRig(t *testing.T, rule string) (r *rig, ann, bob *signintest.Device) {
	t.Helper()
	r = rigOf(t, admin.Config{Node: "n1", BreakGlass: rule, Operators: namedOrigin})
	r.withSignIns()
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "e.yaml", Text: emergencies}}, false); err != nil {
		t.Fatal(err)
	}
	return r, r.enrolled("ann"), r.enrolled("bob")
}

// begins begins a break-glass, and returns the address of the page that signs it.
func (b *browser) begins(more ...string) string {
	b.rig.t.Helper()
	a := b.send("/console/break-glass", append([]string{"agent", "bot", "server", "shop", "tool", "order", "reason", "it burns", "minutes", "5"}, more...)...)
	at := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(at, "/console/break-glass/grt_") {
		b.rig.t.Fatalf("beginning: %d %s %s\n%s", a.status, at, text(a.body), b.rig.log)
	}
	return at
}

// glassy is a browser of somebody who is signed in where passkeys work.
func (r *rig) glassy(user string) *browser { r.t.Helper(); return r.glassyWith(r.token(user).Token) }

func (r *rig) glassyWith(token string) *browser {
	r.t.Helper()
	b := r.named()
	if a := b.do("POST", "/approve/sign-in", url.Values{"request": {"console/account"}, "token": {token}}); a.status != http.StatusSeeOther {
		r.t.Fatalf("signing in: %d %s", a.status, text(a.body))
	}
	b.get("/console/account")
	return b
}

// breaks signs what was begun.
func (b *browser) breaks(d *signintest.Device, at string) answer {
	b.rig.t.Helper()
	asked := b.send(at + "/ask")
	asked.wants(b.rig.t, "asking", http.StatusOK)
	return b.send(at, "answer", string(d.Use([]byte(asked.body))))
}

// TestBreakingTheGlassIsSigned: exactly what the page shows, and evidence holds what a
// verifier needs.
func TestBreakingTheGlassIsSigned(t *testing.T) {
	r, ann, _ := glassRig(t, "")
	b := r.glassy("ann")
	b.get("/console/break-glass").wants(t, "the form", http.StatusOK, "Break the glass", "15 minutes")
	at := b.begins("args", `[{"at":"/item","eq":"tea"}]`, "uses", "2")
	b.get(at).wants(t, "the page", http.StatusOK, `data-passkey="use"`, `data-ask="`+at+`/ask"`, "passkey.", "<noscript>", "it burns", "5m0s", "tea", "Nothing is given yet")
	a := b.breaks(ann, at)
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/console/grants/grt_") {
		t.Fatalf("breaking: %d %s\n%s", a.status, text(a.body), r.log)
	}
	id := strings.TrimPrefix(at, "/console/break-glass/")
	g, ok, err := r.broker.Archive().Grant(t.Context(), id)
	if err != nil || !ok || g.Mode != grant.ModeBreakGlass || g.UsesMax != 2 || g.Expires.Sub(g.NotBefore) != 5*time.Minute || g.Reason != "it burns" || g.Approvals[0].Method != "page" {
		t.Fatalf("grant: %+v, %v, %v", g, ok, err)
	}
	if err := audit.CheckAssertion(grant.KindGrant, id, g.Approvals[0].Signed); err != nil {
		t.Error(err)
	}
	b.get("/console/grants/"+id).wants(t, "the grant", http.StatusOK, "signed with a passkey", "Taken in an emergency", "it burns", "The glass is broken")
	n := 0
	for _, e := range r.parts.events {
		if e.Verb == "break-glass" {
			n++
			if err := audit.CheckAssertion(grant.KindGrant, e.Object, e.Signed); err != nil || e.Object != id {
				t.Errorf("evidence of %s: %v", e.Object, err)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d break-glasses are in evidence", n)
	}
	b.get("/console/break-glass").wants(t, "what is owed", http.StatusOK, "Owed a review", id)
}

// TestNothingElseBreaksTheGlass: whatever is tried, nothing is given.
func TestNothingElseBreaksTheGlass(t *testing.T) {
	r, ann, bob := glassRig(t, "")
	other, token := r.grave("coffee"), r.token("ann").Token
	for name, try := range map[string]func(b *browser, at string) answer{
		"no signature": func(b *browser, at string) answer { return b.send(at) },
		"nothing asked": func(b *browser, at string) answer {
			return b.send(at, "answer", string(ann.Use(b.ask())))
		},
		"of an approval": func(b *browser, at string) answer {
			b.get("/approve/" + other.ID)
			signed := ann.Use([]byte(b.asks(other.ID).body))
			b.send(at + "/ask")
			return b.send(at, "answer", string(signed))
		},
		"of another grant": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			again := b.begins("tool", "refund")
			b.send(again + "/ask")
			return b.send(again, "answer", string(signed))
		},
		"of another grant, and only that was asked": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			return b.send(b.begins("tool", "refund"), "answer", string(signed))
		},
		"of another reason": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			return b.send(b.begins("reason", "no reason"), "answer", string(signed))
		},
		"begun anew since": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			b.begins()
			return b.send(at, "answer", string(signed))
		},
		"with another person's passkey": func(b *browser, at string) answer {
			return b.send(at, "answer", string(bob.Use([]byte(b.send(at+"/ask").body))))
		},
		"by another person": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			return r.glassy("bob").send(at, "answer", string(signed))
		},
		"in another session": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			return r.glassyWith(token).send(at, "answer", string(signed))
		},
		"too late": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			r.clock.pass(5 * time.Minute)
			return b.send(at, "answer", string(signed))
		},
		"asked for too late": func(b *browser, at string) answer {
			r.clock.pass(5 * time.Minute)
			return b.send(at + "/ask")
		},
		"after the clock was set back": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			r.clock.pass(-time.Second)
			defer r.clock.pass(time.Second)
			return b.send(at, "answer", string(signed))
		},
		"without verification of the user": func(b *browser, at string) answer {
			defer func(f byte) { ann.Flags = f }(ann.Flags)
			ann.Flags = signintest.Present
			return b.send(at, "answer", string(ann.Use([]byte(b.send(at+"/ask").body))))
		},
		"of another origin": func(b *browser, at string) answer {
			defer func(o string) { ann.Origin = o }(ann.Origin)
			ann.Origin = "http://localhost:9999"
			return b.send(at, "answer", string(ann.Use([]byte(b.send(at+"/ask").body))))
		},
		"after the definition changed": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "s.yaml", Text: "kind: Server\nid: shop\nowner: team-shop\ntransport: {http: {url: \"https://shop.example.com/mcp\"}}\nstate: sanctioned\nclasses: {order: {class: write, tier: 3}}\n"}}, false); err != nil {
				t.Fatal(err)
			}
			return b.send(at, "answer", string(signed))
		},
		"after a restart": func(b *browser, at string) answer {
			signed := ann.Use([]byte(b.send(at + "/ask").body))
			r.withSignIns()
			again := r.glassyWith(token)
			return again.send(at, "answer", string(signed))
		},
		"no JSON": func(b *browser, at string) answer {
			b.send(at + "/ask")
			return b.send(at, "answer", "<script>")
		},
	} {
		b := r.glassyWith(token)
		if a := try(b, b.begins()); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, text(a.body))
		}
		if n := r.parts.said("break-glass"); n != 0 {
			t.Fatalf("%s: the glass is broken", name)
		}
		r.clock.pass(time.Second)
	}
	b := r.glassyWith(token)
	if a := b.breaks(ann, b.begins()); a.status != http.StatusSeeOther {
		t.Errorf("the honest one: %d %s", a.status, text(a.body))
	}
}

// TestASignatureBreaksOneGlass: sent twice, at once, or for what was begun twice.
func TestASignatureBreaksOneGlass(t *testing.T) {
	r, ann, _ := glassRig(t, "")
	b := r.glassy("ann")
	at := b.begins()
	signed := string(ann.Use([]byte(b.send(at + "/ask").body)))
	var wait sync.WaitGroup
	won := make(chan int, 8)
	for range cap(won) {
		twin := &browser{rig: r, cookies: map[string]string{}, form: b.form, change: b.change}
		for k, v := range b.cookies {
			twin.cookies[k] = v
		}
		wait.Go(func() { won <- twin.send(at, "answer", signed).status })
	}
	wait.Wait()
	close(won)
	n := 0
	for status := range won {
		if status == http.StatusSeeOther {
			n++
		}
	}
	if n != 1 || r.parts.said("break-glass") != 1 {
		t.Errorf("%d of 8 broke the glass, evidence has %d", n, r.parts.said("break-glass"))
	}
	if a := b.send(at, "answer", signed); a.status < 400 {
		t.Errorf("replayed: %d", a.status)
	}
	a := b.send("/console/break-glass", "agent", "bot", "server", "shop", "tool", "order", "reason", "again")
	a.wants(t, "a second one before the review", http.StatusConflict, "somebody else must review that first")
}

// TestWhoHasToSignCannotWithAToken: the refusal says which page asks for the signature,
// and what is asked for waits there for its person alone.
func TestWhoHasToSignCannotWithAToken(t *testing.T) {
	r, ann, _ := glassRig(t, "")
	r.withSignIns()
	spec := admin.EmergencySpec{GrantSpec: admin.GrantSpec{Agent: "bot", Server: "shop", Tool: "order", Reason: "it burns"}}
	actor := admin.Actor{Kind: "user", ID: "ann", Token: r.token("ann").ID}
	_, err := r.desk.BreakGlass(t.Context(), actor, spec)
	if err == nil || !strings.Contains(err.Error(), namedOrigin+"/console/break-glass/grt_") {
		t.Fatalf("%v", err)
	}
	at := err.Error()[strings.Index(err.Error(), "/console/break-glass/"):]
	at, _, _ = strings.Cut(at, ",")
	r.glassy("bob").get(at).wants(t, "for somebody else", http.StatusNotFound, "no break-glass of yours")
	b := r.glassy("ann")
	b.get(at).wants(t, "the page", http.StatusOK, "it burns")
	if a := b.breaks(ann, at); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, text(a.body))
	}
	cat := admin.Actor{Kind: "user", ID: "cat", Token: r.token("cat").ID}
	if _, err := r.desk.BreakGlass(t.Context(), cat, spec); err == nil || !strings.Contains(err.Error(), "you have none: add one") {
		t.Errorf("without a passkey: %v", err)
	}
	if n := r.parts.said("break-glass"); n != 1 {
		t.Errorf("%d break-glasses", n)
	}
	if _, err := r.desk.BreakGlass(t.Context(), actor, spec); err == nil || !strings.Contains(err.Error(), "somebody else must review that first") {
		t.Errorf("with a review owed: %v", err)
	}
}

// TestTheInstallationSaysWhoSignsABreakGlass: whoever has a passkey does in any case.
func TestTheInstallationSaysWhoSignsABreakGlass(t *testing.T) {
	for rule, words := range map[string]string{admin.SignAuto: "", admin.SignPasskey: "you have none: add one", admin.SignPerson: ""} {
		r := rigOf(t, admin.Config{Node: "n1", BreakGlass: rule, Operators: namedOrigin})
		r.withSignIns()
		if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "e.yaml", Text: emergencies}}, false); err != nil {
			t.Fatal(err)
		}
		tries := func(user, tool string) error {
			_, err := r.desk.BreakGlass(t.Context(), admin.Actor{Kind: "user", ID: user, Token: r.token(user).ID}, admin.EmergencySpec{GrantSpec: admin.GrantSpec{Agent: "bot", Server: "shop", Tool: tool, Reason: "it burns"}})
			return err
		}
		if err := tries("cat", "order"); words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words)) {
			t.Errorf("%s: before anybody has a passkey: %v", rule, err)
		}
		// A session that no token opened breaks nothing unsigned.
		if _, err := r.desk.BreakGlass(t.Context(), admin.Actor{Kind: "user", ID: "bob", Factor: "fac_1"}, admin.EmergencySpec{GrantSpec: admin.GrantSpec{Agent: "bot", Server: "shop", Tool: "order", Reason: "it burns"}}); err == nil {
			t.Errorf("%s: a session with a password only broke the glass", rule)
		}
		r.enrolled("ann")
		if err := tries("ann", "refund"); err == nil || !strings.Contains(err.Error(), "is signed with your passkey") {
			t.Errorf("%s: with a passkey: %v", rule, err)
		}
		if err := tries("bob", "refund"); (err == nil) != (rule == admin.SignPerson) {
			t.Errorf("%s: without, where others have one: %v", rule, err)
		}
	}
}
