package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/console"
	"rutile/internal/finding"
	"rutile/internal/registry"
	"rutile/internal/signin"
	"rutile/internal/signin/signintest"
)

const (
	named       = "localhost:7434" // the name passkeys work under
	namedOrigin = "http://" + named
)

// withSignIns gives the rig's console every way to sign in.
func (r *rig) withSignIns() *admin.SignIns {
	r.t.Helper()
	var signIns *admin.SignIns
	r.console(&work{}, func(c *console.Config) {
		keys, err := signin.NewPasskeys(namedOrigin, r.db, r.parts, r.clock.now)
		if err != nil {
			r.t.Fatal(err)
		}
		words, err := signin.NewPasswords(r.db, r.parts, r.clock.now)
		if err != nil {
			r.t.Fatal(err)
		}
		if signIns, err = admin.NewSignIns(r.admin, r.db, r.db, keys, "", words, r.findings); err != nil {
			r.t.Fatal(err)
		}
		c.SignIns, c.Hosts = signIns, []string{host, named}
	})
	return signIns
}

// named is a browser that came to the name passkeys work under.
func (r *rig) named() *browser {
	b := r.browser()
	b.change = asNamed
	return b
}

func asNamed(req *http.Request) {
	req.Host = named
	if req.Header.Get("Origin") != "" {
		req.Header.Set("Origin", namedOrigin)
	}
}

// token signs in with a personal token.
func (b *browser) token(user string) {
	b.rig.t.Helper()
	a := b.do("POST", "/approve/sign-in", url.Values{"request": {"console/account"}, "token": {b.rig.token(user).Token}})
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/console/account" {
		b.rig.t.Fatalf("signing in: %d %s", a.status, text(a.body))
	}
	b.get("/console/account")
}

func device(t *testing.T) *signintest.Device {
	t.Helper()
	return signintest.New(t, namedOrigin, "localhost")
}

// add adds a passkey of a device to who is signed in.
func (b *browser) add(d *signintest.Device, name string) answer {
	b.rig.t.Helper()
	asked := b.do("POST", "/console/account/passkey/ask", url.Values{"form": {b.form}, "name": {name}})
	if asked.status != http.StatusOK {
		return asked
	}
	return b.do("POST", "/console/account/passkey", url.Values{"form": {b.form}, "name": {name}, "answer": {string(d.Make([]byte(asked.body)))}})
}

// ask asks for what a passkey must sign to sign in.
func (b *browser) ask() []byte {
	b.rig.t.Helper()
	asked := b.do("POST", "/console/sign-in/ask", url.Values{"request": {"console/account"}})
	asked.wants(b.rig.t, "asking", http.StatusOK)
	return []byte(asked.body)
}

// use sends the answer of a device.
func (b *browser) use(answer []byte) answer {
	b.rig.t.Helper()
	return b.do("POST", "/console/sign-in/passkey", url.Values{"request": {"console/account"}, "answer": {string(answer)}})
}

// enrolled is a person with a passkey, and its device.
func (r *rig) enrolled(user string) *signintest.Device {
	r.t.Helper()
	d, b := device(r.t), r.named()
	b.token(user)
	if a := b.add(d, "laptop"); a.status != http.StatusSeeOther {
		r.t.Fatalf("adding a passkey: %d %s", a.status, text(a.body))
	}
	b.get("/console/account").wants(r.t, "the account", http.StatusOK, "The passkey laptop is added.")
	return d
}

// TestAPasskeySignsIn: with nothing typed, as the user whose it is, in a session that
// ends when the passkey is removed, the user suspended or every session ended.
func TestAPasskeySignsIn(t *testing.T) {
	for name, end := range map[string]func(*rig, *admin.SignIns) error{
		"removed": func(r *rig, s *admin.SignIns) error {
			u, _ := r.admin.Current().View.User("ann")
			return s.RemoveFactor(r.t.Context(), keeper, "ann", u.Factors[0].ID, "lost")
		},
		"suspended": func(r *rig, _ *admin.SignIns) error {
			_, err := r.admin.ChangeUser(r.t.Context(), keeper, "ann", registry.VerbSuspend, "left")
			return err
		},
		"signed out": func(r *rig, s *admin.SignIns) error {
			r.clock.pass(time.Second)
			return s.SignOut(r.t.Context(), keeper, "ann", "lost")
		},
		"retired": func(r *rig, _ *admin.SignIns) error {
			_, err := r.admin.ChangeUser(r.t.Context(), keeper, "ann", registry.VerbRetire, "left")
			return err
		},
	} {
		r := newRig(t)
		s := r.withSignIns()
		d := r.enrolled("ann")
		b := r.named()
		before := b.cookies["rutile"]
		if a := b.use(d.Use(b.ask())); a.status != http.StatusSeeOther || a.header.Get("Location") != "/console/account" {
			t.Fatalf("%s: signing in: %d %s\n%s", name, a.status, text(a.body), r.log)
		}
		if b.cookies["rutile"] == before || b.cookies["rutile-visit"] != "" {
			t.Errorf("%s: the session is not a new one: %v", name, b.cookies)
		}
		b.get("/console/account").wants(t, name, http.StatusOK, "laptop", "a passkey", "this one")
		if err := end(r, s); err != nil {
			t.Fatal(err)
		}
		b.get("/console/account").wants(t, name, http.StatusUnauthorized)
		if a := b.use(d.Use(b.ask())); name != "signed out" && a.status != http.StatusUnauthorized || name == "signed out" && a.status != http.StatusSeeOther {
			t.Errorf("%s: signing in again: %d %s", name, a.status, text(a.body))
		}
	}
}

// TestAnAnswerOfAPasskeyCountsOnce: for the visit it was asked of, within five minutes,
// of that origin, of a device that verified its user and does not count back.
func TestAnAnswerOfAPasskeyCountsOnce(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	d, other := r.enrolled("ann"), r.enrolled("bob")
	refused := func(name string, a answer) {
		t.Helper()
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("%s: %d %s", name, a.status, text(a.body))
		}
	}
	for name, try := range map[string]func(b *browser) answer{
		"sent twice": func(b *browser) answer {
			answer := d.Use(b.ask())
			visit := b.cookies["rutile-visit"]
			if a := b.use(answer); a.status != http.StatusSeeOther {
				t.Fatalf("the first: %d %s", a.status, text(a.body))
			}
			b.cookies = map[string]string{"rutile-visit": visit}
			return b.use(answer)
		},
		"of another visit": func(b *browser) answer {
			answer := d.Use(b.ask())
			elsewhere := r.named()
			elsewhere.ask()
			return elsewhere.use(answer)
		},
		"without a visit": func(b *browser) answer {
			answer := d.Use(b.ask())
			delete(b.cookies, "rutile-visit")
			return b.use(answer)
		},
		"of the question before": func(b *browser) answer {
			answer := d.Use(b.ask())
			b.ask()
			return b.use(answer)
		},
		"too late": func(b *browser) answer {
			answer := d.Use(b.ask())
			r.clock.pass(5 * time.Minute)
			return b.use(answer)
		},
		"after the clock was set back": func(b *browser) answer {
			answer := d.Use(b.ask())
			r.clock.pass(-time.Second)
			defer r.clock.pass(time.Second)
			return b.use(answer)
		},
		"for another origin": func(b *browser) answer {
			defer func(o string) { d.Origin = o }(d.Origin)
			d.Origin = "http://localhost:9999"
			return b.use(d.Use(b.ask()))
		},
		"for another site": func(b *browser) answer {
			defer func(p string) { d.Party = p }(d.Party)
			d.Party = "evil.example"
			return b.use(d.Use(b.ask()))
		},
		"without verification of the user": func(b *browser) answer {
			defer func(f byte) { d.Flags = f }(d.Flags)
			d.Flags = signintest.Present
			return b.use(d.Use(b.ask()))
		},
		"without a touch": func(b *browser) answer {
			defer func(f byte) { d.Flags = f }(d.Flags)
			d.Flags = signintest.Verified
			return b.use(d.Use(b.ask()))
		},
		"of somebody else's name": func(b *browser) answer {
			defer func(h []byte) { d.Handle = h }(d.Handle)
			d.Handle = other.Handle
			return b.use(d.Use(b.ask()))
		},
		"of a device nobody knows": func(b *browser) answer {
			unknown := device(t)
			unknown.Handle = d.Handle
			return b.use(unknown.Use(b.ask()))
		},
		"of another device under its id": func(b *browser) answer {
			unknown := device(t)
			unknown.Handle, unknown.ID = d.Handle, d.ID
			return b.use(unknown.Use(b.ask()))
		},
		"changed": func(b *browser) answer {
			return b.use([]byte(strings.Replace(string(d.Use(b.ask())), `"signature":"M`, `"signature":"N`, 1)))
		},
		"nothing":  func(b *browser) answer { b.ask(); return b.use(nil) },
		"no JSON":  func(b *browser) answer { b.ask(); return b.use([]byte("<script>")) },
		"an array": func(b *browser) answer { b.ask(); return b.use([]byte("[[[[[[[[[[]]]]]]]]]]")) },
	} {
		r.clock.pass(time.Minute) // nobody is asked too often
		b := r.named()
		refused(name, try(b))
		if b.cookies["rutile"] != "" && name != "sent twice" {
			t.Errorf("%s: a session was opened", name)
		}
	}
}

// TestAPasskeyThatCountsBackIsRefusedAndRaised: once for the passkey, however often it
// tries; one that never counts is none.
func TestAPasskeyThatCountsBackIsRefusedAndRaised(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	d := r.enrolled("ann")
	b := r.named()
	if a := b.use(d.Use(b.ask())); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, text(a.body))
	}
	for _, count := range []uint32{0, d.Count - 1} {
		d.Count = count
		r.clock.pass(time.Minute)
		b := r.named()
		b.use(d.Use(b.ask())).wants(t, "a copy", http.StatusUnauthorized, "does not count")
	}
	list, err := r.findings.List(t.Context(), finding.Filter{})
	if err != nil || len(list) != 1 || list[0].Rule != "passkey-copied" || list[0].Subject.ID != "ann" || list[0].Severity != finding.High {
		t.Fatalf("findings: %+v, %v", list, err)
	}
	if err := s.RemoveFactor(t.Context(), keeper, "ann", list[0].Place, ""); err != nil {
		t.Fatal(err)
	}
	if list, err := r.findings.List(t.Context(), finding.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("after it was removed: %+v, %v", list, err)
	}
	still, b := device(t), r.named()
	still.Step = 0
	b.token("bob")
	if a := b.add(still, "phone"); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, text(a.body))
	}
	for range 2 {
		r.clock.pass(time.Minute)
		b := r.named()
		if a := b.use(still.Use(b.ask())); a.status != http.StatusSeeOther {
			t.Errorf("a device that does not count: %d %s", a.status, text(a.body))
		}
	}
}

// TestWhatOneSignsInWithIsChangedByWhoJustSignedIn: not from a page left open, not with
// a token where there is a passkey, not by somebody else's page, and never down to
// nothing.
func TestWhatOneSignsInWithIsChangedByWhoJustSignedIn(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	d := r.enrolled("ann")
	factor := func() string {
		u, _ := r.admin.Current().View.User("ann")
		return u.Factors[0].ID
	}
	count := func(want int, when string) {
		t.Helper()
		if u, _ := r.admin.Current().View.User("ann"); len(u.Factors) != want {
			t.Errorf("%s: ann has %d factors, want %d", when, len(u.Factors), want)
		}
	}
	thief := r.named()
	thief.token("ann")
	thief.add(device(t), "mine").wants(t, "with a stolen token", http.StatusForbidden, "sign in with your passkey")
	thief.do("POST", "/console/account/factor", url.Values{"form": {thief.form}, "factor": {factor()}}).wants(t, "removing with a stolen token", http.StatusForbidden)
	count(1, "a stolen token")

	own := r.named()
	own.use(d.Use(own.ask()))
	own.get("/console/account")
	own.do("POST", "/console/account/factor", url.Values{"form": {own.form}, "factor": {factor()}})
	own.get("/console/account").wants(t, "the last one", http.StatusOK, "this is the last one")
	asked := own.do("POST", "/console/account/passkey/ask", url.Values{"form": {own.form}, "name": {"key"}})
	second := device(t)
	answer := second.Make([]byte(asked.body))
	for name, f := range map[string]url.Values{
		"without a form":   {"name": {"key"}, "answer": {string(answer)}},
		"a wrong form":     {"form": {thief.form}, "name": {"key"}, "answer": {string(answer)}},
		"a field too many": {"form": {own.form}, "name": {"key"}, "answer": {string(answer)}, "user": {"bob"}},
	} {
		if a := own.do("POST", "/console/account/passkey", f); a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	own.change = func(req *http.Request) {
		asNamed(req)
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		req.Header.Set("Origin", "http://evil.example")
	}
	own.do("POST", "/console/account/passkey", url.Values{"form": {own.form}, "name": {"key"}, "answer": {string(answer)}}).wants(t, "from another site", http.StatusForbidden)
	own.do("POST", "/console/account/passkey/ask", url.Values{"form": {own.form}, "name": {"key"}}).wants(t, "asked from another site", http.StatusForbidden)
	own.change = asNamed
	count(1, "forged forms")
	own.do("POST", "/console/account/passkey", url.Values{"form": {own.form}, "name": {"key"}, "answer": {string(answer)}})
	count(2, "a second one")
	own.do("POST", "/console/account/passkey", url.Values{"form": {own.form}, "name": {"key"}, "answer": {string(answer)}})
	count(2, "the same answer again")
	r.clock.pass(5*time.Minute + time.Second)
	own.add(device(t), "late").wants(t, "a page left open", http.StatusForbidden, "sign in again")
	own.do("POST", "/console/account/factor", url.Values{"form": {own.form}, "factor": {factor()}}).wants(t, "a page left open", http.StatusForbidden)
	count(2, "a page left open")
	other := r.named()
	other.token("bob")
	other.do("POST", "/console/account/factor", url.Values{"form": {other.form}, "factor": {factor()}})
	count(2, "somebody else")
	if a := own.get("/console/account"); !strings.Contains(a.body, "Sign in again") {
		t.Errorf("the page does not say how: %s", text(a.body))
	}
	own.do("POST", "/console/account/again", url.Values{"form": {own.form}})
	own.get("/console/account").wants(t, "to sign in again", http.StatusUnauthorized)
}

// TestSessionsAreSeenAndEndedByTheirPerson: one, or all, and nobody else's.
func TestSessionsAreSeenAndEndedByTheirPerson(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	one, two, other := r.named(), r.named(), r.named()
	one.token("ann")
	r.clock.pass(time.Second)
	two.token("ann")
	other.token("bob")
	page := two.get("/console/account").body
	if n := strings.Count(page, `name="session" value="`); n != 3 { // two, and all
		t.Errorf("%d sessions are listed: %s", n, text(page))
	}
	for _, b := range []*browser{one, two} {
		if strings.Contains(page, b.cookies["rutile"]) {
			t.Error("the page shows a session's secret")
		}
	}
	labels := strings.Split(page, `name="session" value="`)
	first := labels[2][:12] // the newest is first
	other.do("POST", "/console/account/sessions", url.Values{"form": {other.form}, "session": {first}})
	one.get("/console/account").wants(t, "after somebody else tried to end it", http.StatusOK)
	two.do("POST", "/console/account/sessions", url.Values{"form": {two.form}, "session": {first}})
	one.get("/console/account").wants(t, "one that was ended", http.StatusUnauthorized)
	one.token("ann")
	r.clock.pass(time.Second)
	if a := two.do("POST", "/console/account/sessions", url.Values{"form": {two.form}, "session": {"all"}}); a.status != http.StatusSeeOther {
		t.Errorf("out of all: %d %s", a.status, text(a.body))
	}
	for name, b := range map[string]*browser{"this": two, "the other": one} {
		b.get("/console/account").wants(t, name, http.StatusUnauthorized)
	}
	other.get("/console/account").wants(t, "somebody else's", http.StatusOK)
	two.token("ann") // and may come back
}

// TestANewStartEndsWhatWasAsked: a challenge of before is answered in vain.
func TestANewStartEndsWhatWasAsked(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	d, b := r.enrolled("ann"), r.named()
	answer := d.Use(b.ask())
	r.withSignIns()
	b.use(answer).wants(t, "after a new start", http.StatusUnauthorized, "too long ago")
	r.clock.pass(time.Minute)
	if a := b.use(d.Use(b.ask())); a.status != http.StatusSeeOther {
		t.Errorf("asked anew: %d %s", a.status, text(a.body))
	}
}

// TestAnIPAddressHasNoPasskeys: it says where they work.
func TestAnIPAddressHasNoPasskeys(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	r.browser().get("/console/account").wants(t, "an IP address", http.StatusUnauthorized, "Passkeys work at another address", namedOrigin+"/console/account")
	r.named().get("/console/account").wants(t, "the name", http.StatusUnauthorized, `data-passkey="use"`)
	for _, c := range []struct{ public, local, want string }{
		{"http://127.0.0.1:7434", "http://127.0.0.1:7434", "http://localhost:7434"},
		{"https://[::1]:7434", "https://[::1]:7434", "https://localhost:7434"},
		{"https://rutile.example.com", "http://127.0.0.1:7434", "https://rutile.example.com"},
		{"https://rutile.example.com:8443", "", "https://rutile.example.com:8443"},
		{"http://rutile.example.com", "", ""},
		{"http://rutile.example.com", "http://127.0.0.1:7434", "http://localhost:7434"},
		{"https://192.0.2.1:7434", "", ""},
		{"http://localhost:7434", "http://localhost:7434", "http://localhost:7434"},
	} {
		got, err := signin.Origin(c.public, c.local)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s, %s: %q, %v", c.public, c.local, got, err)
		}
	}
}

// TestASealedPasskeyCannotBeMoved: a row that was written to for somebody else does not
// open.
func TestASealedPasskeyCannotBeMoved(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	r.enrolled("ann")
	rows, err := r.db.FactorsOf(t.Context(), "ann")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	if strings.Contains(string(rows[0].Sealed[:7]), "{") {
		t.Error("the row is not sealed")
	}
}

// TestAnOldTokenAddsNoFirstPasskey: nor one its person made with another token. What an
// admin hands over does, for a day.
func TestAnOldTokenAddsNoFirstPasskey(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	with := func(token string) *browser {
		b := r.named()
		b.do("POST", "/approve/sign-in", url.Values{"request": {"console/account"}, "token": {token}}).wants(t, "signing in", http.StatusSeeOther)
		b.get("/console/account")
		return b
	}
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "m.yaml", Text: "kind: User\nid: root\nroles: [admin]\n"}}, false); err != nil {
		t.Fatal(err)
	}
	refused := func(token, when string) {
		t.Helper()
		b := with(token)
		b.add(device(t), "mine").wants(t, when, http.StatusForbidden, "within 24 hours")
		b.get("/console/account").wants(t, when, http.StatusOK, "ask an admin for a new token")
	}
	first := r.token("root")
	second, err := r.admin.CreateUserToken(t.Context(), admin.Actor{Kind: "user", ID: "root", Token: first.ID}, "root", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	refused(second.Token, "a token made with a token")
	old := r.token("ann")
	r.clock.pass(24 * time.Hour)
	refused(old.Token, "a token of yesterday")
	with(r.token("ann").Token).add(device(t), "mine").wants(t, "a token of today", http.StatusSeeOther)
}
