package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/identity"
)

const laptopAgent = "kind: Agent\nid: bot\nowner: team\nexpires: 2099-01-01\n"

// enrollment is what redeems a code for a new key.
func enrollment(t *testing.T, code string) identity.Enrollment {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := (&jose.JSONWebKey{Key: key.Public(), KeyID: "as the machine likes"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	request, err := identity.SignEnrollment(code, "https://gateway.example", jwk)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(request, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return identity.Enrollment{Agent: "bot", Code: c.Code, Key: jwk}
}

func TestAnEnrollmentCodeExpires(t *testing.T) {
	m, e := newMemory(), &evidence{}
	o := reopen(t, m, e, admin.ModeEnforce)
	o.apply(laptopAgent)
	in, err := o.Invite(t.Context(), ann, "bot", 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "expires", in.Expires, day.Add(10*time.Minute))
	want := enrollment(t, in.Code)
	deps := o.deps()
	deps.Now = func() time.Time { return in.Expires }
	late, err := admin.New(t.Context(), admin.Config{Node: "n1"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	hasCode(t, "redeeming at its end", late.Redeem(t.Context(), want), access.CodeDenied)
	deps.Now = func() time.Time { return in.Expires.Add(-time.Millisecond) }
	last, err := admin.New(t.Context(), admin.Config{Node: "n1"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := last.Redeem(t.Context(), want); err != nil {
		t.Errorf("redeeming just before: %v", err)
	}
}

func TestAnEnrollmentWithoutEvidenceDoesNotHappenAndKeepsTheCode(t *testing.T) {
	o := open(t)
	o.apply(laptopAgent)
	in, err := o.Invite(t.Context(), ann, "bot", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := enrollment(t, in.Code)
	o.evidence.fail = func(audit.Admin) error { return errors.New("disk full") }
	hasCode(t, "redeeming", o.Redeem(t.Context(), want), access.CodeEvidence)
	if a, _ := o.Current().View.Agent("bot"); len(a.Keys) != 0 {
		t.Error("a key was added without evidence")
	}
	if _, err := o.Invite(t.Context(), ann, "bot", 0); err == nil {
		t.Error("a code was made without evidence")
	}
	o.evidence.fail = nil
	if err := o.Redeem(t.Context(), want); err != nil {
		t.Errorf("redeeming later: %v", err)
	}
	hasCode(t, "redeeming again", o.Redeem(t.Context(), want), access.CodeDenied)
}

// TestEnrollmentSaysWhoGaveOutTheCode reads what evidence is given, and that the
// private half of the code is nowhere in it or in the store.
func TestEnrollmentSaysWhoGaveOutTheCode(t *testing.T) {
	o := open(t)
	o.apply(laptopAgent)
	in, err := o.Invite(t.Context(), ann, "bot", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := enrollment(t, in.Code)
	if err := o.Redeem(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	id := identity.KeyID(want.Key)
	if _, err := o.Unenroll(t.Context(), ann, "bot", id[:6], "lost"); err != nil {
		t.Fatal(err)
	}
	leaves := o.evidence.leaves[len(o.evidence.leaves)-3:]
	equal(t, "invite", []string{leaves[0].Verb, leaves[0].Actor}, []string{"invite", "user:ann"})
	equal(t, "enroll", []string{leaves[1].Verb, leaves[1].Actor, leaves[1].Reason}, []string{"enroll", "system", "key " + id + ", with a code of user:ann"})
	equal(t, "unenroll", []string{leaves[2].Verb, leaves[2].Actor, leaves[2].Reason}, []string{"unenroll", "user:ann", "lost"})
	if leaves[2].After != leaves[0].Before || leaves[1].After == leaves[1].Before {
		t.Error("the digests do not tell what changed")
	}
	_, seed, _ := strings.Cut(in.Code, ".")
	all, err := json.Marshal([]any{o.evidence.leaves, o.store.agents})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range o.evidence.leaves {
		all = append(all, l.Detail...)
	}
	if strings.Contains(string(all), seed) {
		t.Error("the code is kept")
	}
}

func TestUnenrollTakesExactlyOneKeyOrAll(t *testing.T) {
	o := open(t)
	o.apply(laptopAgent)
	var ids []string
	for range 3 {
		in, err := o.Invite(t.Context(), ann, "bot", 0)
		if err != nil {
			t.Fatal(err)
		}
		want := enrollment(t, in.Code)
		if err := o.Redeem(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, identity.KeyID(want.Key))
	}
	_, err := o.Unenroll(t.Context(), ann, "bot", "~", "")
	hasCode(t, "a key that is not there", err, access.CodeNotFound)
	_, err = o.Unenroll(t.Context(), ann, "nobody", "", "")
	hasCode(t, "an agent that is not there", err, access.CodeNotFound)
	a, err := o.Unenroll(t.Context(), ann, "bot", ids[1], "")
	if err != nil || len(a.Keys) != 2 || len(a.Enrolled) != 2 {
		t.Errorf("one of three: %d keys, %v", len(a.Keys), err)
	}
	open, err := o.Invite(t.Context(), ann, "bot", 0)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = o.Unenroll(t.Context(), ann, "bot", "", ""); err != nil || len(a.Keys) != 0 {
		t.Errorf("all: %d keys, %v", len(a.Keys), err)
	}
	hasCode(t, "a code that was open", o.Redeem(t.Context(), enrollment(t, open.Code)), access.CodeDenied)
	said := len(o.evidence.said())
	if _, err := o.Unenroll(t.Context(), ann, "bot", "", ""); err != nil || len(o.evidence.said()) != said {
		t.Errorf("nothing to remove is recorded: %v", err)
	}
}
