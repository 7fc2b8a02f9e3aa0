package api_test

import (
	"net/http"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/api"
)

// A person revokes a session once, and releases none that is not quarantined.
func TestSessionsAreRevokedByName(t *testing.T) {
	r := newRig(t)
	r.apply("kind: Agent\nid: reader\nowner: team\nexpires: 2099-01-01\n---\nkind: Server\nid: files\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/mcp'}}\nstate: sanctioned\n")
	r.ok("POST", "/api/v1/agents/reader/token", `{"server":"files"}`)
	c, done := r.serveClient(t)
	defer done()
	page, err := c.Sessions(t.Context(), false, "")
	if err != nil || len(page.Items) != 1 || page.Items[0].State != "open" || page.Items[0].Agent != "reader" {
		t.Fatalf("%+v %v", page, err)
	}
	id := page.Items[0].ID
	if a := r.do("POST", "/api/v1/sessions/"+id+"/release", `{}`); a.status != http.StatusConflict {
		t.Errorf("an open session is released: %d %s", a.status, a.body)
	}
	for _, body := range []string{`{"kind":"planet","id":"earth"}`, `{"kind":"session","id":""}`} {
		if a := r.do("POST", "/api/v1/revocations", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	rec, err := c.Revoke(t.Context(), api.RevokeSpec{Kind: admin.EndSession, ID: id, Reason: "lost"})
	if err != nil || len(rec.Sessions) != 1 || rec.Sessions[0] != id {
		t.Errorf("%+v %v", rec, err)
	}
	if a := r.do("POST", "/api/v1/revocations", `{"kind":"session","id":"`+id+`"}`); a.status != http.StatusConflict {
		t.Errorf("it is revoked twice: %d %s", a.status, a.body)
	}
	if page, err = c.Sessions(t.Context(), true, ""); err != nil || len(page.Items) != 1 || page.Items[0].State != "revoked" || page.Items[0].Why != "lost" {
		t.Errorf("%+v %v", page, err)
	}
}
