package console_test

import (
	"net/http"
	"testing"

	"rutile/internal/admin"
)

// TestOnlyWhatThePageShowedIsSigned: who changes the entitlement after a break-glass was
// begun has nothing signed that its page did not show.
func TestOnlyWhatThePageShowedIsSigned(t *testing.T) {
	r, ann, _ := glassRig(t, "")
	entitlement := func(args string) {
		t.Helper()
		text := "kind: Entitlement\nid: orders\nowner: team-shop\nagents: [bot]\ntools: [\"shop/order\"]\napprove: quorum:2\n" + args
		if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "e.yaml", Text: text}}, false); err != nil {
			t.Fatal(err)
		}
	}
	narrow := "args: [{at: /item, eq: tea}]\n"
	entitlement(narrow)
	b := r.glassy("ann")
	at := b.begins()
	b.get(at).wants(t, "the page", http.StatusOK, "tea")
	entitlement("")
	b.send(at+"/ask").wants(t, "asked for what it did not show", http.StatusConflict, "begin it anew")
	b.get(at).wants(t, "the page then", http.StatusConflict, "begin it anew")

	entitlement(narrow) // as it was shown
	signed := string(ann.Use([]byte(b.send(at + "/ask").body)))
	entitlement("")
	b.send(at, "answer", signed).wants(t, "signed before the change", http.StatusConflict)
	if n := r.parts.said("break-glass"); n != 0 {
		t.Errorf("%d break-glasses", n)
	}
	entitlement(narrow)
	if a := b.breaks(ann, at); a.status != http.StatusSeeOther {
		t.Errorf("as shown: %d %s", a.status, text(a.body))
	}
}
